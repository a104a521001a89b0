// Arithmetic with maps, against values worked out by hand. (tests/demo compares it with gradcam_core.)

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boundingBox, coverCircle, packMask, segment } from '../../demo/browser/analysis/masks.js';
import {
  colourBytes,
  enlarge,
  gradientBytes,
  guidedGradCam,
  inPixels,
  sameMap,
  subtract,
} from '../../gradcam_core/viewer/maps.js';
import { unpackGradient, unpackMap } from '../../gradcam_core/viewer/unpack.js';

/** @import { Box } from '../../gradcam_core/viewer/types.js' */

/** @param {number[]} values @param {number} w @param {number} max */
const map = (values, w, max = 1) => ({ h: values.length / w, w, max, values: Float32Array.from(values) });
/** @param {Uint8Array} bytes */
const base64 = (bytes) => Buffer.from(bytes).toString('base64');

test('a map is unpacked to shares of its maximum', () => {
  const data = base64(new Uint8Array(Uint16Array.from([0, 65535, 13107, 0]).buffer));
  const { h, w, max, values } = unpackMap({ h: 2, w: 2, max: 8, data });
  assert.deepEqual([h, w, max], [2, 2, 8]);
  assert.deepEqual([...values], [0, 1, Math.fround(0.2), 0]);
});

test('a gradient is unpacked from signed square roots', async () => {
  const stream = new Blob([Int8Array.from([0, 40, -20])]).stream().pipeThrough(new CompressionStream('deflate'));
  const data = base64(new Uint8Array(await new Response(stream).arrayBuffer()));
  const { values } = await unpackGradient({ h: 1, w: 1, max: 2, data });
  assert.deepEqual([...values], [0, 2, -0.5]);
});

test('a box in pixels is rounded half to even and is never empty', () => {
  assert.deepEqual(inPixels([0, 0, 0.5, 1], 5, 3), [0, 0, 2, 3]);
  assert.deepEqual(inPixels([0.5, 0, 0.5, 1], 7, 3), [4, 0, 5, 3]);
});

test('a map is enlarged between the centres of its cells', () => {
  assert.deepEqual([...enlarge(map([0, 1], 2), 4, 1, [0, 0, 1, 1])], [0, 0.25, 0.75, 1]);
});

test('outside its box a map is zero', () => {
  /** @type {Box} */
  const right = [0.5, 0, 1, 1];
  assert.deepEqual([...enlarge(map([1], 1), 4, 1, right)], [0, 0, 1, 1]);
  /** @type {Box} */
  const beyond = [-1, 0, 1, 1];
  assert.deepEqual([...enlarge(map([0, 1], 2), 2, 1, beyond)], [0.75, 1]);
});

test('values become colours, and the gain saturates', () => {
  const table = Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));
  const pixels = colourBytes([0, 0.5, 1], table, 1);
  assert.deepEqual([...pixels], [0, 0, 0, 255, 128, 128, 128, 255, 255, 255, 255, 255]);
  assert.equal(colourBytes([0.5], table, 4)[0], 255);
});

test('a gradient is grey where it is zero, and its sign is kept', () => {
  const values = Float32Array.from([0, 1, -1]);
  assert.deepEqual([...gradientBytes({ h: 1, w: 1, values })], [128, 255, 0, 255]);
  assert.deepEqual([...gradientBytes({ h: 1, w: 1, values: new Float32Array(3) })], [128, 128, 128, 255]);
});

test('Guided Grad-CAM is the product of gradient and map', () => {
  const gradient = { h: 1, w: 2, values: Float32Array.from([1, 2, 3, 4, 5, 6]) };
  assert.deepEqual([...guidedGradCam(gradient, map([0, 1], 2)).values], [0, 0, 0, 4, 5, 6]);
});

test('maps are subtracted in shares of the larger maximum', () => {
  assert.deepEqual([...subtract(map([1, 0.5], 2, 4), map([1, 1], 2, 2)).values], [0.5, 0]);
  assert.ok(sameMap(map([1, 0], 2), map([1, 0], 2)));
  assert.ok(!sameMap(map([1, 0], 2), map([1, 0.5], 2)));
});

test('the largest part is found, corners connect, and has a box', () => {
  // 1 . . 1
  // . 1 . 1
  // . . . .
  const field = [1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0.1];
  const mask = segment(field, 4, 3, 0.15);
  assert.deepEqual([...mask], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(boundingBox(mask, 4, 3), [0, 0, 2, 2]);
});

test('an empty map has no part and no box', () => {
  const mask = segment([0, 0, 0, 0], 2, 2, 0.15);
  assert.deepEqual([...mask], [0, 0, 0, 0]);
  assert.equal(boundingBox(mask, 2, 2), null);
});

test('a brush covers the cells around it, at least one', () => {
  const mask = new Uint8Array(9);
  coverCircle(mask, 3, 0.5, 0.5, 0);
  assert.deepEqual([...mask], [0, 0, 0, 0, 1, 0, 0, 0, 0]);
  coverCircle(mask, 3, 0.5, 0.5, 1 / 3);
  assert.deepEqual([...mask], [0, 1, 0, 1, 1, 1, 0, 1, 0]);
});

test('a mask is packed a bit per cell, the first in the lowest', () => {
  assert.equal(packMask(Uint8Array.from([1, 0, 1, 0, 0, 0, 0, 1, 1])), base64(Uint8Array.from([0b10000101, 1])));
});
