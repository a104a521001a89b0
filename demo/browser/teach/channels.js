// The sum behind a map: channels, each with its weight. Arithmetic only; tests compare it with gradcam_core.

import { bytes } from '../../../gradcam_core/viewer/unpack.js';

/** @import { HeatMap, PackedChannels } from '../types.js' */

/** A channel of the feature map: its number, its weight (alpha of Eq. 1), its share, and its activity (h, w). */
/** @typedef {{ number: number, weight: number, share: number, peak: number, values: Float64Array }} Channel */
/**
 * What is added up: the strongest channels, and the sum of all others.
 * @typedef {object} Contributions
 * @property {string | null} word of the caption, or null for the whole
 * @property {number} count how many channels the feature map has
 * @property {number} active how many of them contribute something
 * @property {number} h
 * @property {number} w
 * @property {Channel[]} channels those that were sent, the strongest first
 * @property {Float32Array} rest what is missing to the sum of all channels, (h, w)
 * @property {number} rounding sums up to this count as zero
 */

const STEPS = 2 ** 15 - 1;
const EVERY = 20; // up to here, the slider stops at each number of channels
const GROWTH = 1.25;

/** @param {string} text base64 */
const floats = (text) => new Float32Array(bytes(text).buffer);

/**
 * @param {PackedChannels} packed
 * @returns {Promise<Contributions>}
 */
export async function unpackChannels({ word, count, active, h, w, numbers, total, data, ...packed }) {
  const stream = new Blob([bytes(data)]).stream().pipeThrough(new DecompressionStream('deflate'));
  const steps = new Int16Array(await new Response(stream).arrayBuffer());
  const [weights, strengths, peaks] = [packed.weights, packed.strengths, packed.peaks].map(floats);
  const channels = numbers.map((number, i) => ({
    number,
    weight: weights[i],
    share: strengths[i] / total,
    peak: peaks[i],
    values: Float64Array.from(steps.subarray(i * h * w, (i + 1) * h * w), (step) => (step * peaks[i]) / STEPS),
  }));
  return { word, count, active, h, w, channels, rest: floats(packed.rest), rounding: packed.rounding };
}

/**
 * The sum of the strongest channels, each multiplied by its weight; signed.
 * @param {Contributions} made
 * @param {number} count of channels; from `active` on, the sum of all
 */
export function sumOf({ active, h, w, channels, rest }, count) {
  const sum = count >= active ? Float64Array.from(rest) : new Float64Array(h * w);
  for (const { weight, values } of channels.slice(0, count)) {
    for (let cell = 0; cell < sum.length; cell++) sum[cell] += weight * values[cell];
  }
  return sum;
}

/**
 * The ReLU of a sum. What is positive by rounding only counts as zero.
 * @param {Float64Array} sum
 * @param {number} rounding
 */
export const relu = (sum, rounding) => sum.map((value) => (value > rounding ? value : 0));

/**
 * The share of the strongest channels in all that is added and subtracted.
 * @param {Contributions} made
 * @param {number} count
 */
export function shareOf({ active, channels }, count) {
  if (count >= active) return active ? 1 : 0;
  return channels.slice(0, count).reduce((sum, { share }) => sum + share, 0);
}

/**
 * The numbers of channels that the slider stops at: each small one, then fewer; at last all.
 * @param {Contributions} made
 */
export function stopsOf({ active, channels }) {
  const last = Math.min(channels.length, active);
  const stops = [0];
  for (let n = 1; n <= last; n = n < EVERY ? n + 1 : Math.ceil(n * GROWTH)) stops.push(n);
  if (stops[stops.length - 1] !== last) stops.push(last);
  if (last !== active) stops.push(active);
  return stops;
}

/**
 * The strongest channels that speak for the target, or against it.
 * @param {Contributions} made
 * @param {1 | -1} sign
 * @param {number} most
 */
export const strongest = ({ channels }, sign, most) =>
  channels.filter(({ weight, values }) => sign * weight * values.reduce((a, b) => a + b, 0) > 0).slice(0, most);

/**
 * Values >= 0 as a map in shares of its maximum.
 * @param {Contributions} made
 * @param {Float64Array} values (h, w)
 * @returns {HeatMap}
 */
export function asMap({ h, w }, values) {
  const max = values.reduce((top, value) => Math.max(top, value), 0);
  return { h, w, max, values: Float32Array.from(values, (value) => value / (max || 1)) };
}
