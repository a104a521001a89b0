// "Where do two maps differ?": one map minus another.

import { canvasOf, contextOf, fit } from '../../../gradcam_core/viewer/draw.js';
import { enlarge, subtract } from '../../../gradcam_core/viewer/maps.js';
import { $, fillSelect, make, onChange } from '../dom.js';
import { laneFor, unpack } from '../explain.js';
import { differenceShare, differenceVerdict } from '../messages.js';
import { analysedResult, isFaint } from '../selectors.js';
import { store } from '../store.js';
import { mountSection, renderProblem, renderStart, requestFor, startOrStop, work } from './section.js';

/** @import { Problem, Result } from '../types.js' */

const FOR = [214, 32, 60]; // red: for the target
const AGAINST = [30, 90, 255]; // blue: for the other
const ALIKE = 0.25; // of the larger maximum; smaller differences are pale

const otherField = () => /** @type {HTMLSelectElement} */ ($('.other-target'));
const startButton = () => /** @type {HTMLButtonElement} */ ($('.subtract'));
/** @type {unknown} */
let drawn = null;

export function mountDifference() {
  startButton().addEventListener('click', startOrStop(compute));
  mountSection('difference', render);
  onChange('.other-target', () => {
    const result = analysedResult();
    if (result) render(result);
  });
}

/**
 * @param {Result} result
 * @param {string} other
 */
const differenceKey = (result, other) => JSON.stringify([result.key, other]);

function compute() {
  const result = /** @type {Result} */ (analysedResult());
  const target = otherField().value;
  return work('difference', async (ask) => {
    const reply = await ask(laneFor('compare', result.method), requestFor(result, { target }));
    if (!reply) return;
    const explained = reply.answer
      ? await unpack(reply.answer, result.photo)
      : { problem: /** @type {Problem} */ (reply.problem) };
    store.addVariant('differences', result.photo, differenceKey(result, target), explained);
  });
}

/** @param {Result} result */
function otherTargets({ photo, task, question, target, predictions }) {
  const seen = store.state.history.filter((e) => e.photo === photo && e.task === task && e.question === question);
  const texts = new Set([...predictions.map(({ text }) => text), ...seen.map((each) => each.target)]);
  return [...texts].filter((text) => text !== target);
}

/** @param {Result} result */
function render(result) {
  const targets = otherTargets(result);
  const before = otherField().value;
  const chosen = targets.includes(before) ? before : (targets[0] ?? '');
  fillSelect(
    '.other-target',
    targets.map((text) => [text, text]),
    chosen,
  );
  const { photo, differences } = store.state.analysis;
  const known = photo === result.photo ? differences.get(differenceKey(result, chosen)) : undefined;
  renderStart(startButton(), 'difference', 'Show the difference', !!chosen);
  const problem = known && 'problem' in known ? known.problem : null;
  renderProblem($('.difference .section-problem'), problem);
  const other = known && !('problem' in known) ? known : null;
  if (drawn === (other ?? result)) return;
  drawn = other ?? result;
  $('.difference-map').replaceChildren(...(other ? drawDifference(result, other) : []));
}

/**
 * @param {Result} result
 * @param {Result} other
 */
function drawDifference(result, other) {
  const difference = subtract(result.raw, other.raw);
  const most = (/** @type {number} */ sign) => difference.values.reduce((top, value) => Math.max(top, sign * value), 0);
  const [more, less] = [most(1), most(-1)];
  const label = `Red where the evidence for ${result.target} is stronger, blue where that for ${other.target} is`;
  const canvas = fit(make('canvas', { role: 'img', 'aria-label': label }), result.photo.image, 640);
  const { width, height } = canvas;
  const context = contextOf(canvas);
  context.drawImage(result.photo.image, 0, 0, width, height);
  context.globalCompositeOperation = 'saturation'; // a grey photo: its own red and blue would mislead
  context.fillStyle = '#888';
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = 'source-over';
  const field = enlarge(difference, width, height, result.box);
  const top = Math.max(result.raw.max, other.raw.max) || 1;
  const faint = isFaint(result, { max: top }) ? (result.first_choice_max ?? 0) / top : 0;
  context.drawImage(canvasOf(width, height, differenceBytes(field, Math.max(more, less, ALIKE, faint))), 0, 0);
  const side = (/** @type {number[]} */ colour, /** @type {string} */ target, /** @type {number} */ share) => {
    const dot = make('span', { class: 'dot', style: `background: rgb(${colour})` });
    return make('li', {}, dot, ' more for ', make('b', {}, target), differenceShare(share));
  };
  const text = differenceVerdict(Math.max(more, less) < ALIKE);
  const legend = make('ul', { class: 'legend' }, side(FOR, result.target, more), side(AGAINST, other.target, less));
  return [make('p', { class: 'verdict' }, text), canvas, legend];
}

/**
 * @param {Float32Array} field
 * @param {number} largest
 */
function differenceBytes(field, largest) {
  const pixels = new Uint8ClampedArray(4 * field.length);
  field.forEach((value, i) => {
    pixels.set(value >= 0 ? FOR : AGAINST, 4 * i);
    pixels[4 * i + 3] = (220 * Math.abs(value)) / largest;
  });
  return pixels;
}
