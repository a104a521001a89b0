// The store: its actions, one by one; what follows from the state.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { HEADINGS, problemText, statusText, summary } from '../../demo/browser/messages.js';
import {
  freshResult,
  isGuess,
  isReplaced,
  methodsFor,
  sameScale,
  sharedMax,
  unlikelyWords,
  viewsOf,
} from '../../demo/browser/selectors.js';
import { store } from '../../demo/browser/store.js';

/** @import { Facts, Photo, Result } from '../../demo/browser/types.js' */

const model = { name: 'lite0', title: 'Lite0', year: 2020, megabytes: 0, here: true, guided: true };
const method = { title: '', paper: '', about: '', slow: false, weighted: true };
/** @type {Facts} */
const facts = {
  tasks: { classification: [model], captioning: [model], vqa: [model] },
  methods: [
    { ...method, name: 'grad-cam' },
    { ...method, name: 'rollout' },
  ],
  colours: { jet: '' },
  colour: 'jet',
  opacity: 0.5,
  faint_below: 0.3,
  ...{ lanes: [], examples: [], questions: {}, max_upload: 1 },
};
/** @type {Photo} */
const photo = { key: 'cat', name: 'cat', example: 'cat' };
const heatMap = { h: 1, w: 1, max: 2, values: new Float32Array(1) };

/**
 * @param {Partial<Result>} [changes]
 * @returns {Result}
 */
const result = (changes = {}) => ({
  ...{ task: 'classification', model: 'lite0', layer: 'last', method: 'grad-cam', question: null, target: 'tabby' },
  ...{ score: 1, probability: 0.5, rank: 1, unsure: false, faint: false, unknown_words: [], words: [], gradient: null },
  ...{ detail: 1, first_choice_max: null, position_known: true },
  predictions: [{ text: 'tabby', probability: 0.5 }],
  ...{ raw: heatMap, raw_counterfactual: heatMap, box: [0, 0, 1, 1], remarks: [], concepts: null, milliseconds: 1 },
  ...{
    layers: { last: '7 × 7' },
    default_layer: 'last',
    capabilities: '',
    methods: { 'grad-cam': null, rollout: 'For transformers.' },
  },
  ...{ photo: /** @type {Result['photo']} */ (photo), typed: '', key: 'tabby' },
  ...changes,
});

/** @param {Partial<Result>} [changes] */
function explain(changes) {
  const explained = result(changes);
  store.explained(explained.task, explained, false);
  return explained;
}

beforeEach(() => {
  store.start(facts);
  store.choosePhoto(photo);
});

test('a view is rendered once for all actions of a turn, and only if its slice has changed', async () => {
  const rendered = { look: 0, camera: 0 };
  store.render();
  store.subscribe(['look'], () => rendered.look++);
  store.subscribe(['camera'], () => rendered.camera++);
  store.changeLook({ opacity: 0.1 });
  store.changeLook({ opacity: 0.2 });
  assert.deepEqual(rendered, { look: 0, camera: 0 });
  await null;
  assert.deepEqual(rendered, { look: 1, camera: 0 });
});

test('a request is numbered, shows its status, and clears old problems', () => {
  store.showProblem({ code: 'lost' }, { code: 'reload' });
  const number = store.beginExplain('tabby', { code: 'explaining' });
  assert.equal(number, store.current.requests);
  assert.equal(store.current.target, 'tabby');
  assert.deepEqual([store.current.problem, store.current.retry], [null, null]);
  assert.ok(store.beginExplain(undefined, { code: 'explaining' }) > number);
  assert.equal(store.current.target, 'tabby');
});

test('a result ends the status and joins the history once', () => {
  store.beginExplain('tabby', { code: 'explaining' });
  const first = explain();
  assert.equal(freshResult(), first);
  assert.equal(store.current.status, null);
  explain({ key: 'boxer', target: 'boxer' });
  explain();
  assert.deepEqual(
    store.state.history.map(({ key }) => key),
    ['boxer', 'tabby'],
  );
});

test('the gradient of the same result is kept', () => {
  const gradient = { h: 1, w: 1, values: new Float32Array(3) };
  explain({ gradient });
  assert.equal(explain().gradient, gradient);
  assert.equal(explain({ key: 'boxer' }).gradient, null);
});

test('a model without guided backpropagation is remembered, and its view is left', () => {
  store.changeLook({ view: 'guided' });
  const shown = result();
  assert.ok(viewsOf(shown).includes('guided'));
  store.explained('classification', shown, true);
  assert.equal(store.state.look.view, 'grad-cam');
  assert.ok(!viewsOf(shown).includes('guided'));
});

test('another photo resets targets and comparisons, but keeps the second model', () => {
  store.choose({ target: 'tabby' });
  store.compareWith({ model: 'lite2' });
  explain();
  store.choosePhoto({ key: 'dog', name: 'dog' });
  assert.equal(freshResult(), null);
  assert.equal(store.current.target, '');
  assert.deepEqual(store.current.compared, { model: 'lite2' });
  store.compareWith({ target: 'boxer' });
  store.choosePhoto(photo);
  assert.equal(store.current.compared, null);
});

test('a photo that cannot be opened gives way to the former one', () => {
  const former = store.state.photo;
  const broken = { key: 'broken', name: 'broken' };
  explain();
  store.beginUpload(broken);
  store.uploadProgress(broken, 0.3);
  assert.deepEqual(store.current.status, { code: 'uploading', share: 0.3 });
  store.notExplained('classification', { problem: { code: 'server', text: 'No picture.' } }, null, former);
  assert.equal(store.state.photo, former);
  assert.ok(store.current.stale);
});

test('progress of another upload is ignored', () => {
  store.beginUpload({ key: '1', name: '1' });
  store.uploadProgress(photo, 0.5);
  assert.deepEqual(store.current.status, { code: 'uploading', share: 0 });
});

test('methods that do not apply are known from an answer of the model', () => {
  const names = () => methodsFor('classification', 'lite0').map(({ name }) => name);
  assert.deepEqual(names(), ['grad-cam', 'rollout']);
  explain();
  assert.deepEqual(names(), ['grad-cam']);
});

test('two targets of a model share a scale, two models do not, unless the visitor decides', () => {
  const shown = explain();
  const second = result({ key: 'boxer', raw: { ...heatMap, max: 5 } });
  store.compareWith({ target: 'boxer' });
  store.secondExplained('classification', second, {});
  assert.equal(sameScale(), true);
  assert.equal(sharedMax('grad-cam'), 5);
  store.compareWith({ model: 'lite2' });
  assert.equal(sameScale(), false);
  store.changeLook({ sameScale: true });
  assert.equal(sameScale(), true);
  assert.equal(freshResult(), shown);
});

test('returning to a result restores how it was made', () => {
  const old = explain({ task: 'vqa', question: 'What is this?', target: 'cat', key: 'cat' });
  store.chooseTab('captioning');
  store.returnTo(old);
  assert.equal(store.state.tab, 'vqa');
  assert.deepEqual([store.current.shown, store.current.question, store.current.target], [old, 'What is this?', 'cat']);
});

test('a word of a caption has only some views', () => {
  store.changeLook({ view: 'counterfactual' });
  store.chooseWord(1);
  assert.equal(store.state.look.view, 'grad-cam');
});

test('the handle stays on the picture', () => {
  store.moveHandle(1.5);
  assert.equal(store.state.handle, 1);
  store.moveHandle(-1);
  assert.equal(store.state.handle, 0);
});

test('variants of one photo at a time are kept', () => {
  store.addVariant('variants', photo, 'a', result());
  store.addVariant('differences', photo, 'b', result());
  assert.equal(store.state.analysis.variants.size, 1);
  store.addVariant('variants', { key: 'dog', name: 'dog' }, 'c', result());
  assert.deepEqual([...store.state.analysis.variants.keys()], ['c']);
  assert.equal(store.state.analysis.differences.size, 0);
});

test('what was painted is forgotten on another photo, and the server’s picture on another stroke', () => {
  store.beginPaint(photo, 2, 3);
  const image = /** @type {HTMLImageElement} */ (/** @type {unknown} */ ({}));
  store.painted({ before: result(), after: result(), covered: 0.5 }, image);
  store.setMask(Uint8Array.from([1, 0, 0, 0, 0, 0]));
  assert.equal(store.state.paint.image, null);
  assert.notEqual(store.state.paint.outcome, null);
  store.beginPaint({ key: 'dog', name: 'dog' }, 1, 1);
  assert.equal(store.state.paint.outcome, null);
});

test('guesses, unlikely words and replaced names are recognized', () => {
  assert.ok(isGuess(result({ unknown_words: ['unicorn'] })));
  assert.ok(!isGuess(result()));
  const words = [
    { text: 'a', log_prob: -0.1, raw: heatMap },
    { text: 'train', log_prob: -9, raw: heatMap },
  ];
  assert.deepEqual(
    unlikelyWords(result({ words })).map(({ text }) => text),
    ['train'],
  );
  assert.ok(isReplaced(result({ typed: 'cat' })));
  for (const typed of ['', 'Tabby', '281']) assert.ok(!isReplaced(result({ typed })), typed);
});

test('every code has its sentence', () => {
  assert.match(statusText({ code: 'uploading', share: 0.27 }), /20 %/);
  assert.match(problemText({ code: 'busy', waiting: 7 }), /7/);
  assert.equal(problemText({ code: 'server', text: 'No such class.' }), 'No such class.');
  assert.match(summary(result({ typed: 'cat', unknown_words: ['unicorn'] }), null), /unicorn.*cat.*tabby.*50 %/);
  assert.deepEqual(HEADINGS.why('tabby', ''), ['Why ', 'tabby', '?']);
});
