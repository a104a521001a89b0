// From arrays to what the server packs: the reverse of the viewer's unpack.js.

/** @import { Gradient, HeatMap, Packed } from './types.js' */

/** @param {Uint8Array} data */
function base64(data) {
  let text = '';
  for (let i = 0; i < data.length; i += 0x8000) text += String.fromCharCode(...data.subarray(i, i + 0x8000));
  return btoa(text);
}

/**
 * @param {HeatMap} map
 * @returns {Packed}
 */
export function packMap({ h, w, max, values }) {
  const steps = new DataView(new ArrayBuffer(2 * values.length));
  values.forEach((value, i) => {
    steps.setUint16(2 * i, Math.round(value * 65535), true);
  });
  return { h, w, max, data: base64(new Uint8Array(steps.buffer)) };
}

/**
 * @param {Gradient} gradient
 * @returns {Promise<Packed>}
 */
export async function packGradient({ h, w, values }) {
  const max = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const roots = Int8Array.from(values, (value) => Math.sign(value) * Math.round(40 * Math.sqrt(Math.abs(value) / max)));
  const stream = new Blob([roots]).stream().pipeThrough(new CompressionStream('deflate'));
  return { h, w, max, data: base64(new Uint8Array(await new Response(stream).arrayBuffer())) };
}
