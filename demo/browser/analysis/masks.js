// Masks: the strongest part of a map, and what a brush covers. Tests compare them with gradcam_core.

/** @import { Box } from '../types.js' */

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
