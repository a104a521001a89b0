// "Can I trust this map?": tests of it, each on request.

import { unpackMap } from '../../../gradcam_core/viewer/unpack.js';
import { $, button, make, onClick, saveFile } from '../dom.js';
import {
  dropText,
  fooledNote,
  fooledVerdict,
  occlusionNote,
  roadText,
  SANITY,
  SANITY_NOTE,
  TESTS,
  VERDICT_NOTE,
} from '../messages.js';
import { analysedResult, sanityCode } from '../selectors.js';
import { store } from '../store.js';
import { chart } from './chart.js';
import { boxOf } from './locate.js';
import {
  captioned,
  miniature,
  mountSection,
  renderProblem,
  renderStart,
  requestFor,
  startOrStop,
  work,
} from './section.js';

/** @import { Evaluation, Evaluations, HeatMap, Result, Test } from '../types.js' */

/** @typedef {{ start: HTMLButtonElement, problem: HTMLElement, outcome: HTMLElement, drawn: unknown[] }} TestParts */

/** @type {Record<Test, (result: Result, found: Evaluation) => Node[]>} */
const DRAW = { occlusion: drawOcclusion, curves: drawCurves, sanity: drawSanity, fool: drawFooled };
const CLASSES_ONLY = ['sanity', 'fool'];
const goal = make('input', { id: 'gc-goal', maxlength: 300, placeholder: 'the least likely class' });

export function mountEvaluate() {
  const tests = /** @type {Test[]} */ (Object.keys(DRAW)).map((test) => /** @type {const} */ ([test, newTest(test)]));
  onClick('.save-measurements button', () => {
    const result = analysedResult();
    if (result) saveFile(`metrics-${result.target}.json`, measurementsOf(result) ?? '');
  });
  mountSection('evaluate', (result) => {
    const found = store.state.analysis.evaluations.get(result.key) ?? {};
    for (const [test, parts] of tests) renderTest(test, parts, result, found);
    $('.save-measurements').hidden = !hasMeasurements(found);
  });
}

/**
 * @param {Test} test
 * @returns {TestParts}
 */
function newTest(test) {
  const { title, about } = TESTS[test];
  const start = button({ class: 'main', onclick: startOrStop(() => run(test)) });
  const problem = make('p', { class: 'section-problem', role: 'alert', hidden: true });
  const outcome = make('div', { class: 'outcome', 'aria-live': 'polite' });
  const label = make('label', { for: 'gc-goal' }, 'Make it say ');
  const controls = test === 'fool' ? make('div', { class: 'controls' }, label, goal, start) : start;
  const parts = [make('h3', {}, title), make('p', {}, about), controls, problem, outcome];
  $('.tests').append(make('section', { class: `test ${test}`, 'aria-label': title }, ...parts));
  return { start, problem, outcome, drawn: [] };
}

/** @param {Test} test */
async function run(test) {
  const result = /** @type {Result} */ (analysedResult());
  store.evaluated(result.key, test, null);
  await work(`test ${test}`, async (ask) => {
    const data = requestFor(result, { test, goal: (test === 'fool' && goal.value.trim()) || null });
    const reply = /** @type {Evaluation | null} */ (await ask('evaluate', data));
    if (reply) store.evaluated(result.key, test, reply);
  });
}

/** @param {Evaluations} found */
const hasMeasurements = (found) => Object.values(found).some(({ problem }) => !problem);

/**
 * @param {Test} test
 * @param {TestParts} parts
 * @param {Result} result
 * @param {Evaluations} found
 */
function renderTest(test, parts, result, found) {
  const { start, problem, outcome } = parts;
  const reply = found[test];
  const done = reply && !reply.problem ? reply : null;
  const section = /** @type {HTMLElement} */ (start.closest('section'));
  section.hidden = CLASSES_ONLY.includes(test) && result.task !== 'classification';
  renderStart(start, `test ${test}`, done ? 'Test again' : 'Test');
  start.classList.toggle('main', !done);
  renderProblem(problem, reply?.problem);
  const wanted = [done, store.state.look.colour];
  if (parts.drawn.length && wanted.every((each, i) => each === parts.drawn[i])) return;
  parts.drawn = wanted;
  outcome.replaceChildren(...(done ? DRAW[test](result, done) : []));
}

/** @param {...(Node | string)} parts */
const verdict = (...parts) => make('p', { class: 'verdict' }, ...parts);

/**
 * @param {Result} result
 * @param {Evaluation} found
 */
function drawOcclusion(result, { measurements }) {
  const { value, references, map } = measurements['occlusion-correlation'];
  const drops = miniature(result, dropMap(map ?? []), 'Where covering lowers the score');
  const own = miniature(result, result.raw, 'The map');
  return [
    make('div', { class: 'pairs' }, captioned('The map', own), captioned('How much covering costs', drops)),
    make('p', {}, make('b', {}, `Rank correlation ${value.toFixed(2)}`), occlusionNote(references.centre)),
  ];
}

/**
 * @param {number[][]} rows how much the score drops; drawn where it does
 * @returns {HeatMap}
 */
function dropMap(rows) {
  const values = rows.flat().map((drop) => Math.max(0, drop));
  const max = Math.max(...values);
  return { h: rows.length, w: rows[0].length, max, values: Float32Array.from(values, (drop) => drop / (max || 1)) };
}

/**
 * @param {Result} _
 * @param {Evaluation} found
 */
function drawCurves(_, { measurements, sentence, supports }) {
  const { 'average-drop': drop, road, deletion, insertion } = measurements;
  const [dropTitle, dropAbout] = dropText(drop.value, !!drop.references.increase);
  const [roadTitle, roadAbout] = roadText(road.value);
  const text = verdict(sentence);
  text.dataset.code = supports === null ? 'cannot_tell' : supports ? 'supports' : 'does_not';
  return [
    text,
    make('p', {}, VERDICT_NOTE),
    make(
      'div',
      { class: 'pairs' },
      chart('Turned grey', 'lower is better', 'share of the photo turned grey', deletion),
      chart('Brought back', 'higher is better', 'share of the photo brought back', insertion),
    ),
    make('p', {}, make('b', {}, dropTitle), dropAbout),
    make('p', {}, make('b', {}, roadTitle), roadAbout),
  ];
}

/**
 * @param {Result} result
 * @param {Evaluation} found
 */
function drawSanity(result, { steps }) {
  const code = sanityCode(steps);
  const text = verdict(SANITY[code]);
  text.dataset.code = code;
  const own = make(
    'figure',
    {},
    miniature(result, result.raw, 'The map itself', 160),
    make('figcaption', {}, 'as it is'),
  );
  const figures = steps.map(({ layer, correlation, map }) => {
    const label = `The map with all layers from the last down to ${layer} random`;
    const caption = make('figcaption', {}, `${layer}: ${correlation.toFixed(2)}`);
    return make('figure', {}, miniature(result, unpackMap(map), label, 160), caption);
  });
  const row = { class: 'strip', role: 'group', tabindex: 0, 'aria-label': 'The map as the network forgets' };
  return [text, make('div', row, own, ...figures), make('p', {}, SANITY_NOTE)];
}

/**
 * @param {Result} result
 * @param {Evaluation} found
 */
function drawFooled(result, found) {
  const {
    goal: other,
    fooled,
    radius,
    correlation,
    predictions: [now],
  } = found;
  const text = verdict(fooledVerdict(fooled, now.text, now.probability, found.found));
  text.dataset.code = fooled ? 'fooled' : 'not_fooled';
  const photo = (/** @type {string} */ title, /** @type {string} */ url) =>
    captioned(title, make('img', { src: url, alt: title }));
  const map = (/** @type {string} */ title, /** @type {HeatMap} */ raw, /** @type {string} */ target) =>
    captioned(title, miniature(result, raw, `The map for ${target}: ${title}`));
  const { target } = result;
  const note = fooledNote({ target, before: result.probability, after: found.probability, radius });
  return [
    text,
    make(
      'div',
      { class: 'pairs' },
      photo('The changed photo', found.picture.url),
      photo(`The change, ${Math.round(127.5 / radius)} times as strong`, found.change.url),
    ),
    make(
      'div',
      { class: 'pairs' },
      map(`“${target}” before`, result.raw, target),
      map(`“${target}” after`, unpackMap(found.after), target),
      map(`“${other}” after`, unpackMap(found.other), other),
    ),
    make('p', {}, make('b', {}, `Rank correlation ${correlation.toFixed(2)}`), note),
  ];
}

/**
 * What was measured of a result, as JSON; null if nothing was.
 * @param {Result} result
 */
export function measurementsOf(result) {
  const found = store.state.analysis.evaluations.get(result.key) ?? {};
  if (!hasMeasurements(found)) return null;
  const { occlusion, curves, sanity, fool } = found;
  const { task, model, layer, method, question, target, score, probability } = result;
  const content = {
    ...{ picture: result.photo.name, task, model, layer, method, question, target, score, probability },
    measurements: { ...occlusion?.measurements, ...curves?.measurements },
    verdict: curves?.sentence ?? null,
    supports: curves?.supports ?? null,
    sanity: sanity?.steps?.map(({ layer: step, correlation }) => ({ layer: step, correlation })) ?? [],
    fooled: fool && !fool.problem ? fooledNumbers(fool) : null,
    box: boxOf(result),
  };
  return JSON.stringify(content, null, 1);
}

/** @param {Evaluation} fool */
const fooledNumbers = ({ goal: other, fooled, correlation, found }) => ({ goal: other, fooled, correlation, found });
