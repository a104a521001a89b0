// The large pictures: the result, and the second one next to it.

import { contextOf, draw, fit, sizeOf } from '../../../gradcam_core/viewer/draw.js';
import { addHandle, placeHandle } from '../../../gradcam_core/viewer/handle.js';
import { $, button, make } from '../dom.js';
import { explainSecond } from '../explain.js';
import { comparisonCaption, VIEWS } from '../messages.js';
import { freshResult, modelInfo, ownMethod, styleOf } from '../selectors.js';
import { store } from '../store.js';

/** @import { Picture, Result } from '../types.js' */

const SIDE = 768; // pixels of a canvas

/** @typedef {ReturnType<typeof newFrame>} Frame */

export function mountPictures() {
  const frames = [newFrame(false), newFrame(true)];
  const close = frames[1].figure.querySelector('button');
  close?.addEventListener('click', () => {
    frames[0].handle.focus({ preventScroll: true }); // the button disappears
    store.compareWith(null);
    explainSecond();
  });
  $('.pictures').append(...frames.map(({ figure }) => figure));
  store.subscribe(['photo', 'tasks', 'tab', 'look', 'history', 'handle'], () => render(frames));
}

/** @param {boolean} closable */
function newFrame(closable) {
  const canvas = make('canvas', { role: 'img' });
  const frame = make('div', { class: 'frame' }, canvas);
  const handle = addHandle(frame, (to) => store.moveHandle(to(store.state.handle)));
  const label = 'Show only the first';
  const close = closable && button({ class: 'close', 'aria-label': label, title: label }, '×');
  const text = make('span');
  const caption = make('figcaption', {}, text, close);
  const figure = make('figure', { hidden: true }, caption, frame);
  return { figure, caption, text, frame, canvas, handle };
}

/** @param {Frame[]} frames */
function render(frames) {
  const { shown, second, status } = store.current;
  const { photo } = store.state;
  const plain = freshResult() ? undefined : (photo?.image ?? photo?.local);
  const results = plain ? [] : [shown, second].filter((each) => each !== null);
  frames.forEach((frame, i) => {
    frame.figure.hidden = !results[i] && !(plain && i === 0);
    if (plain && i === 0) renderPhoto(frame, plain);
    else if (results[i]) renderResult(frame, results[i], i);
    frame.caption.hidden = results.length < 2;
  });
  $('.pictures').classList.toggle('busy', !!status && !plain);
  $('.pictures').classList.toggle('two', results.length > 1);
}

/**
 * @param {Frame} frame
 * @param {Picture} image
 */
function shape({ canvas, frame }, image) {
  fit(canvas, image, SIDE);
  const [width, height] = sizeOf(image);
  frame.style.setProperty('--ratio', String(width / height));
}

/**
 * @param {Frame} frame
 * @param {Picture} image
 */
function renderPhoto(frame, image) {
  const { canvas, handle } = frame;
  shape(frame, image);
  contextOf(canvas).drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute('aria-label', 'Your photo');
  handle.hidden = true;
}

/**
 * @param {Frame} frame
 * @param {Result} result
 * @param {number} i
 */
function renderResult(frame, result, i) {
  const { canvas, handle, text } = frame;
  const { handle: from, look } = store.state;
  const { compared, second } = store.current;
  const word = i ? null : store.current.word;
  shape(frame, result.photo.image);
  draw(canvas, result, styleOf(result, word), from);
  const title = ownMethod(look.view, result)?.title ?? VIEWS[look.view][0].replace('\u00ad', '');
  canvas.setAttribute('aria-label', `${title} for ${word == null ? result.target : result.words[word].text}`);
  handle.hidden = false;
  placeHandle(handle, from);
  const model = compared?.model ? modelInfo(result.task, result.model).title : null;
  text.textContent = second ? comparisonCaption(result, model) : '';
}
