// From what the server packs to arrays.

/** @import { Explanation, Gradient, HeatMap, Packed } from './types.js' */

/** @param {string} text base64 */
export function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/**
 * @param {Packed} packed 16 bits a value
 * @returns {HeatMap}
 */
export function unpackMap({ h, w, max, data }) {
  const steps = new DataView(bytes(data).buffer);
  const values = Float32Array.from({ length: h * w }, (_, i) => steps.getUint16(2 * i, true) / 65535);
  return { h, w, max, values };
}

/**
 * @param {Packed} packed signed square roots in 40 steps, compressed
 * @returns {Promise<Gradient>}
 */
export async function unpackGradient({ h, w, max, data }) {
  const stream = new Blob([bytes(data)]).stream().pipeThrough(new DecompressionStream('deflate'));
  const roots = new Int8Array(await new Response(stream).arrayBuffer());
  return { h, w, values: Float32Array.from(roots, (root) => Math.sign(root) * (root / 40) ** 2 * max) };
}

/**
 * @template {Explanation} T
 * @param {T} packed
 */
export async function unpackExplanation(packed) {
  return {
    ...packed,
    raw: unpackMap(packed.raw),
    raw_counterfactual: unpackMap(packed.raw_counterfactual),
    words: packed.words.map((word) => ({ ...word, raw: unpackMap(word.raw) })),
    gradient: packed.gradient && (await unpackGradient(packed.gradient)),
  };
}
