// How a map was made: from what the server packs to sums of channels; and the numbers in words.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { asMap, relu, shareOf, stopsOf, strongest, sumOf, unpackChannels } from '../../demo/browser/teach/channels.js';
import { signed, sumText } from '../../demo/browser/teach/messages.js';

/** @param {number[]} values */
const floats = (values) => Buffer.from(new Float32Array(values).buffer).toString('base64');

/**
 * Pack channels as demo/channels.py does.
 * @param {number[]} weights
 * @param {number[][]} channels each with two cells; the strongest first
 * @param {{ rest?: number[], count?: number, active?: number, total?: number, rounding?: number }} [more]
 */
function packed(weights, channels, more = {}) {
  const peaks = channels.map((values) => Math.max(...values.map(Math.abs)));
  const steps = channels.flatMap((values, i) => values.map((value) => Math.round((value / (peaks[i] || 1)) * 32767)));
  const strengths = channels.map((values, i) => values.reduce((sum, each) => sum + Math.abs(each * weights[i]), 0));
  const { rest = [0, 0], count = weights.length, active = weights.length, rounding = 1e-6 } = more;
  return {
    ...{ word: null, h: 1, w: 2, numbers: weights.map((_, i) => i), weights: floats(weights), peaks: floats(peaks) },
    ...{ strengths: floats(strengths), total: more.total ?? strengths.reduce((a, b) => a + b, 0), count, active },
    ...{
      rest: floats(rest),
      rounding,
      data: deflateSync(Buffer.from(new Int16Array(steps).buffer)).toString('base64'),
    },
  };
}

/**
 * @param {ArrayLike<number>} found
 * @param {number[]} expected
 */
function close(found, expected) {
  assert.equal(found.length, expected.length);
  expected.forEach((value, i) => {
    assert.ok(Math.abs(found[i] - value) < 1e-4, `${[...Array.from(found)]} instead of ${expected}`);
  });
}

test('sums are those of the strongest channels, and at last of all', async () => {
  const made = await unpackChannels(
    packed(
      [-2, 1],
      [
        [3, -1],
        [4, 0.5],
      ],
      { rest: [0.25, 0], count: 5, active: 4, total: 20 },
    ),
  );
  close(sumOf(made, 0), [0, 0]);
  close(sumOf(made, 1), [-6, 2]);
  close(sumOf(made, 2), [-2, 2.5]);
  close(sumOf(made, 4), [-1.75, 2.5]); // with those that were not sent
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((n) => Math.round(shareOf(made, n) * 1000)),
    [0, 400, 625, 625, 1000],
  );
  assert.deepEqual(stopsOf(made), [0, 1, 2, 4]);
  close(relu(sumOf(made, 4), made.rounding), [0, 2.5]);
  const { max, values } = asMap(made, relu(sumOf(made, 4), made.rounding));
  close([max, ...values], [2.5, 0, 1]);
});

test('channels speak for the target or against it, whatever the sign of their activity', async () => {
  const made = await unpackChannels(
    packed(
      [-2, 1, -1],
      [
        [-3, -1],
        [-4, 0.5],
        [1, 0],
      ],
    ),
  );
  const numbers = (/** @type {1 | -1} */ sign, most = 6) => strongest(made, sign, most).map(({ number }) => number);
  assert.deepEqual(numbers(1), [0]);
  assert.deepEqual(numbers(-1), [1, 2]);
  assert.deepEqual(numbers(-1, 1), [1]);
});

test('where nothing is added there is nothing to see', async () => {
  const made = await unpackChannels(packed([], [], { count: 3, active: 0 }));
  assert.deepEqual(stopsOf(made), [0]);
  assert.equal(shareOf(made, 0), 0);
  close(sumOf(made, 0), [0, 0]);
  const { max, values } = asMap(made, sumOf(made, 0));
  close([max, ...values], [0, 0, 0]);
  assert.ok(sumText(made, 0, 0, 0));
});

test('a sum that is positive by rounding only is zero', async () => {
  const made = await unpackChannels(packed([1], [[1, 1]], { rest: [-1 + 2e-7, 0], rounding: 1e-6 }));
  close(relu(sumOf(made, 1), made.rounding), [0, 1]);
  assert.equal(relu(sumOf(made, 1), made.rounding)[0], 0);
});

test('the slider stops at each small number of channels, and at the last', async () => {
  const many = Array.from({ length: 300 }, () => 1);
  const made = await unpackChannels(
    packed(
      many,
      many.map(() => [1, 0]),
    ),
  );
  const stops = stopsOf(made);
  assert.deepEqual(
    stops.slice(0, 21),
    Array.from({ length: 21 }, (_, i) => i),
  );
  assert.equal(stops.at(-1), 300);
  assert.equal(new Set(stops).size, stops.length);
  assert.ok(stops.length < 50);
});

test('numbers have a sign and two digits', () => {
  const expected = { 0.00053: '+0.00053', '-0.0041': '−0.0041', 12.34: '+12', '-1.5': '−1.5', '2e-9': '+2.0e-9' };
  for (const [value, text] of Object.entries(expected)) assert.equal(signed(Number(value)), text);
});
