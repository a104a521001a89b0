// Several photos at once: a grid of maps.

import { contextOf, copyOf, draw, fit } from '../../../gradcam_core/viewer/draw.js';
import { $, arrowKeys, button, fillSelect, focusHeading, loadImage, make, refill, saveFile } from '../dom.js';
import { explain } from '../explain.js';
import { problemText, TASK_TEXTS } from '../messages.js';
import { colourTable, isGuess, ownMax } from '../selectors.js';
import { writeAddress } from '../session.js';
import { store } from '../store.js';
import { saveInteractive } from '../views/interactive.js';
import * as arrange from './arrange.js';
import { meanMap } from './mean.js';
import * as messages from './messages.js';
import { follow, goOn, pause, run, take } from './run.js';
import { table } from './table.js';

/** @import { Asked, HeatMap, Photo, Result, Tile } from '../types.js' */

const SAVED_SIDE = 512; // pixels of each photo in an interactive page
const GROUND = 240; // pixels of the mean map

const section = $('.several');
const heading = make('h2', { tabindex: -1 });
const progress = make('p', { class: 'several-progress', role: 'status' });
const bar = make('progress', { 'aria-label': 'Photos explained' });
const halt = button({ class: 'halt', onclick: () => (store.state.several.working ? pause() : goOn()) });
const left = make('p', { class: 'left-out' });
const problem = make('div', { class: 'problem', role: 'alert' }, make('p'), make('div', { class: 'suggestions' }));
const question = make('input', { id: 'gc-several-question', maxlength: 300 });
const target = make('input', { id: 'gc-several-target', maxlength: 300, list: 'gc-several-names' });
const names = make('datalist', { id: 'gc-several-names' });
const firsts = button({ class: 'first-choices', onclick: () => askFor('') }, 'First choices');
const grid = make('div', { class: 'grid', role: 'toolbar', 'aria-label': 'Photos' });
const ground = make('canvas', { width: GROUND, height: GROUND, role: 'img', 'aria-label': 'The mean map' });
const meanCaption = make('figcaption');
const mean = make('figure', { class: 'mean' }, ground, meanCaption);
const takeAlong = make(
  'div',
  { class: 'several-downloads', role: 'group', 'aria-label': 'Download' },
  button({ class: 'save-table', onclick: saveTable }, 'Table (CSV)'),
  button({ class: 'save-several', onclick: savePage }, 'Interactive page (HTML)'),
);
const markStop = arrowKeys(grid);
let mounted = false;

/** @param {File[]} files */
export async function add(files) {
  await take(files);
  mount();
  show();
}

export function comeBack() {
  const key = store.state.photo?.key;
  store.changeSeveral({ open: true });
  show();
  const tile = [...grid.querySelectorAll('button')].find(({ dataset }) => dataset.name === key);
  tile?.focus();
}

function show() {
  if (!history.state?.several) history.pushState({ ...history.state, several: true }, '');
  follow();
  store.render();
  run();
  heading.focus({ preventScroll: true });
  section.scrollIntoView({ block: 'nearest' });
}

/** Return to the photo that was there before. */
function close() {
  store.changeSeveral({ open: false });
  store.render();
  const { shown, status } = store.current;
  if (shown?.photo !== store.state.photo && !status) explain();
  focusHeading();
}

function mount() {
  if (mounted) return;
  mounted = true;
  const closing = button({ class: 'close', 'aria-label': 'Close', title: 'Back to one photo', onclick: close }, '×');
  const form = make(
    'form',
    { class: 'several-query', autocomplete: 'off', onsubmit: submit },
    make('div', { class: 'field question' }, make('label', { for: question.id }, 'Question'), question),
    make('div', { class: 'field target' }, make('label', { for: target.id }), target, names),
    make('button', { class: 'main' }, 'Explain in all'),
    firsts,
  );
  const choices = make('div', { class: 'several-choices' }, select('sort', 'Order'), select('only', 'Show'), takeAlong);
  section.replaceChildren(
    make('div', { class: 'several-head' }, heading, closing),
    make('div', { class: 'several-work' }, progress, bar, halt),
    ...[left, problem, form, choices, grid, mean],
  );
  store.subscribe(['several', 'tab', 'look', 'tasks'], () => {
    if (!store.state.several.open) return;
    follow();
    render();
    run();
  });
}

/**
 * @param {'sort' | 'only'} name
 * @param {string} text
 */
function select(name, text) {
  const field = make('select', { id: `gc-several-${name}`, class: `several-${name}` });
  field.addEventListener('change', () => store.changeSeveral({ [name]: field.value }));
  return make('label', { for: field.id }, text, ' ', field);
}

/** @param {Event} event */
function submit(event) {
  event.preventDefault();
  const { tab } = store.state;
  const asked = question.value.trim();
  const wanted = target.value.trim();
  // The answer to the previous question may not fit this one.
  const another = tab === 'vqa' && asked !== store.current.question && wanted === store.state.several.targets.vqa;
  if (tab === 'vqa' && asked) store.choose({ question: asked });
  askFor(another ? '' : wanted);
}

/** @param {string} wanted empty: the first choice of each */
function askFor(wanted) {
  const { several, tab } = store.state;
  target.value = wanted;
  store.changeSeveral({ targets: { ...several.targets, [tab]: wanted } });
}

function render() {
  const { several } = store.state;
  const tiles = arrange.tilesOf(several);
  const asked = /** @type {Asked} */ (several.asked);
  const done = tiles.filter(({ found }) => found).length;
  const [guesses, failures] = [arrange.unsure(tiles).length, arrange.failed(tiles).length];
  heading.textContent = messages.heading(tiles.length, asked.target, asked.question);
  Object.assign(section.dataset, {
    done,
    count: tiles.length,
    guesses,
    failures,
    task: asked.task,
    target: asked.target,
  });
  setText(progress, messages.progressText(done, tiles.length, guesses, failures));
  Object.assign(bar, { max: tiles.length || 1, value: done });
  bar.hidden = done === tiles.length;
  halt.hidden = done === tiles.length && !failures;
  halt.textContent = several.working ? 'Stop' : done === tiles.length ? 'Try those again' : 'Continue';
  renderProblem();
  renderForm(tiles, asked);
  const shown = arrange.arranged(tiles, several.sort, several.only);
  refill(grid, ...shown.map(tileOf));
  markStop();
  renderMean(shown);
  for (const each of takeAlong.querySelectorAll('button')) each.disabled = !tiles.some(arrange.resultOf);
}

/**
 * Only if it has changed: a screen reader reads it out each time that it is set.
 * @param {HTMLElement} box
 * @param {string} text
 */
function setText(box, text) {
  if (box.textContent !== text) box.textContent = text;
}

function renderProblem() {
  const { left: code, problem: found, suggestions } = store.state.several;
  left.hidden = !code;
  left.dataset.code = code?.code ?? '';
  setText(left, code ? messages.leftText(code) : '');
  problem.hidden = !found;
  problem.dataset.code = found?.code ?? '';
  setText(/** @type {HTMLElement} */ (problem.firstChild), found ? problemText(found) : '');
  const ways = suggestions.map((name) => button({ 'data-name': name, onclick: () => askFor(name) }, name));
  refill(/** @type {HTMLElement} */ (problem.lastChild), ways.length ? 'Did you mean ' : '', ...ways);
}

/**
 * @param {Tile[]} tiles
 * @param {Asked} asked
 */
function renderForm(tiles, asked) {
  const { sort, only } = store.state.several;
  $('.several .question').hidden = asked.task !== 'vqa';
  $('.several .target label').textContent = TASK_TEXTS[asked.task].target;
  target.placeholder = 'First choice';
  if (document.activeElement !== question) question.value = asked.question ?? '';
  if (document.activeElement !== target) target.value = asked.target;
  firsts.hidden = !asked.target;
  const choices = arrange.firstChoices(tiles);
  names.replaceChildren(...choices.map(([name]) => make('option', { value: name })));
  const [guesses, failures] = [arrange.unsure(tiles).length, arrange.failed(tiles).length];
  fillSelect('.several-sort', Object.entries(messages.SORTS), sort);
  fillSelect(
    '.several-only',
    [
      ['', `All (${tiles.length})`],
      .../** @type {[string, string][]} */ (guesses ? [[arrange.UNSURE, `Not sure (${guesses})`]] : []),
      .../** @type {[string, string][]} */ (failures ? [[arrange.FAILED, `Not explained (${failures})`]] : []),
      ...choices.map(([name, count]) => /** @type {[string, string]} */ ([arrange.named(name), `${name} (${count})`])),
    ],
    only,
  );
}

// ---- The grid ----

/** @param {Tile} tile */
function tileOf(tile) {
  const { photo, found } = tile;
  const [result, failure] = [arrange.resultOf(tile), arrange.problemOf(tile)];
  const working = store.state.several.working === photo && !found;
  const state = result ? 'explained' : failure ? 'failed' : working ? 'working' : 'waiting';
  const file = make('small', { class: 'file', title: photo.name }, photo.name);
  const data = { class: 'tile', 'data-state': state, 'data-photo': photo.name, 'data-code': failure?.code };
  if (result) return make('div', data, openButton(photo, result, file), inAllButton(result));
  const text = failure ? problemText(failure) : working ? messages.EXPLAINING : messages.WAITING;
  return make('div', data, pictureIn(photo, null), make('span', { class: 'tile-text' }, text), file);
}

/**
 * @param {Photo} photo
 * @param {Result} result
 * @param {HTMLElement} file
 */
function openButton(photo, result, file) {
  const first = arrange.firstChoice(result);
  const other = first.text !== result.target;
  const remark = messages.remark(result);
  return button(
    {
      class: 'open',
      'data-name': photo.key,
      'data-target': result.target,
      'data-guess': isGuess(result),
      onclick: () => open(photo, result),
    },
    pictureIn(photo, result),
    make('span', { class: 'name' }, result.target),
    make('span', { class: 'value' }, messages.likelihood(result)),
    other && make('small', { class: 'first' }, `First choice: ${first.text}`),
    remark && make('small', { class: 'remark' }, remark),
    file,
  );
}

/**
 * A way to the maps of one photo's first choice in all photos.
 * @param {Result} result
 */
function inAllButton(result) {
  const { text } = arrange.firstChoice(result);
  const attributes = { class: 'in-all', title: messages.IN_ALL[result.task], onclick: () => askFor(text) };
  return text !== store.state.several.asked?.target && button(attributes, messages.inAll(text));
}

/** @type {WeakMap<Photo, HTMLCanvasElement>} */
const canvases = new WeakMap();

/**
 * @param {Photo} photo
 * @param {Result | null} result
 */
function pictureIn(photo, result) {
  const box = make('span', { class: 'tile-picture' });
  if (!photo.image) return box;
  const canvas = canvases.get(photo) ?? fit(make('canvas', { 'aria-hidden': true }), photo.image, 1e4);
  canvases.set(photo, canvas);
  if (result) draw(canvas, result, styleOf(result.raw, result.raw.max / ownMax(result, result.raw) || 0));
  else contextOf(canvas).drawImage(photo.image, 0, 0);
  box.append(canvas);
  return box;
}

/**
 * @param {HeatMap} map
 * @param {number} gain
 */
const styleOf = (map, gain) =>
  /** @type {const} */ ({ view: 'grad-cam', map, table: colourTable(), opacity: store.state.look.opacity, gain });

/** @param {Tile[]} tiles */
function renderMean(tiles) {
  const results = tiles.map(arrange.resultOf).filter((each) => each !== null);
  mean.hidden = !results.length;
  if (mean.hidden) return;
  const map = meanMap(results, store.facts.faint_below);
  mean.dataset.count = String(results.length);
  mean.dataset.max = String(map.max);
  const image = make('canvas', { width: GROUND, height: GROUND });
  const context = contextOf(image);
  context.fillStyle = 'rgb(128 128 128)';
  context.fillRect(0, 0, GROUND, GROUND);
  draw(ground, { photo: { image }, box: [0, 0, 1, 1], gradient: null }, styleOf(map, map.max));
  meanCaption.textContent = messages.meanText(results.length, map.max);
}

/** As the server sent it. @param {Photo} photo */
const imageOf = ({ kept }) => loadImage(/** @type {string} */ (kept));

/**
 * Open a photo in the usual view.
 * @param {Photo} photo
 * @param {Result} result
 */
async function open(photo, result) {
  const before = store.state.history.find((each) => each.photo.key === photo.key)?.photo;
  const opened = before ?? { ...photo, image: await imageOf(photo) };
  const shown = { ...result, photo: opened };
  store.returnTo(shown);
  store.explained(shown.task, shown, false);
  writeAddress(shown);
  store.render();
  focusHeading();
  section.parentElement?.scrollIntoView({ block: 'nearest' });
}

// ---- Downloads ----

/** All photos, in the order in which they are shown. */
const everything = () => arrange.arranged(arrange.tilesOf(store.state.several), store.state.several.sort, '');

function saveTable() {
  const asked = /** @type {Asked} */ (store.state.several.asked);
  saveFile('grad-cam-photos.csv', table(everything(), asked, problemText), 'text/csv');
}

async function savePage() {
  const results = [];
  for (const tile of everything()) {
    const result = arrange.resultOf(tile);
    if (!result) continue;
    const photo = { ...result.photo, image: copyOf(await imageOf(tile.photo), SAVED_SIDE) };
    results.push({ ...result, photo });
  }
  const saved = await saveInteractive(results, 'photos');
  store.changeSeveral({ problem: saved ? null : { code: 'lost' } });
}
