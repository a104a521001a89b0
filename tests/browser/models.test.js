// What the list of models says of each.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modelOption } from '../../demo/browser/messages.js';

test('only a model that must be downloaded has the size of its download', () => {
  const model = { name: 'blip-base', title: 'BLIP base', year: 2022, megabytes: 990, guided: false };
  assert.match(modelOption({ ...model, here: false }), /990 MB/);
  const here = modelOption({ ...model, here: true });
  assert.doesNotMatch(here, /990/);
  assert.notEqual(here, modelOption({ ...model, megabytes: 0, here: true }));
});
