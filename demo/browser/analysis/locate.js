// "Where is it?": weakly supervised localization, a box around the largest part of a map.

import { canvasOf, contextOf, fit } from '../../../gradcam_core/viewer/draw.js';
import { enlarge } from '../../../gradcam_core/viewer/maps.js';
import { $, onChange } from '../dom.js';
import { wholePercent } from '../format.js';
import { boxText, NO_BOX } from '../messages.js';
import { analysedResult, mapOf } from '../selectors.js';
import { store } from '../store.js';
import { boundingBox, segment } from './masks.js';
import { mountSection } from './section.js';

/** @import { Box, Result } from '../types.js' */
/** @import { Located } from '../messages.js' */

const SIDE = 768; // pixels
/** A box that is larger, in shares of the photo, says nothing about where something is. */
const LARGEST = 0.9;
const threshold = () => Number(/** @type {HTMLInputElement} */ ($('.threshold')).value);

export function mountLocate() {
  mountSection('locate', render);
  const update = () => {
    const result = analysedResult();
    if (result) render(result);
  };
  onChange('.threshold', update, 'input');
}

/**
 * @param {Result} result
 * @param {number} width
 * @param {number} height
 */
function maskOf(result, width, height) {
  const { shown, word } = store.current;
  const map = mapOf(result, 'grad-cam', result === shown ? word : null);
  const field = enlarge(map, width, height, result.box);
  return segment(field, width, height, threshold());
}

/**
 * The box of a result in the pixels of the photo as it is shown, and as shares of its sides.
 * @param {Result} result
 */
export function boxOf(result) {
  const { width, height } = fit(document.createElement('canvas'), result.photo.image, SIDE);
  const box = boundingBox(maskOf(result, width, height), width, height);
  const shares = box?.map((at, i) => at / (i % 2 ? height : width)) ?? null;
  return { above: threshold(), picture: { width, height }, box, shares };
}

/**
 * @param {Result} result
 * @param {Box | null} box
 * @param {number} width
 * @param {number} height
 * @returns {Located}
 */
function judge({ faint }, box, width, height) {
  if (!box) return 'empty';
  if (faint) return 'faint';
  const [left, top, right, bottom] = box;
  return (right - left) * (bottom - top) > LARGEST * width * height ? 'everywhere' : 'box';
}

/** @param {Result} result */
function render(result) {
  const canvas = fit(/** @type {HTMLCanvasElement} */ ($('.locate canvas')), result.photo.image, SIDE);
  const { width, height } = canvas;
  const mask = maskOf(result, width, height);
  const box = boundingBox(mask, width, height);
  const code = judge(result, box, width, height);
  const context = contextOf(canvas);
  context.drawImage(result.photo.image, 0, 0, width, height);
  if (code === 'box') {
    const shade = new Uint8ClampedArray(4 * mask.length);
    for (let i = 0; i < mask.length; i++) shade[4 * i + 3] = mask[i] ? 0 : 130;
    context.drawImage(canvasOf(width, height, shade), 0, 0);
    drawBox(context, /** @type {Box} */ (box));
  }
  $('.locate output').textContent = wholePercent(threshold());
  $('.box-text').textContent = code === 'box' ? boxText(/** @type {Box} */ (box), width, height) : NO_BOX[code];
  Object.assign($('.box-text').dataset, { code, box: code === 'box' ? box?.join() : '' });
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Box} box
 */
function drawBox(context, [left, top, right, bottom]) {
  for (const [strokeStyle, lineWidth] of /** @type {[string, number][]} */ ([
    ['#000', 5],
    ['#ffd400', 3],
  ])) {
    Object.assign(context, { strokeStyle, lineWidth });
    context.strokeRect(left + 1.5, top + 1.5, right - left - 3, bottom - top - 3);
  }
}
