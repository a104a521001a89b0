// The drawings of how a map was made: always over the photo.

import { canvasOf, contextOf, draw, fit, spotlight } from '../../../gradcam_core/viewer/draw.js';
import { inPixels } from '../../../gradcam_core/viewer/maps.js';
import { scaleMax, styleOf } from '../selectors.js';
import { store } from '../store.js';
import { asMap } from './channels.js';

/** @import { Result } from '../types.js' */
/** @import { Channel, Contributions } from './channels.js' */

const SIDE = 640; // pixels of the large picture
const FOR = [214, 32, 60]; // red
const AGAINST = [30, 90, 255]; // blue
const DARK = 0.2; // how bright the photo is where a channel is not active

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Result} result
 * @param {number} [side]
 */
function photo(canvas, { photo: { image } }, side = SIDE) {
  fit(canvas, image, side);
  const context = contextOf(canvas);
  context.globalAlpha = 1;
  context.globalCompositeOperation = 'source-over';
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return context;
}

/**
 * The photo, with the borders of the cells.
 * @param {HTMLCanvasElement} canvas
 * @param {Result} result
 * @param {Contributions} made
 */
export function drawCells(canvas, result, { h, w }) {
  const context = photo(canvas, result);
  const [left, top, right, bottom] = inPixels(result.box, canvas.width, canvas.height);
  context.beginPath();
  for (let x = 0; x <= w; x++) {
    const at = left + ((right - left) * x) / w;
    context.moveTo(at, top);
    context.lineTo(at, bottom);
  }
  for (let y = 0; y <= h; y++) {
    const at = top + ((bottom - top) * y) / h;
    context.moveTo(left, at);
    context.lineTo(right, at);
  }
  const pixels = Math.min((right - left) / w, (bottom - top) / h);
  if (pixels < 4) return; // the lines would hide the photo
  for (const [strokeStyle, lineWidth] of /** @type {[string, number][]} */ ([
    ['#0008', 3],
    ['#fffc', 1],
  ])) {
    Object.assign(context, { strokeStyle, lineWidth });
    context.stroke();
  }
}

/**
 * The photo, bright where a channel is active.
 * @param {HTMLCanvasElement} canvas
 * @param {Result} result
 * @param {Contributions} made
 * @param {Channel} channel
 * @param {number} [side]
 */
export function drawChannel(canvas, result, { h, w }, { peak, values }, side) {
  photo(canvas, result, side);
  const bright = Float32Array.from(values, (value) => DARK + ((1 - DARK) * Math.abs(value)) / peak);
  spotlight(canvas, { h, w, max: 1, values: bright }, result.box);
}

/**
 * A signed sum over the photo in grey: red speaks for the target, blue against it.
 * @param {HTMLCanvasElement} canvas
 * @param {Result} result
 * @param {Contributions} made
 * @param {Float64Array} sum
 * @param {Float64Array} whole the sum of all channels, which sets the scale
 */
export function drawSum(canvas, result, { h, w }, sum, whole) {
  const scale = whole.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
  const context = photo(canvas, result);
  context.globalCompositeOperation = 'saturation'; // its own red and blue would mislead
  context.fillStyle = '#888';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = 'source-over';
  const cells = new Uint8ClampedArray(4 * sum.length);
  sum.forEach((value, i) => {
    cells.set(value >= 0 ? FOR : AGAINST, 4 * i);
    cells[4 * i + 3] = 210 * Math.min(1, Math.abs(value) / (scale || 1)) ** 0.7; // a weak sum is seen, too
  });
  const [left, top, right, bottom] = inPixels(result.box, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(canvasOf(w, h, cells), left, top, right - left, bottom - top);
  context.imageSmoothingEnabled = true;
}

/**
 * The map in the colours of the page: smooth as it is shown, or cell by cell.
 * @param {HTMLCanvasElement} canvas
 * @param {Result} result
 * @param {Contributions} made
 * @param {Float64Array} values >= 0
 * @param {boolean} smooth
 */
export function drawMap(canvas, result, made, values, smooth) {
  photo(canvas, result);
  const small = asMap(made, values);
  const map = smooth ? small : blocks(small, canvas.width, canvas.height, result.box);
  const gain = small.max / scaleMax(result, 'grad-cam', store.current.word) || 0; // a faint map is pale, as above
  draw(canvas, result, { ...styleOf(result, null, 'grad-cam'), map, gain });
}

/**
 * A map with as many values as a picture has pixels: each cell is a block of one colour.
 * @param {import('../types.js').HeatMap} map
 * @param {number} width
 * @param {number} height
 * @param {Result['box']} box
 */
function blocks({ h, w, max, values }, width, height, box) {
  const [left, top, right, bottom] = inPixels(box, width, height);
  const [across, down] = [right - left, bottom - top];
  const each = Float32Array.from({ length: across * down }, (_, i) => {
    const [x, y] = [i % across, Math.floor(i / across)];
    return values[Math.floor((y * h) / down) * w + Math.floor((x * w) / across)];
  });
  return { h: down, w: across, max, values: each };
}

/**
 * Colours and what they stand for.
 * @type {{ colour: number[], code: 'for' | 'against' }[]}
 */
export const LEGEND = [
  { colour: FOR, code: 'for' },
  { colour: AGAINST, code: 'against' },
];
