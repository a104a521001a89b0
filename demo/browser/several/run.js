// Several photos, explained one after the other: each is one request, so that other visitors come in between.

import { copyOf } from '../../../gradcam_core/viewer/draw.js';
import { loadImage } from '../dom.js';
import { request, unpack } from '../explain.js';
import { isShrinkable, isZip, shrunk, uploadKey } from '../photos.js';
import { methodInfo } from '../selectors.js';
import { call, isLost, sendFile, stop } from '../server.js';
import { store } from '../store.js';
import { tileKey, tilesOf } from './arrange.js';
import { photosIn, unzip, ZipError } from './zip.js';

/** @import { Asked, Explained, LeftOut, Photo, Problem, Reply } from '../types.js' */

export const MOST = 24; // photos
const THUMBNAIL = 320; // pixels; the whole photos are never kept
const MOST_KEPT = 4 * MOST; // explanations

/** @typedef {() => Promise<File | null>} Source reads a photo when it is needed; null: it is too large */
/** @type {WeakMap<Photo, Source>} */
const sources = new WeakMap();

/**
 * Add photos to those that are there, if the grid is open; else begin anew.
 * @param {File[]} files photos, or ZIP files of photos
 */
export async function take(files) {
  const { open, photos: before } = store.state.several;
  /** @type {{ name: string, source: Source }[]} */
  const found = [];
  /** @type {LeftOut | null} */
  let left = null;
  for (const file of files.slice(0, MOST)) {
    if (!isZip(file)) found.push({ name: file.name, source: async () => file });
    else left = (await addZip(file, found)) ?? left;
  }
  const count = Math.max(files.length, found.length);
  const kept = open ? before : [];
  const added = found.slice(0, MOST - kept.length).map(({ name, source }) => {
    const photo = { key: uploadKey(), name };
    sources.set(photo, source);
    return photo;
  });
  if (kept.length + count > MOST) left = { code: 'too_many', count: kept.length + count, most: MOST };
  store.setCamera('off');
  store.changeSeveral({
    ...{ open: true, photos: [...kept, ...added], left, stopped: false, problem: null, suggestions: [] },
    ...(open ? {} : { explained: new Map(), only: '', targets: { classification: '', captioning: '', vqa: '' } }),
  });
}

/**
 * @param {File} file
 * @param {{ name: string, source: Source }[]} found to which its photos are added
 * @returns {Promise<LeftOut | null>}
 */
async function addZip(file, found) {
  const { name } = file;
  try {
    const entries = await photosIn(file);
    for (const entry of entries) {
      found.push({
        name: entry.name,
        source: async () => {
          const content = await unzip(file, entry, store.facts.max_upload);
          return content && new File([content], entry.name);
        },
      });
    }
    return entries.length ? null : { code: 'zip_empty', name };
  } catch (error) {
    return { code: error instanceof ZipError && error.code !== 'damaged' ? error.code : 'zip_unreadable', name };
  }
}

/**
 * What the open tab asks for. The grid uses the last choice that worked; slow methods would take minutes.
 * @returns {Asked}
 */
export function askedNow() {
  const { tab: task, several } = store.state;
  const { worked, question } = store.current;
  const method = methodInfo(worked.method).slow ? 'grad-cam' : worked.method;
  return { ...worked, method, task, question: task === 'vqa' ? question : null, target: several.targets[task] };
}

/** Ask what the open tab asks for, if that is something else than before. */
export function follow() {
  const before = store.state.several.asked;
  const asked = askedNow();
  if (before && JSON.stringify(before) === JSON.stringify(asked)) return;
  if (store.state.several.working) stop('several');
  store.changeSeveral({ asked, stopped: false, problem: null, suggestions: [], only: '' });
}

let running = false;

/** Explain, one by one, what is not explained yet. */
export async function run() {
  if (running || !next()) return;
  running = true;
  for (let photo = next(); photo; photo = next()) {
    store.changeSeveral({ working: photo });
    const asked = /** @type {Asked} */ (store.state.several.asked);
    const unreadable = { code: /** @type {const} */ ('damaged'), name: photo.name };
    await explainOne(photo, asked).catch(() => keep(photo, asked, { problem: unreadable }));
  }
  store.changeSeveral({ working: null });
  running = false;
}

function next() {
  const { several } = store.state;
  return several.asked && !several.stopped ? tilesOf(several).find(({ found }) => !found)?.photo : undefined;
}

export function pause() {
  store.changeSeveral({ stopped: true });
  stop('several');
}

/** Try those that failed again, and go on. */
export function goOn() {
  const { several } = store.state;
  const explained = new Map(several.explained);
  for (const [key, found] of explained) if ('problem' in found) explained.delete(key);
  store.changeSeveral({ explained, stopped: false, problem: null, suggestions: [] });
  run();
}

/**
 * @param {Photo} photo
 * @param {Asked} asked
 */
async function explainOne(photo, asked) {
  const reply = await ask(photo, asked);
  if (!reply || reply.code === 'cancelled') return;
  if (reply.picture) await keepPicture(photo, reply.picture.url);
  const { problem } = reply;
  if (problem && isLost(problem)) return store.changeSeveral({ problem, stopped: true });
  if (problem && reply.code === 'unknown_label') return refuse(asked, problem, reply.near ?? []);
  if (problem) return keep(photo, asked, { problem });
  if (reply.answer) keep(photo, asked, await unpack(reply.answer, photo, asked.target));
}

/**
 * @param {Photo} photo
 * @param {Asked} asked
 * @returns {Promise<Reply | null>}
 */
async function ask(photo, asked) {
  const more = { ...asked, target: asked.target || null, guided: false, new_picture: !photo.kept };
  const reply = photo.upload ? await call('several', request(asked.task, more, photo)) : { code: 'gone' };
  if (reply?.code !== 'gone') return reply;
  try {
    const problem = await send(photo);
    return problem ? { problem } : call('several', request(asked.task, more, photo));
  } catch (error) {
    if (typeof error === 'number') return { problem: { code: 'not_uploaded', name: photo.name } }; // refused
    // Either the server is gone, or the file: a folder, or a file that has been moved, cannot be read.
    const there = await fetch('.', { method: 'HEAD' }).then(
      () => true,
      () => false,
    );
    return { problem: there ? { code: 'damaged', name: photo.name } : { code: 'lost' } };
  }
}

/**
 * @param {Photo} photo
 * @returns {Promise<Problem | null>}
 */
async function send(photo) {
  const { name } = photo;
  const limit = store.facts.max_upload;
  let file;
  try {
    file = await /** @type {Source} */ (sources.get(photo))();
  } catch {
    return { code: 'damaged', name };
  }
  const sent = file && isShrinkable(file) ? await shrunk(file, await decoded(file)) : file;
  if (!sent || sent.size > limit) return { code: 'too_large', name, megabytes: limit / 1e6 };
  store.completePhoto(photo, { upload: await sendFile(sent) });
  return null;
}

/** @param {File} file */
async function decoded(file) {
  const url = URL.createObjectURL(file);
  const image = await loadImage(url).catch(() => undefined);
  URL.revokeObjectURL(url);
  return image;
}

/**
 * @param {Photo} photo
 * @param {string} url
 */
async function keepPicture(photo, url) {
  const canvas = copyOf(await loadImage(url), THUMBNAIL);
  store.completePhoto(photo, { kept: url, image: canvas });
}

/**
 * @param {Photo} photo
 * @param {Asked} asked
 * @param {Explained} found
 */
function keep(photo, asked, found) {
  const kept = [...store.state.several.explained, /** @type {const} */ ([tileKey(photo, asked), found])];
  store.changeSeveral({ explained: new Map(kept.slice(-MOST_KEPT)) });
}

/**
 * There is no such class or answer: in no photo, so return to the first choices.
 * @param {Asked} asked
 * @param {Problem} problem
 * @param {string[]} suggestions
 */
function refuse(asked, problem, suggestions) {
  const targets = { ...store.state.several.targets, [asked.task]: '' };
  store.changeSeveral({ targets, asked: { ...asked, target: '' }, problem, suggestions });
}
