// Maps by all methods, and at all layers, in a row.

import { sizeOf } from '../../../gradcam_core/viewer/draw.js';
import { sameMap } from '../../../gradcam_core/viewer/maps.js';
import { $, button, focusHeading, make, scrollToHeading } from '../dom.js';
import { explain, laneFor, unpack } from '../explain.js';
import { significant } from '../format.js';
import { problemText, SAME_AT_ALL_LAYERS, STRIPS } from '../messages.js';
import { analysedResult, ownMax } from '../selectors.js';
import { isLost } from '../server.js';
import { store } from '../store.js';
import { miniature, mountSection, renderStart, requestFor, startOrStop, work } from './section.js';

/** @import { Evaluation, Explained, Problem, Result } from '../types.js' */
/** @import { Ask } from './section.js' */

/** @typedef {{ method?: string, layer?: string }} Change */
/** @typedef {{ change: Change, title: string, small: string, slow: boolean, current: boolean }} Variant */
/** @typedef {Variant & { key: string, result: Result | null, problem: Problem | null }} Found */
/** @typedef {ReturnType<typeof newStrip>} Strip */
/** @typedef {{ name: 'methods' | 'layers', variants: (result: Result) => Variant[] }} Kind */

/** @type {Kind[]} */
const KINDS = [
  {
    name: 'methods',
    variants: (result) =>
      store.facts.methods
        .filter(({ name }) => !result.methods[name])
        .map(({ name, title, paper, slow }) => ({
          ...{ change: { method: name }, title, small: paper, slow, current: name === result.method },
        })),
  },
  {
    name: 'layers',
    variants: (result) =>
      Object.entries(result.layers).map(([layer, size]) => ({
        ...{ change: { layer }, title: layer, small: `${size} cells`, slow: false, current: layer === result.layer },
      })),
  },
];

export function mountCompare() {
  const strips = KINDS.map((kind) => /** @type {const} */ ([kind, newStrip(kind)]));
  mountSection('compare', (result) => {
    for (const [kind, strip] of strips) renderStrip(kind, strip, result);
  });
}

/** @param {Kind} kind */
function newStrip(kind) {
  const { name } = kind;
  const { title, about, label } = STRIPS[name];
  const start = button({ class: 'main', onclick: startOrStop(() => drawStrip(kind)) }, label);
  const measure = button({ onclick: startOrStop(() => measureStrip(kind)) });
  const same = make('p', { class: 'same', hidden: true }, SAME_AT_ALL_LAYERS);
  const row = make('div', { class: 'strip', role: 'group', 'aria-label': title });
  const skipped = make('details', { class: 'skipped', hidden: true }, make('summary'), make('ul'));
  const controls = make('div', { class: 'controls' }, start, measure);
  const parts = [make('h3', {}, title), make('p', {}, about), controls, same, row, skipped];
  $('.strips').append(make('section', { class: name, 'aria-label': title }, ...parts));
  return { start, measure, same, row, skipped };
}

/**
 * @param {Result} result
 * @param {Change} change
 */
const variantKey = ({ photo, task, model, question, target, ...own }, { method = own.method, layer = own.layer }) =>
  JSON.stringify([photo.key, task, model, question, target, method, layer]);

/**
 * @param {Result} result
 * @param {string} key
 * @returns {Explained | undefined}
 */
function variant(result, key) {
  const { analysis, history } = store.state;
  const own = analysis.photo === result.photo ? analysis.variants.get(key) : undefined;
  return own ?? [result, ...history].find((each) => each.photo === result.photo && variantKey(each, {}) === key);
}

/**
 * @param {Result} result
 * @param {string} key
 */
function measurement(result, key) {
  const { analysis } = store.state;
  return analysis.photo === result.photo ? analysis.measurements.get(key) : undefined;
}

/**
 * @param {Kind} kind
 * @param {Result} result
 * @returns {Found[]}
 */
function foundOf(kind, result) {
  return kind.variants(result).map((each) => {
    const key = variantKey(result, each.change);
    const known = variant(result, key);
    const problem = known && 'problem' in known ? known.problem : null;
    return { ...each, key, result: known && !('problem' in known) ? known : null, problem };
  });
}

/** @param {Found} found */
const isOpen = ({ result, problem }) => !result && (!problem || isLost(problem));
/**
 * @param {Result} result
 * @param {Found} found
 */
const isUnmeasured = (result, { key }) => {
  const known = measurement(result, key);
  return !known || isLost(known.problem);
};

/**
 * @param {Kind} kind
 * @param {string} [only] the title of one
 */
function drawStrip(kind, only) {
  const result = /** @type {Result} */ (analysedResult());
  const wanted = foundOf(kind, result).filter((each) => isOpen(each) && (only ? each.title === only : !each.slow));
  return work(only ? `${kind.name} ${only}` : kind.name, async (ask) => {
    for (const each of wanted) await drawOne(ask, result, each);
  });
}

/**
 * @param {Ask} ask
 * @param {Result} result
 * @param {Found} found
 */
async function drawOne(ask, result, { key, change }) {
  const reply = await ask(laneFor('compare', change.method ?? result.method), requestFor(result, change));
  if (!reply) return;
  const explained = reply.answer
    ? await unpack(reply.answer, result.photo)
    : { problem: /** @type {Problem} */ (reply.problem) };
  store.addVariant('variants', result.photo, key, explained);
}

/** @param {Kind} kind */
function measureStrip(kind) {
  const result = /** @type {Result} */ (analysedResult());
  const wanted = foundOf(kind, result).filter((each) => each.result && isUnmeasured(result, each));
  return work(`measure ${kind.name}`, async (ask) => {
    for (const { key, change } of wanted) {
      const reply = await ask('evaluate', requestFor(result, { ...change, test: 'figures' }));
      if (reply) store.addVariant('measurements', result.photo, key, /** @type {Evaluation} */ (reply));
    }
  });
}

/**
 * @param {Kind} kind
 * @param {Strip} strip
 * @param {Result} result
 */
function renderStrip(kind, { start, measure, same, row, skipped }, result) {
  const found = foundOf(kind, result);
  const drawn = found.filter((each) => each.result);
  renderStart(
    start,
    kind.name,
    STRIPS[kind.name].label,
    found.some((each) => isOpen(each) && !each.slow),
  );
  renderStart(
    measure,
    `measure ${kind.name}`,
    'Measure each',
    drawn.some((each) => isUnmeasured(result, each)),
  );
  measure.hidden = drawn.length < 2;
  const active = /** @type {HTMLElement} */ (document.activeElement);
  const focused = row.contains(active) ? active.dataset.title : null;
  const shown = found.filter((each) => each.result || (each.slow && isOpen(each)));
  row.replaceChildren(...shown.map((each) => tile(kind, result, each)));
  if (focused)
    [...row.querySelectorAll('button')].find((each) => each.dataset.title === focused)?.focus({ preventScroll: true });
  renderSkipped(skipped, found);
  const maps = drawn.flatMap((each) => each.result?.raw ?? []);
  same.hidden = kind.name !== 'layers' || maps.length < 2 || !maps.every((map) => sameMap(map, maps[0]));
}

/**
 * @param {HTMLElement} box
 * @param {Found[]} found
 */
function renderSkipped(box, found) {
  const skipped = found.filter(({ problem }) => problem);
  box.hidden = !skipped.length;
  $(`.${box.closest('section')?.className} .skipped summary`).textContent =
    `Not drawn: ${skipped.map(({ title }) => title).join(', ')}`;
  const reasons = new Set(skipped.map(({ problem }) => problem && problemText(problem)));
  box.lastElementChild?.replaceChildren(...[...reasons].map((reason) => make('li', {}, reason)));
}

/** Long names of layers break between their parts. @param {string} name */
const breakable = (name) => name.split(/(?<=[._])/).flatMap((part) => [part, make('wbr')]);

/**
 * @param {Kind} kind
 * @param {Result} result
 * @param {Found} found
 */
function tile(kind, result, found) {
  const { title, small, current, key, result: other } = found;
  const picture = other ? drawnTile(result, found) : undrawnTile(kind, result, title);
  const caption = make('figcaption', {}, ...breakable(title), make('small', {}, small));
  const measured = measurement(result, key);
  const problem = measured?.problem && make('p', { class: 'section-problem' }, problemText(measured.problem));
  return make(
    'figure',
    { class: current ? 'current' : '' },
    picture,
    caption,
    measured && (problem ?? measurementList(measured)),
    other && !other.raw.max && make('p', {}, 'empty: no evidence'),
  );
}

/**
 * @param {Result} result
 * @param {Found} found
 */
function drawnTile(result, { title, change, current, result: other }) {
  const gain = other ? other.raw.max / ownMax(other, other.raw) || 0 : 0; // faint is pale, as when it is large
  const picture = other && miniature(result, other.raw, `${title} for ${result.target}`, 220, gain);
  const onclick = () => choose(result, change);
  const pressed = { 'aria-pressed': current, title: 'Show it large' };
  return button({ class: 'pick-map', 'data-title': title, ...pressed, onclick }, picture);
}

/**
 * @param {Kind} kind
 * @param {Result} result
 * @param {string} title
 */
function undrawnTile(kind, result, title) {
  const start = button({ 'data-title': title, onclick: startOrStop(() => drawStrip(kind, title)) });
  renderStart(start, `${kind.name} ${title}`, 'Draw it: slow');
  const [w, h] = sizeOf(result.photo.image);
  return make('div', { class: 'placeholder', style: `--ratio: ${w / h}` }, start);
}

/** @type {Record<string, string>} */
const SHORT = { 'occlusion-correlation': 'covering', deletion: 'greyed', insertion: 'brought back' };

/** @param {Evaluation} evaluation */
function measurementList({ measurements }) {
  const rows = Object.entries(measurements).map(([name, { title, value, better }]) => {
    const number = make('b', {}, significant(value));
    return make(
      'li',
      { title: `${title}; ${better} is better` },
      `${SHORT[name]} `,
      number,
      better === 'higher' ? '\u00a0↑' : '\u00a0↓',
    );
  });
  return make('ul', { class: 'legend' }, ...rows);
}

/**
 * @param {Result} result
 * @param {Change} change
 */
function choose(result, change) {
  store.choose(change);
  focusHeading();
  scrollToHeading();
  explain({ again: result.target });
}
