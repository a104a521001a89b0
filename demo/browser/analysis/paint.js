// "Ask it yourself": the visitor paints over a part of the photo, and the network explains it again.

import { canvasOf, contextOf, draw, fit, sizeOf } from '../../../gradcam_core/viewer/draw.js';
import { enlarge } from '../../../gradcam_core/viewer/maps.js';
import { $, loadImage, make, onChange, onClick } from '../dom.js';
import { unpack } from '../explain.js';
import { chance, percent } from '../format.js';
import { paintVerdict } from '../messages.js';
import { analysedResult, mapOf, styleOf } from '../selectors.js';
import { store } from '../store.js';
import { coverCircle, packMask } from './masks.js';
import { captioned, mountSection, renderProblem, renderStart, requestFor, startOrStop, work } from './section.js';

/** @import { Paint, Picture, Problem, Reply, Result } from '../types.js' */

/** @typedef {NonNullable<Paint['outcome']>} Outcome */

const GRID = 128; // cells of the longer side that are covered or not
const STEP = 0.04; // of the sides, for the arrow keys
/** @type {Record<string, [x: number, y: number]>} */
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], ' ': [0, 0] };

const canvas = () => /** @type {HTMLCanvasElement} */ ($('.paint-canvas'));
const value = (/** @type {string} */ selector) => /** @type {HTMLInputElement} */ ($(selector)).value;
const brush = () => Number(value('.brush'));
const startButton = () => /** @type {HTMLButtonElement} */ ($('.ask-again'));
/** Where the brush is, in shares of the sides; seen only while the keyboard moves it. */
const cursor = { x: 0.5, y: 0.5, visible: false };

export function mountPaint() {
  mountPointer();
  mountKeyboard();
  onChange('.brush', drawPhoto, 'input');
  onChange('.filling', () => store.forgetPainted(), 'input');
  onClick('.cover-marked', () => setMask((marked) => marked));
  onClick('.cover-rest', () => setMask((marked) => !marked));
  onClick('.uncover', () => setMask(() => false));
  startButton().addEventListener('click', startOrStop(compute));
  mountSection('paint', render);
}

/** @param {Result} result */
function render(result) {
  if (store.state.paint.photo !== result.photo) {
    const [w, h] = sizeOf(result.photo.image);
    const [columns, rows] = [w, h].map((side) => Math.max(1, Math.round((side * GRID) / Math.max(w, h))));
    Object.assign(cursor, { x: 0.5, y: 0.5 });
    fit(canvas(), result.photo.image, 640);
    return store.beginPaint(result.photo, rows, columns);
  }
  const { problem, outcome } = store.state.paint;
  renderStart(startButton(), 'paint', 'Ask again');
  renderProblem($('.paint .section-problem'), problem);
  drawPhoto();
  renderOutcome(outcome?.before.key === result.key ? outcome : null);
}

// ---- Painting ----

/**
 * Cover from one point to another.
 * @param {[x: number, y: number]} from
 * @param {[x: number, y: number]} to
 */
function stroke([fromX, fromY], [toX, toY]) {
  const { columns, rows } = store.state.paint;
  const mask = store.state.paint.mask.slice();
  const steps = Math.max(1, Math.ceil(Math.hypot((toX - fromX) * columns, (toY - fromY) * rows)));
  for (let i = 1; i <= steps; i++) {
    coverCircle(mask, columns, fromX + ((toX - fromX) * i) / steps, fromY + ((toY - fromY) * i) / steps, brush());
  }
  store.setMask(mask);
}

/** @param {(marked: boolean) => boolean} covered of a cell, by whether the map is above half of its maximum there */
function setMask(covered) {
  const result = /** @type {Result} */ (analysedResult());
  const { columns, rows } = store.state.paint;
  const field = enlarge(mapOf(result, 'grad-cam', store.current.word), columns, rows, result.box);
  store.setMask(Uint8Array.from(field, (share) => Number(covered(share >= 0.5))));
}

function mountPointer() {
  const at = (/** @type {PointerEvent} */ event) => {
    const { left, top, width, height } = canvas().getBoundingClientRect();
    return { x: (event.clientX - left) / width, y: (event.clientY - top) / height };
  };
  const paintTo = (/** @type {typeof cursor} */ from, /** @type {PointerEvent} */ event) => {
    const { x, y } = at(event);
    stroke([from.x, from.y], [x, y]);
    Object.assign(cursor, { x, y });
  };
  canvas().addEventListener('pointerdown', (event) => {
    canvas().setPointerCapture(event.pointerId);
    paintTo({ ...cursor, ...at(event) }, event);
  });
  canvas().addEventListener('pointermove', (event) => {
    if (canvas().hasPointerCapture(event.pointerId)) paintTo(cursor, event);
  });
}

function mountKeyboard() {
  canvas().addEventListener('keydown', (event) => {
    const step = KEYS[event.key];
    if (!step) return;
    event.preventDefault();
    cursor.x = Math.max(0, Math.min(1, cursor.x + STEP * step[0]));
    cursor.y = Math.max(0, Math.min(1, cursor.y + STEP * step[1]));
    if (event.key === ' ') stroke([cursor.x, cursor.y], [cursor.x, cursor.y]);
    drawPhoto();
  });
  for (const event of ['focus', 'blur']) {
    canvas().addEventListener(event, () => {
      cursor.visible = canvas().matches(':focus-visible');
      drawPhoto();
    });
  }
}

function drawPhoto() {
  const { photo, image, mask, columns, rows } = store.state.paint;
  if (!photo?.image) return;
  const { width, height } = canvas();
  const context = contextOf(canvas());
  context.drawImage(image ?? photo.image, 0, 0, width, height);
  if (!image) {
    const cells = new Uint8ClampedArray(4 * mask.length);
    for (let i = 0; i < mask.length; i++) cells[4 * i + 3] = 255 * mask[i];
    drawMask(context, canvasOf(columns, rows, cells), fillingOf(photo.image, value('.filling')));
  }
  if (cursor.visible) drawCursor(context);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {HTMLCanvasElement} stencil
 * @param {HTMLCanvasElement} filling
 */
function drawMask(context, stencil, filling) {
  const { width, height } = context.canvas;
  const painted = Object.assign(document.createElement('canvas'), { width, height });
  const over = contextOf(painted);
  over.imageSmoothingEnabled = false;
  over.drawImage(stencil, 0, 0, width, height);
  over.imageSmoothingEnabled = true;
  over.globalCompositeOperation = 'source-in';
  over.drawImage(filling, 0, 0, width, height);
  context.drawImage(painted, 0, 0);
}

/**
 * A preview of the fill; the server makes the exact one.
 * @param {Picture} image
 * @param {string} filling
 */
function fillingOf(image, filling) {
  const small = fit(document.createElement('canvas'), image, filling === 'blur' ? 16 : 1);
  const context = contextOf(small);
  context.imageSmoothingQuality = 'high';
  context.fillStyle = 'rgb(128 128 128)';
  if (filling === 'grey') context.fillRect(0, 0, 1, 1);
  else context.drawImage(image, 0, 0, small.width, small.height);
  return small;
}

/** @param {CanvasRenderingContext2D} context */
function drawCursor(context) {
  const { width, height } = context.canvas;
  context.beginPath();
  context.arc(cursor.x * width, cursor.y * height, brush() * Math.min(width, height), 0, 7);
  for (const [strokeStyle, lineWidth] of /** @type {[string, number][]} */ ([
    ['#000', 4],
    ['#fff', 2],
  ])) {
    Object.assign(context, { strokeStyle, lineWidth });
    context.stroke();
  }
}

// ---- Asking ----

function compute() {
  const result = /** @type {Result} */ (analysedResult());
  const { mask, columns, rows } = store.state.paint;
  if (!mask.some(Boolean)) return store.paintFailed({ code: 'nothing_painted' });
  const filling = value('.filling');
  return work('paint', async (ask) => {
    const reply = await ask('paint', requestFor(result, { columns, rows, mask: packMask(mask), filling }));
    if (reply && store.state.paint.photo === result.photo) await finish(result, mask, filling, reply);
  });
}

/**
 * @param {Result} before
 * @param {Uint8Array} mask
 * @param {string} filling
 * @param {Reply} reply
 */
async function finish(before, mask, filling, { answer, picture, problem }) {
  if (!answer || !picture) return store.paintFailed(/** @type {Problem} */ (problem));
  const image = await loadImage(picture.url);
  const after = await unpack(answer, { key: `${before.photo.key} painted`, name: 'painted', image });
  const covered = mask.reduce((sum, each) => sum + each, 0) / mask.length;
  const same = store.state.paint.mask === mask && value('.filling') === filling;
  store.painted({ before, after, covered }, same ? image : null);
}

// ---- What the network says then ----

/** @type {Outcome | null} */
let drawn = null;

/** @param {Outcome | null} outcome */
function renderOutcome(outcome) {
  if (drawn === outcome) return;
  drawn = outcome;
  $('.paint-outcome').replaceChildren(...(outcome ? outcomeParts(outcome) : []));
}

/** @param {Outcome} outcome */
function outcomeParts({ before, after, covered }) {
  const caption = before.task === 'captioning';
  const said = (/** @type {Result} */ result) =>
    caption ? chance(Math.exp(result.score)) : percent(result.probability);
  const [first, then] = [before, after].map(({ predictions }) => predictions[0].text);
  const text = { target: before.target, before: said(before), after: said(after), covered, first, then };
  // The maps are on one scale, so that the scores of captions can be compared.
  const top = Math.max(before.raw.max, after.raw.max) || 1;
  const picture = (/** @type {Result} */ result, /** @type {string} */ title) => {
    const attributes = { role: 'img', 'aria-label': `${title}: the map for ${result.target}` };
    const view = fit(make('canvas', attributes), result.photo.image, 480);
    draw(view, result, { ...styleOf(result, null, 'grad-cam'), map: result.raw, gain: result.raw.max / top });
    return captioned(`${title}: ${said(result)}`, view);
  };
  const note = caption ? '–: not among its own captions then.' : '–: not among its five best then.';
  return [
    make('p', { class: 'verdict' }, paintVerdict(text)),
    make('div', { class: 'pairs' }, picture(before, 'Before'), picture(after, 'After')),
    make('p', {}, 'Both maps use one scale.'),
    make('div', { class: 'tables' }, wordTable(before, after), predictionTable(before, after)),
    make('p', {}, note),
  ];
}

/**
 * @param {string} title
 * @param {HTMLElement[]} rows
 */
function table(title, rows) {
  const heads = [title, 'before', 'after'].map((text) => make('th', { scope: 'col' }, text));
  return make('table', {}, make('thead', {}, make('tr', {}, ...heads)), make('tbody', {}, ...rows));
}

/**
 * @param {string} name
 * @param {string} before
 * @param {string} after
 * @param {boolean} [current]
 */
const row = (name, before, after, current = false) =>
  make(
    'tr',
    { class: current ? 'current' : '' },
    ...[make('th', { scope: 'row' }, name), make('td', {}, before), make('td', {}, after)],
  );

/**
 * @param {Result} before
 * @param {Result} after
 */
function wordTable({ words }, after) {
  if (!words.length) return null;
  return table(
    'Word',
    words.map(({ text, log_prob }, i) =>
      row(text, chance(Math.exp(log_prob)), chance(Math.exp(after.words[i].log_prob))),
    ),
  );
}

/**
 * @param {Result} before
 * @param {Result} after
 */
function predictionTable(before, after) {
  const caption = before.task === 'captioning';
  const values = (/** @type {Result} */ { predictions, target, score, probability }) =>
    new Map([
      ...predictions.map((each) => /** @type {[string, number]} */ ([each.text, each.probability])),
      [target, caption ? Math.exp(score) : probability],
    ]);
  const [old, now] = [values(before), values(after)];
  const shown = (/** @type {number | undefined} */ p) => (p === undefined ? '–' : caption ? chance(p) : percent(p));
  const texts = [...new Set([...old.keys(), ...now.keys()])];
  const rows = texts.map((text) => row(text, shown(old.get(text)), shown(now.get(text)), text === before.target));
  return table(caption ? 'Its own captions' : 'It says', rows);
}
