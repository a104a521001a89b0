// Uploads in all tabs, results from before a reload, and numbers for people.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { chance } from '../../demo/browser/format.js';
import { isLikeliestFirst, listedPredictions } from '../../demo/browser/selectors.js';
import { store, TASKS } from '../../demo/browser/store.js';

/** @import { Facts, Photo, Result } from '../../demo/browser/types.js' */

const model = { name: 'lite0', title: 'Lite0', year: 2020, megabytes: 0, here: true, guided: true };
const method = { name: 'grad-cam', title: '', paper: '', about: '', slow: false, weighted: true };
/** @type {Facts} */
const facts = {
  ...{ tasks: { classification: [model], captioning: [model], vqa: [model] }, methods: [method] },
  ...{ colours: { jet: '' }, colour: 'jet', opacity: 0.5, lanes: [], examples: [], questions: {}, max_upload: 1 },
  faint_below: 0.1,
};
/** @type {Photo} */
const former = { key: 'cat', name: 'cat', example: 'cat' };
/** @type {Photo} */
const photo = { key: 'upload 1', name: 'photo.jpg' };

/** @param {string} key */
const result = (key) => /** @type {Result} */ ({ key, task: 'classification', target: key, photo: former });
const codes = () => TASKS.map((task) => store.state.tasks[task].status?.code);

beforeEach(() => {
  store.start(facts);
  store.choosePhoto(former);
});

test('an upload is in progress in every tab', () => {
  store.beginUpload(photo);
  assert.deepEqual(codes(), ['uploading', 'uploading', 'uploading']);
  store.chooseTab('vqa');
  store.uploadProgress(photo, 0.5);
  assert.deepEqual(store.current.status, { code: 'uploading', share: 0.5 });
  store.uploadProgress(former, 0.9); // of a photo that is not shown any more
  assert.deepEqual(store.current.status, { code: 'uploading', share: 0.5 });
  store.choosePhoto(photo);
  assert.deepEqual(codes(), [undefined, undefined, undefined]);
});

test('an upload that failed is in progress in no tab', () => {
  store.beginUpload(photo);
  store.chooseTab('captioning');
  store.restorePhoto(former);
  assert.equal(store.state.photo, former);
  assert.deepEqual(codes(), [undefined, undefined, undefined]);
});

test('results from before a reload come before those of now, once each', () => {
  store.explained('classification', result('tabby'), false);
  store.restoreHistory([result('moped'), result('tabby')]);
  assert.deepEqual(
    store.state.history.map(({ key }) => key),
    ['moped', 'tabby'],
  );
});

test('no result is compared with itself', () => {
  for (const [target, kept] of /** @type {[string, boolean][]} */ ([
    ['moped', true],
    ['tabby', false],
  ])) {
    store.compareWith({ target: 'tabby' });
    store.explained('classification', result(target), false);
    assert.equal(!!store.current.compared, kept);
  }
});

test('the first choice is listed first, then the likeliest', () => {
  const predictions = [0.1, 0.05, 0.3, 0.2].map((probability) => ({ text: String(probability), probability }));
  const listed = listedPredictions({ predictions });
  assert.deepEqual(
    listed.map(({ text }) => text),
    ['0.1', '0.3', '0.2', '0.05'],
  );
  assert.ok(!isLikeliestFirst(listed));
  assert.ok(isLikeliestFirst(listed.slice(1)));
});

test('how likely a caption is needs no logarithm', () => {
  const said = [0.62, 0.012, 0.0071, 2e-5, 0].map(chance);
  assert.deepEqual(said, ['62 %', '1.2 %', '1 in 140', '1 in 50,000', 'under 1 in a billion']);
});
