// From the visitor's choices to a result.

import { copyOf } from '../../gradcam_core/viewer/draw.js';
import { unpackExplanation, unpackMap } from '../../gradcam_core/viewer/unpack.js';
import { loadImage } from './dom.js';
import { methodInfo } from './selectors.js';
import { call, isLost, sendFile, sentIn, stop } from './server.js';
import { keepForReload, writeAddress } from './session.js';
import { choiceOf, isChoiceAtFault, isGuided, store, usualChoice } from './store.js';

/** @import { Answer, Choice, ExplainOptions, Lane, Photo, Reply, Result, Retry, Task } from './types.js' */

/**
 * The fields of a request that say what is explained.
 * @param {Task} task
 * @param {Record<string, unknown>} more
 * @param {Photo} photo
 */
export function request(task, more, photo) {
  const { example, frame, upload } = photo;
  const { model, layer, method, question } = store.state.tasks[task];
  const where = example ? { example } : frame ? { frame } : { upload };
  return { ...where, task, model, layer, method, question: task === 'vqa' ? question : null, ...more };
}

/**
 * Send a request about the chosen photo. A photo that the server has deleted in the meantime is sent again.
 * @param {Lane} lane
 * @param {Task} task
 * @param {Record<string, unknown>} more
 * @returns {Promise<Reply | null>}
 */
export async function ask(lane, task, more) {
  const photo = /** @type {Photo} */ (store.state.photo);
  const there = photo.example || photo.frame || photo.upload;
  const reply = there ? await call(lane, request(task, more, photo)) : { code: 'gone' };
  if (reply?.code !== 'gone') return reply;
  try {
    store.completePhoto(photo, { upload: await sendFile(photo.file ?? (await fileOf(photo))) });
  } catch {
    return { problem: { code: 'lost' } };
  }
  return call(lane, request(task, more, photo));
}

/** @param {Photo} photo */
async function fileOf({ name, image }) {
  const canvas = copyOf(/** @type {HTMLImageElement} */ (image));
  return jpegFile(canvas, `${name.replace(/\.\w+$/, '')}.jpg`);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {string} name
 * @returns {Promise<File>}
 */
export const jpegFile = (canvas, name) =>
  new Promise((resolve) => {
    canvas.toBlob(
      (blob) => resolve(new File([/** @type {Blob} */ (blob)], name, { type: 'image/jpeg' })),
      'image/jpeg',
      0.95,
    );
  });

/**
 * @param {Answer} answer
 * @param {Photo} photo whose image is there
 * @param {string} typed
 * @returns {Promise<Result>}
 */
export async function unpack(answer, photo, typed = '') {
  const { task, model, layer, method, question, target } = answer;
  return {
    ...(await unpackExplanation(answer)),
    photo: /** @type {Result['photo']} */ (photo),
    typed,
    concepts: answer.concepts?.map((concept) => ({ ...concept, raw: unpackMap(concept.raw) })) ?? null,
    key: JSON.stringify([photo.key, task, model, layer, method, question, target]),
  };
}

/**
 * Slow methods have a lane of their own, so that they do not block others.
 * @param {Lane} lane
 * @param {string} method
 * @returns {Lane}
 */
export const laneFor = (lane, method) => (methodInfo(method).slow && lane !== 'download' ? 'long' : lane);

/**
 * Explain what is chosen.
 * @param {ExplainOptions} [options] target: typed or picked; if left out, the last one.
 *   again: the target that is shown, to be explained in another way. lane: "download" loads the model first
 */
export async function explain(options = {}) {
  const { target, again, lane = 'first' } = options;
  if (store.state.camera === 'live') return store.chooseLiveTarget(target);
  const { tab: task, look } = store.state;
  const photo = /** @type {Photo} */ (store.state.photo);
  const guided = isGuided(look.view);
  const number = store.beginExplain(target, { code: lane === 'download' ? 'downloading' : 'explaining' });
  const { method, target: typed } = store.state.tasks[task];
  if (sentIn('long')?.task === task) stop('long');
  const more = { target: again ?? (typed || null), guided };
  const downloads = lane === 'download';
  const asking = ask(laneFor(lane, method), task, { ...more, new_picture: !photo.image, download: downloads });
  keepForReload();
  const reply = await asking;
  if (reply?.picture && !photo.image) store.completePhoto(photo, { image: await loadImage(reply.picture.url) });
  const result = reply?.answer && (await unpack(reply.answer, photo, typed));
  if (number !== store.state.tasks[task].requests) return;
  if (!reply || photo !== store.state.photo) return store.notExplained(task, null, null, null);
  if (result) finish(task, result, guided);
  else if (photo.image && isChoiceAtFault(reply)) await fallBack(task, reply, photo, options, more);
  else fail(task, reply, photo, options);
}

/** @param {Choice} choice */
const keyOf = ({ model, layer, method }) => JSON.stringify([model, layer, method]);

/**
 * What to try instead of the choice of a task: what worked last, then what the page begins with.
 * @param {Task} task
 */
function otherChoices(task) {
  const now = keyOf(store.state.tasks[task]);
  const { worked } = store.state.tasks[task];
  return [worked, usualChoice(store.facts, task)].filter((choice) => keyOf(choice) !== now);
}

/**
 * The chosen model, layer or method gave no explanation of a photo that can be opened: return to one that does, so that
 * this photo, later ones and a reload do not fail, too.
 * @param {Task} task
 * @param {Reply} reply
 * @param {Photo} photo
 * @param {ExplainOptions} options
 * @param {{ target: string | null, guided: boolean }} more
 */
async function fallBack(task, reply, photo, options, more) {
  const { shown, worked, requests } = store.state.tasks[task];
  const failed = choiceOf(store.state.tasks[task]);
  const choices = otherChoices(task);
  const retry = /** @type {Retry | null} */ (
    reply.code === 'failed' ? { code: 'explain', options, choice: failed } : null
  );
  if (shown?.photo === photo) {
    if (keyOf(worked) === keyOf(failed)) return fail(task, reply, photo, options); // it is the target
    store.fallBack(task, worked);
    store.notExplained(task, reply, retry, null, failed);
    return keepForReload();
  }
  for (const choice of choices) {
    const other = await ask(laneFor('first', choice.method), task, { ...more, ...choice });
    const result = other?.answer && (await unpack(other.answer, photo, more.target ?? ''));
    if (requests !== store.state.tasks[task].requests) return;
    if (!result && other?.code !== 'unknown_label') continue;
    store.fallBack(task, choice);
    if (result) finish(task, result, more.guided);
    store.notExplained(task, { ...other, ...reply }, retry, null, failed);
    return keepForReload();
  }
  fail(task, reply, photo, options);
}

/**
 * The same for frames of the camera.
 * @param {Task} task
 * @param {Reply} reply
 * @returns {boolean} whether there is another choice to try
 */
export function fallBackLive(task, reply) {
  const [choice] = isChoiceAtFault(reply) ? otherChoices(task) : [];
  if (choice) store.fallBack(task, choice);
  return !!choice;
}

/**
 * The only label that begins with what was typed, or has a word that does.
 * @param {Reply} reply
 * @param {string} typed
 */
function onlyCompletion({ code, near }, typed) {
  const start = ` ${typed.trim().toLowerCase()}`;
  return code === 'unknown_label' && near?.length === 1 && ` ${near[0].toLowerCase()}`.includes(start) ? near[0] : null;
}

/**
 * @param {Task} task
 * @param {Result} result
 * @param {boolean} guided
 */
function finish(task, result, guided) {
  store.explained(task, result, guided);
  if (task === store.state.tab) explainSecond();
  keepForReload();
  writeAddress(result);
}

/**
 * @param {Task} task
 * @param {Reply} reply
 * @param {Photo} photo
 * @param {ExplainOptions} options
 */
function fail(task, reply, photo, options) {
  const { again, lane } = options;
  const meant = onlyCompletion(reply, store.state.tasks[task].target);
  if (meant && task === store.state.tab) return explain({ ...options, target: meant });
  // A photo that cannot be opened does not take the place of one that can.
  const before = store.state.tasks[task].shown?.photo;
  const former = !photo.image && before?.image && before !== photo ? before : null;
  /** @type {Retry | null} */
  let retry = null;
  if (reply.problem?.code === 'lost') retry = { code: 'reload' };
  else if (isLost(reply.problem))
    retry = former ? { code: 'photo', photo } : { code: 'explain', options: { again, lane } };
  store.notExplained(task, reply, retry, former);
}

/**
 * Explain the second result, shown next to the first, if there is one.
 * @param {'second' | 'download'} lane
 */
export async function explainSecond(lane = 'second') {
  store.beginSecond();
  const { tab: task, look } = store.state;
  const { compared, shown, method } = store.current;
  if (!compared || !shown) return;
  const other = compared.model ? { ...compared, layer: null, target: shown.target } : { target: compared.target };
  const settings = { guided: isGuided(look.view), download: lane === 'download', ...other };
  const reply = await ask(laneFor(lane, method), task, settings);
  const result = reply?.answer && (await unpack(reply.answer, shown.photo));
  const now = store.state.tasks[task];
  if (!reply || now.compared !== compared || now.shown !== shown) return;
  store.secondExplained(task, result ?? null, reply);
}
