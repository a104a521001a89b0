// How strong a map is drawn, and what follows from a model that fails.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import {
  freshResult,
  isFaint,
  isUsual,
  sanityCode,
  scaleMax,
  sharedMax,
  styleOf,
} from '../../demo/browser/selectors.js';
import { isChoiceAtFault, store } from '../../demo/browser/store.js';
import { gradientBytes } from '../../gradcam_core/viewer/maps.js';

/** @import { Facts, Photo, Reply, Result } from '../../demo/browser/types.js' */

const models = ['lite0', 'lite2'].map((name) => ({
  name,
  title: name,
  year: 2020,
  megabytes: 0,
  here: true,
  guided: true,
}));
/** @type {Facts} */
const facts = {
  tasks: { classification: models, captioning: models, vqa: models },
  methods: [{ name: 'grad-cam', title: '', paper: '', about: '', slow: false, weighted: true }],
  colours: { jet: '' },
  colour: 'jet',
  ...{ opacity: 0.5, faint_below: 0.3, lanes: [], examples: [], questions: {}, max_upload: 1 },
};
/** @type {Photo} */
const photo = { key: 'cat', name: 'cat', example: 'cat' };
const mapOf = (/** @type {number} */ max) => ({ h: 1, w: 1, max, values: new Float32Array(1) });

/**
 * @param {string} target
 * @param {number} max
 * @param {Partial<Result>} [changes]
 * @returns {Result}
 */
const result = (target, max, changes = {}) => ({
  ...{ task: 'classification', model: 'lite0', layer: 'last', method: 'grad-cam', question: null, target },
  ...{ score: 1, probability: 0.5, rank: 1, unsure: false, unknown_words: [], words: [], gradient: null },
  ...{ detail: 1, first_choice_max: 1, position_known: true, faint: max < 0.3, capabilities: '', methods: {} },
  ...{ predictions: [], raw: mapOf(max), raw_counterfactual: mapOf(0), box: [0, 0, 1, 1], remarks: [] },
  ...{ concepts: null, milliseconds: 1, layers: { last: '7 × 7' }, default_layer: 'last' },
  ...{ photo: /** @type {Result['photo']} */ (photo), typed: '', key: target },
  ...changes,
});

/** @param {Result} shown */
const explain = (shown) => store.explained(shown.task, shown, false);
/** @param {Result} second */
function beside(second) {
  store.compareWith(second.model === store.current.shown?.model ? { target: second.target } : { model: second.model });
  store.secondExplained(second.task, second, {});
}
/** How strongly a result is drawn. */
const strength = (/** @type {Result} */ each, view = /** @type {const} */ ('grad-cam')) =>
  styleOf(each, null, view).gain;
/** @type {Reply} */
const failed = { code: 'bad_request', problem: { code: 'server', text: 'No such model.' } };

beforeEach(() => {
  store.start(facts);
  store.choosePhoto(photo);
});

test('a faint map, also one against, is drawn on the scale of the first choice, unless the visitor decides', () => {
  const zebra = result('zebra', 0.1, { raw_counterfactual: mapOf(0.2) });
  explain(zebra);
  assert.equal(strength(zebra), 0.1);
  assert.equal(styleOf(zebra, null, 'counterfactual').gain, 0.2);
  assert.equal(styleOf(zebra, null, 'spotlight').gain, 0.1);
  store.changeLook({ sameScale: false });
  assert.equal(strength(zebra), 1);
  explain(result('boxer', 0.1)); // that was for the zebra
  assert.equal(strength(zebra), 0.1);
  const cat = result('cat', 0.9);
  explain(cat);
  assert.equal(strength(cat), 1);
  assert.ok(!isFaint(result('caption', 0.01, { first_choice_max: null }), mapOf(0.01)));
});

test('so is a faint map of a frame of the camera', () => {
  store.setCamera('live');
  const frame = result('zebra', 0.1);
  store.showFrame(frame, 5);
  assert.equal(strength(frame), 0.1);
});

test('two maps share the scale of these two, whatever was seen before', () => {
  explain(result('cat', 0.9));
  const [tabby, tiger] = [result('tabby', 0.4), result('tiger', 0.5)];
  explain(tabby);
  beside(tiger);
  assert.equal(sharedMax('grad-cam'), 0.5);
  assert.deepEqual([strength(tabby), strength(tiger)], [0.8, 1]);
  store.compareWith(null);
  store.beginSecond();
  store.changeLook({ sameScale: true });
  assert.equal(sharedMax('grad-cam'), 0.9); // one alone: everything of this photo
});

test('two faint maps are both pale, and so are those of two models', () => {
  const [zebra, boxer] = [result('zebra', 0.1), result('boxer', 0.2)];
  explain(zebra);
  beside(boxer);
  assert.deepEqual([strength(zebra), strength(boxer)], [0.1, 0.2]);
  const other = result('zebra', 2, { model: 'lite2', first_choice_max: 10 });
  beside(other);
  assert.deepEqual([strength(zebra), strength(other)], [0.1, 0.2]); // each on its network's scale
});

test('a word beside a caption: the scale is of the word and the other caption', () => {
  const words = [{ text: 'cat', log_prob: -1, raw: mapOf(0.2) }];
  const caption = result('cat', 3, { task: 'captioning', words, first_choice_max: null });
  store.chooseTab('captioning');
  explain(caption);
  beside(result('dog', 0.1, { task: 'captioning', first_choice_max: null }));
  store.chooseWord(0);
  assert.equal(sharedMax('grad-cam'), 0.2);
  assert.equal(scaleMax(caption, 'grad-cam', 0), 0.2);
});

test('a weak guided view is grey', () => {
  const gradient = { h: 1, w: 1, values: Float32Array.from([1, -1, 0]) };
  assert.deepEqual([...gradientBytes(gradient, 0.1)].slice(0, 3), [140, 115, 128]);
});

test('only the server can hold a failure against a model', () => {
  assert.ok(isChoiceAtFault(failed));
  assert.ok(!isChoiceAtFault({ ...failed, code: 'unknown_label' }));
  assert.ok(!isChoiceAtFault({ problem: { code: 'lost' } }));
});

test('what worked last is known for each task', () => {
  store.choose({ model: 'lite2', layer: 'last' });
  assert.equal(store.current.worked.model, 'lite0');
  explain(result('cat', 1, { model: 'lite2' }));
  assert.deepEqual(store.current.worked, { model: 'lite2', layer: 'last', method: 'grad-cam' });
  store.choose({ model: 'broken' });
  store.fallBack('classification', store.current.worked);
  store.notExplained('classification', failed, null, null, { model: 'broken', layer: null, method: 'grad-cam' });
  assert.equal(store.current.model, 'lite2');
  assert.equal(store.current.failed?.model, 'broken');
  assert.ok(freshResult());
  assert.equal(store.state.tasks.vqa.model, 'lite0');
});

test('a second model that fails gives way to what stood there', () => {
  explain(result('cat', 1));
  store.compareWith({ model: 'broken' });
  store.secondExplained('classification', null, failed);
  assert.equal(store.current.compared, null);
  beside(result('cat', 1, { model: 'lite2', key: 'other' }));
  store.compareWith({ model: 'broken' });
  store.secondExplained('classification', null, failed);
  assert.deepEqual(store.current.compared, { model: 'lite2' });
  assert.equal(store.current.second?.model, 'lite2');
  // That it does not know the class is no reason to give it up.
  store.secondExplained('classification', null, { ...failed, code: 'unknown_label' });
  assert.deepEqual(store.current.compared, { model: 'lite2' });
});

test('the usual layer is the default of the model, which need not be the last', () => {
  assert.ok(isUsual(result('cat', 1)));
  assert.ok(!isUsual(result('cat', 1, { default_layer: 'first' })));
  assert.ok(!isUsual(result('cat', 1, { method: 'layercam' })));
  const old = result('cat', 1, { layer: 'first' });
  store.returnTo(old);
  assert.equal(store.current.layer, 'first');
  store.returnTo(result('dog', 1));
  assert.equal(store.current.layer, null);
});

test('a map passes the sanity check only if little of it is left', () => {
  const code = (/** @type {number[]} */ ...correlations) =>
    sanityCode(correlations.map((correlation) => ({ layer: '', correlation, map: { h: 1, w: 1, max: 0, data: '' } })));
  assert.equal(code(0.2, -0.1), 'passed');
  assert.equal(code(0.9, 0.1), 'not_specific');
  assert.equal(code(0.53, 0.44), 'partly');
  assert.equal(code(0.9, -0.62), 'unchanged');
});
