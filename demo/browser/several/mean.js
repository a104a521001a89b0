// The mean of maps of several photos.

import { enlarge } from '../../../gradcam_core/viewer/maps.js';
import { ownMax } from '../../../gradcam_core/viewer/scale.js';

/** @import { HeatMap, Result } from '../types.js' */

const SIDE = 56; // cells

/**
 * The mean of maps over photos that are stretched to one square. Each map counts in shares of where its colours end, so
 * that a strong one does not outweigh the others, and a faint one stays faint.
 * @param {readonly Pick<Result, 'raw' | 'box' | 'first_choice_max'>[]} results
 * @param {number} below see `isFaint`
 * @returns {HeatMap} `max` is a share, too: 1 if all maps are strongest at the same place
 */
export function meanMap(results, below) {
  const sum = new Float32Array(SIDE * SIDE);
  for (const result of results) {
    const share = result.raw.max / ownMax(result, result.raw, below) || 0;
    enlarge(result.raw, SIDE, SIDE, result.box).forEach((value, i) => {
      sum[i] += (value * share) / results.length;
    });
  }
  const max = sum.reduce((most, value) => Math.max(most, value), 0);
  return { h: SIDE, w: SIDE, max, values: sum.map((value) => value / (max || 1)) };
}
