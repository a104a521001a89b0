// Another photo: an example, a file, or the address of a picture.

import { contextOf, fit, sizeOf } from '../../gradcam_core/viewer/draw.js';
import { loadImage } from './dom.js';
import { explain, jpegFile } from './explain.js';
import { fileName } from './format.js';
import { sendFile } from './server.js';
import { keepForReload } from './session.js';
import { store } from './store.js';

/** @import { Photo, Problem } from './types.js' */

/** The longest side of what is sent, in pixels: more than the networks see and the page shows. */
const SENT_SIDE = 2048;
/** In bytes. Smaller files are sent at once: nobody would wait for them. */
const SMALL_FILE = 1_000_000;
/** What cameras write, and browsers draw as the server does. */
const SHRINKABLE = ['image/jpeg', 'image/webp', 'image/avif', 'image/heic', 'image/heif'];

let uploads = 0;
/** Two uploads of one file are two photos, also after the page was loaded again. */
export const uploadKey = () => `upload ${Math.round(performance.timeOrigin)} ${++uploads}`;

/** @param {File} file */
export const isZip = ({ name, type }) => /zip/.test(type) || /\.zip$/i.test(name);

/**
 * @param {Photo} photo
 * @param {string} target
 */
export function explainPhoto(photo, target = '') {
  store.choosePhoto(photo);
  return explain({ target });
}

/** @param {string} name */
export const chooseExample = (name) => explainPhoto({ key: name, name, example: name });

/**
 * @param {File} file
 * @param {string} target
 */
export async function upload(file, target = '') {
  const limit = store.facts.max_upload;
  const tooLarge = { code: /** @type {const} */ ('too_large'), name: file.name, megabytes: limit / 1e6 };
  const stale = !!store.current.shown;
  store.setCamera('off');
  if (file.size > limit && !isShrinkable(file)) return store.showProblem(tooLarge, null, stale);
  const former = store.state.photo;
  // Shown at once where the browser can; the server decodes it for the explanation.
  const loading = loadImage(URL.createObjectURL(file)).catch(() => undefined);
  /** @type {Photo} */
  const photo = { key: uploadKey(), name: file.name, file };
  const sending = send(photo, file, loading);
  sending.catch(() => {}); // it is awaited below
  const local = await loading;
  if (store.state.photo !== former || store.state.several.open) return; // something else was chosen meanwhile
  store.beginUpload(Object.assign(photo, { local }));
  keepForReload();
  try {
    store.completePhoto(photo, { upload: await sending });
  } catch {
    if (store.state.photo !== photo) return;
    store.restorePhoto(former);
    if ((photo.file?.size ?? 0) > limit) return store.showProblem(tooLarge, null, stale);
    return store.showProblem({ code: 'not_uploaded', name: file.name }, { code: 'upload', file, target }, stale);
  }
  if (store.state.photo !== photo) return;
  if (store.state.several.open) store.restorePhoto(photo);
  else explainPhoto(photo, target);
}

/** @param {File} file */
export const isShrinkable = (file) => file.size > SMALL_FILE && SHRINKABLE.includes(file.type);

/**
 * @param {Photo} photo
 * @param {File} file
 * @param {Promise<HTMLImageElement | undefined>} loading
 */
async function send(photo, file, loading) {
  if (isShrinkable(file)) Object.assign(photo, { file: await shrunk(file, await loading) });
  return sendFile(/** @type {File} */ (photo.file), (share) => store.uploadProgress(photo, share));
}

/**
 * A photo as a smaller JPEG file, upright; the file itself if that is no larger, or cannot be drawn.
 * @param {File} file
 * @param {HTMLImageElement | undefined} image
 */
export async function shrunk(file, image) {
  if (!image || Math.max(...sizeOf(image)) <= SENT_SIDE) return file;
  const canvas = fit(document.createElement('canvas'), image, SENT_SIDE);
  const context = contextOf(canvas);
  context.imageSmoothingQuality = 'high';
  context.fillStyle = '#fff'; // behind transparent parts, as on the server
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const smaller = await jpegFile(canvas, `${file.name.replace(/\.\w+$/, '')}.jpg`);
  return smaller.size < file.size ? smaller : file;
}

/**
 * The visitor's browser fetches a picture of another site, where that site allows it.
 * @param {string} address as typed
 */
export async function fetchPhoto(address) {
  store.changeSeveral({ open: false });
  const found = await picture(address);
  if (found instanceof File) upload(found);
  else store.showProblem(found);
}

/**
 * @param {string} address
 * @returns {Promise<File | Problem>}
 */
async function picture(address) {
  const text = /^[a-z][a-z0-9+.-]*:/i.test(address) ? address : `https://${address}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url) return { code: 'no_address' };
  if (url.protocol !== 'https:') return { code: 'not_https' };
  const host = url.hostname;
  store.beginFetch(host);
  let blob;
  try {
    const signal = AbortSignal.timeout(30_000);
    const answer = await fetch(url, { credentials: 'omit', referrerPolicy: 'no-referrer', signal });
    if (!answer.ok) return { code: 'not_found', host, status: answer.status };
    blob = await answer.blob();
  } catch {
    return { code: 'not_fetched', host };
  }
  if (blob.type.startsWith('text/')) return { code: 'web_page' };
  return new File([blob], fileName(url) || host, { type: blob.type });
}
