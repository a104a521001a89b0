// What is packed again is what the server packed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packGradient, packMap } from '../../demo/browser/pack.js';
import { unpackGradient, unpackMap } from '../../gradcam_core/viewer/unpack.js';

test('a map survives', () => {
  const steps = Uint16Array.from({ length: 70_000 }, (_, i) => i % 65536);
  const values = Float32Array.from(steps, (step) => step / 65535);
  const map = { h: 700, w: 100, max: 1 / 3, values };
  assert.deepEqual(unpackMap(packMap(map)), map);
});

test('a gradient survives, an empty one, too', async () => {
  const roots = Float32Array.from({ length: 81 * 3 }, (_, i) => (i % 81) - 40);
  for (const max of [0.3, 0]) {
    const values = roots.map((root) => Math.sign(root) * (root / 40) ** 2 * max);
    const again = await unpackGradient(await packGradient({ h: 9, w: 9, values }));
    assert.deepEqual([again.h, again.w], [9, 9]);
    again.values.forEach((value, i) => {
      assert.ok(Math.abs(value - values[i]) <= 1e-6 * max);
    });
  }
});
