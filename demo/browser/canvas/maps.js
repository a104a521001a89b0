// Arithmetic with maps, without a canvas. Tests compare it with gradcam_core.

/** @import { Box, Gradient, HeatMap } from '../types.js' */

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
 */
export function gradientBytes({ values }) {
  const sizes = values.map(Math.abs).sort();
  const position = 0.995 * (sizes.length - 1);
  const [low, high] = [sizes[Math.floor(position)], sizes[Math.ceil(position)]];
  const scale = low + (high - low) * (position % 1) || sizes[sizes.length - 1] || 1;
  const pixels = new Uint8ClampedArray((values.length / 3) * 4).fill(255);
  for (let i = 0; i < values.length; i++) {
    pixels[4 * Math.floor(i / 3) + (i % 3)] = Math.max(-1, Math.min(1, values[i] / scale)) * 127.5 + 127.5;
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

/**
 * The largest connected part of a field above a share of its maximum, as a mask; corners connect.
 * The same as gradcam_core.metrics.segment.
 * @param {ArrayLike<number>} field
 * @param {number} width
 * @param {number} height
 * @param {number} share
 */
export function segment(field, width, height, share) {
  let max = 0;
  for (let i = 0; i < field.length; i++) max = Math.max(max, field[i]);
  const above = share * max;
  const part = new Int32Array(field.length);
  const sizes = [0];
  for (let start = 0; above > 0 && start < field.length; start++) {
    if (part[start] || field[start] < above) continue;
    const number = sizes.length;
    sizes.push(flood(start, number));
  }
  const largest = sizes.indexOf(Math.max(...sizes));
  return Uint8Array.from(part, (number) => (largest && number === largest ? 1 : 0));

  /**
   * Number a connected part; return its size.
   * @param {number} start
   * @param {number} number
   */
  function flood(start, number) {
    const stack = [start];
    part[start] = number;
    let size = 0;
    for (let cell = stack.pop(); cell !== undefined; cell = stack.pop(), size++) {
      const [x, y] = [cell % width, Math.floor(cell / width)];
      for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
        for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
          const next = row * width + column;
          if (part[next] || field[next] < above) continue;
          part[next] = number;
          stack.push(next);
        }
      }
    }
    return size;
  }
}

/**
 * left, top, right, bottom of a mask; the last two excluded. Null for an empty mask.
 * The same as gradcam_core.metrics.bounding_box.
 * @param {ArrayLike<number>} mask
 * @param {number} width
 * @param {number} height
 * @returns {Box | null}
 */
export function boundingBox(mask, width, height) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
  }
  return right ? [left, top, right, bottom] : null;
}

/**
 * Cover the cells under a brush.
 * @param {Uint8Array} mask changed in place
 * @param {number} columns
 * @param {number} x share of the width
 * @param {number} y share of the height
 * @param {number} size share of the shorter side
 */
export function coverCircle(mask, columns, x, y, size) {
  const rows = mask.length / columns;
  const radius = Math.max(0.7, size * Math.min(rows, columns));
  for (let i = 0; i < mask.length; i++) {
    const [column, row] = [i % columns, Math.floor(i / columns)];
    if (Math.hypot(column + 0.5 - x * columns, row + 0.5 - y * rows) <= radius) mask[i] = 1;
  }
}

/**
 * A mask as the server unpacks it: a bit per cell, base64.
 * @param {Uint8Array} mask
 */
export function packMask(mask) {
  const packed = new Uint8Array(Math.ceil(mask.length / 8));
  mask.forEach((covered, i) => {
    packed[i >> 3] |= covered << (i & 7);
  });
  return btoa(String.fromCharCode(...packed));
}
