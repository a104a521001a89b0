// The large pictures: the result, and the second one next to it.

import { contextOf, draw, fit, sizeOf } from '../canvas/draw.js';
import { $, button, make, onClick } from '../dom.js';
import { explainSecond } from '../explain.js';
import { comparisonCaption, VIEWS } from '../messages.js';
import { freshResult, modelInfo, ownMethod, styleOf } from '../selectors.js';
import { store } from '../store.js';

/** @import { Picture, Result } from '../types.js' */

const SIDE = 768; // pixels of a canvas
const STEPS = {
  ArrowLeft: -0.05,
  ArrowDown: -0.05,
  ArrowRight: 0.05,
  ArrowUp: 0.05,
  PageDown: -0.2,
  PageUp: 0.2,
  Home: -1,
  End: 1,
};

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
  onClick('.fullscreen', () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else $('.pictures').requestFullscreen();
  });
  store.subscribe(['photo', 'tasks', 'tab', 'look', 'history', 'handle'], () => render(frames));
}

/** @param {boolean} closable */
function newFrame(closable) {
  const canvas = make('canvas', { role: 'img' });
  const handle = make('div', {
    ...{ class: 'handle', role: 'slider', tabindex: 0, 'aria-valuemin': 0, 'aria-valuemax': 100 },
    'aria-label': 'Photo on the left, explanation on the right',
  });
  const frame = make('div', { class: 'frame' }, canvas, handle);
  const label = 'Show only the first';
  const close = closable && button({ class: 'close', 'aria-label': label, title: label }, '×');
  const text = make('span');
  const caption = make('figcaption', {}, text, close);
  const figure = make('figure', { hidden: true }, caption, frame);
  const follow = (/** @type {PointerEvent} */ event) => {
    const { left, width } = frame.getBoundingClientRect();
    store.moveHandle((event.clientX - left) / width);
  };
  frame.addEventListener('pointerdown', (event) => {
    frame.setPointerCapture(event.pointerId);
    follow(event);
  });
  frame.addEventListener('pointermove', (event) => frame.hasPointerCapture(event.pointerId) && follow(event));
  handle.addEventListener('keydown', (event) => {
    const step = STEPS[/** @type {keyof typeof STEPS} */ (event.key)];
    if (!step) return;
    event.preventDefault();
    store.moveHandle(store.state.handle + step);
  });
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
  handle.style.setProperty('--from', String(from));
  handle.setAttribute('aria-valuenow', String(Math.round(100 * from)));
  handle.setAttribute('aria-valuetext', `${Math.round(100 * from)} % photo`);
  const model = compared?.model ? modelInfo(result.task, result.model).title : null;
  text.textContent = second ? comparisonCaption(result, model) : '';
}
