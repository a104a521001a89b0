// Arithmetic with maps, without a canvas. Tests compare it with gradcam_core.

/** @import { Box, Gradient, HeatMap } from './types.js' */

/**
 * Where a box, given as shares of the sides, lies in a picture; rounded as Python rounds.
 * @param {Box} box
 * @param {number} width
 * @param {number} height
 * @returns {Box}
 */
export function inPixels(box, width, height) {
  /** @param {number} x */
  const round = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
  const [left, top, right, bottom] = box.map((share, i) => round(share * (i % 2 ? height : width)));
  return [left, top, Math.max(right, left + 1), Math.max(bottom, top + 1)];
}

/**
 * Stretch a map bilinearly over its box in a picture, pixel centres on pixel centres
 * (align_corners=False); zero outside the box.
 * @param {{ h: number, w: number, values: ArrayLike<number> }} map
 * @param {number} width
 * @param {number} height
 * @param {Box} box shares of the sides
 */
export function enlarge({ h, w, values }, width, height, box) {
  const [left, top, right, bottom] = inPixels(box, width, height);
  const [x0, x1] = [Math.max(0, left), Math.min(width, right)];
  // Horizontally first: the few rows of cells at full width.
  const rows = new Float32Array(h * width);
  for (let x = x0; x < x1; x++) {
    const [low, high, share] = neighbours(right - left, w, x - left);
    for (let y = 0; y < h; y++) {
      rows[y * width + x] = values[y * w + low] * (1 - share) + values[y * w + high] * share;
    }
  }
  const field = new Float32Array(width * height);
  for (let y = Math.max(0, top); y < Math.min(height, bottom); y++) {
    const [low, high, share] = neighbours(bottom - top, h, y - top);
    for (let x = x0; x < x1; x++) {
      field[y * width + x] = rows[low * width + x] * (1 - share) + rows[high * width + x] * share;
    }
  }
  return field;
}

/**
 * The two cells that a pixel lies between, and the share of the second.
 * @param {number} length pixels that the cells cover
 * @param {number} cells
 * @param {number} pixel
 */
function neighbours(length, cells, pixel) {
  const position = Math.max(0, ((pixel + 0.5) * cells) / length - 0.5);
  const low = Math.min(Math.floor(position), cells - 1);
  return [low, Math.min(low + 1, cells - 1), position - low];
}

/**
 * A field in [0, 1] as RGBA bytes, through a table of 256 colours.
 * @param {ArrayLike<number>} field
 * @param {ArrayLike<number>} table 256 x RGB
 * @param {number} gain what the values are multiplied with first
 */
export function colourBytes(field, table, gain) {
  const rgba = Uint8Array.from({ length: 1024 }, (_, i) => (i % 4 === 3 ? 255 : table[3 * (i >> 2) + (i % 4)]));
  const colours = new Uint32Array(rgba.buffer);
  const pixels = new Uint32Array(field.length);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colours[Math.round(Math.min(1, field[i] * gain) * 255)];
  return new Uint8ClampedArray(pixels.buffer);
}

/**
 * A signed gradient as RGBA bytes around grey, on the scale of its 99.5th percentile.
 * @param {Gradient} gradient
 * @param {number} gain how strong the strongest is, 0 to 1
 */
export function gradientBytes({ values }, gain = 1) {
  const sizes = values.map(Math.abs).sort();
  const position = 0.995 * (sizes.length - 1);
  const [low, high] = [sizes[Math.floor(position)], sizes[Math.ceil(position)]];
  const scale = low + (high - low) * (position % 1) || sizes[sizes.length - 1] || 1;
  const pixels = new Uint8ClampedArray((values.length / 3) * 4).fill(255);
  for (let i = 0; i < values.length; i++) {
    pixels[4 * Math.floor(i / 3) + (i % 3)] = Math.max(-1, Math.min(1, values[i] / scale)) * gain * 127.5 + 127.5;
  }
  return pixels;
}

/**
 * Guided Grad-CAM: the gradient times the map, at the network's own size.
 * @param {Gradient} gradient
 * @param {HeatMap} map
 * @returns {Gradient}
 */
export function guidedGradCam({ h, w, values }, map) {
  const field = enlarge(map, w, h, [0, 0, 1, 1]);
  return { h, w, values: values.map((value, i) => value * field[Math.floor(i / 3)]) };
}

/**
 * The difference of two maps of one size, in shares of the larger maximum.
 * @param {HeatMap} one
 * @param {HeatMap} other
 */
export function subtract(one, other) {
  const top = Math.max(one.max, other.max) || 1;
  const values = one.values.map((value, i) => (value * one.max - other.values[i] * other.max) / top);
  return { h: one.h, w: one.w, values };
}

/**
 * @param {HeatMap} one
 * @param {HeatMap} other
 */
export const sameMap = (one, other) =>
  one.max === other.max && one.h === other.h && one.values.every((value, i) => value === other.values[i]);
