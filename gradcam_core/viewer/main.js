// An interactive page: draws the explanations that it holds. It shares what it can with the demo's page.

import { arrowKeys, button, loadImage, make, refill } from './dom.js';
import { draw, drawScale, fit, resize, sizeOf } from './draw.js';
import { chance, percent } from './format.js';
import { addHandle, placeHandle } from './handle.js';
import {
  CLICK_FRAMED,
  difference,
  firstChoiceScale,
  HEADINGS,
  headingOf,
  littleCounterevidence,
  noCounterevidence,
  PREDICTIONS,
  summaryOf,
  technical,
  VIEWS,
  WEAK,
} from './messages.js';
import { isFaint, ownMax } from './scale.js';
import { bytes, unpackExplanation } from './unpack.js';

/** @import { Explained, HeatMap, InteractivePage, Style, View } from './types.js' */

const SIDE = 768; // pixels of the large picture
/** What explanations of one list have in common; what says most comes first. */
const SAME = /** @type {const} */ (['picture', 'task', 'question', 'method', 'model', 'detail', 'layer']);

const $ = (/** @type {string} */ selector) => /** @type {HTMLElement} */ (document.querySelector(selector));

/** @type {InteractivePage} */
const page = JSON.parse($('#gradcam-data').textContent);
const images = await Promise.all(page.pictures.map(loadImage));
/** @type {Explained[]} */
const explanations = await Promise.all(
  page.explanations.map(async (packed) => ({
    ...(await unpackExplanation(packed)),
    photo: { image: images[packed.picture] },
  })),
);
/** @type {Map<string, Explained[]>} */
const lists = new Map();
for (const each of explanations) lists.set(listOf(each), [...(lists.get(listOf(each)) ?? []), each]);
const tables = Object.fromEntries(Object.entries(page.colours).map(([name, table]) => [name, bytes(table)]));

let shown = explanations[0];
/** @type {number | null} */
let word = null;
/** @type {View} */
let view = 'grad-cam';
let { colour, opacity } = page;
let from = 0;

const frame = $('.frame');
const canvas = /** @type {HTMLCanvasElement} */ ($('.frame canvas'));
const handle = addHandle(frame, (to) => {
  from = Math.max(0, Math.min(1, to(from)));
  renderPicture();
});
const bars = ['.lists', '.views', '.words [role=toolbar]'].map((selector) => arrowKeys($(selector)));

/** @param {Explained} explained */
function listOf(explained) {
  return JSON.stringify(SAME.map((name) => explained[name]));
}

/** @param {Explained} next */
function show(next) {
  shown = next;
  word = null;
  if (!viewsOf().includes(view)) view = 'grad-cam';
  render();
}

/** @param {number | null} next */
function chooseWord(next) {
  word = next;
  if (word != null && view !== 'spotlight') view = 'grad-cam';
  render();
}

/** @returns {View[]} */
const viewsOf = () => [
  'grad-cam',
  .../** @type {View[]} */ (shown.gradient ? ['guided', 'guided-grad-cam'] : []),
  .../** @type {View[]} */ (['counterfactual', 'spotlight']),
];

/** @param {View} each */
const titleOf = (each) => (each === 'grad-cam' && shown.method !== 'grad-cam' ? shown.method_title : VIEWS[each][0]);

/**
 * @param {View} ofView
 * @param {number | null} ofWord
 * @returns {Style}
 */
function styleOf(ofView, ofWord) {
  const map = mapOf(ofView, ofWord);
  return { view: ofView, map, table: tables[colour], opacity, gain: map.max / topOf(map) || 0 };
}

/**
 * @param {View} ofView
 * @param {number | null} ofWord
 * @returns {HeatMap}
 */
function mapOf(ofView, ofWord) {
  if (ofView === 'counterfactual') return shown.raw_counterfactual;
  return ofWord == null ? shown.raw : shown.words[ofWord].raw;
}

/** @param {HeatMap} map of what is shown */
const topOf = (map) => ownMax(shown, map, page.faint_below);

function render() {
  renderHeading();
  renderPicture();
  renderViews();
  renderLists();
  renderWords();
  renderPredictions();
  for (const markStop of bars) markStop();
}

function renderHeading() {
  const { target, question, words } = shown;
  const code = headingOf(shown, word);
  const strong = (/** @type {string} */ text) => make('strong', {}, text);
  const name = word != null ? `“${words[word].text}”` : words.length ? `“${target}”` : target;
  const parts = HEADINGS[code](strong(name), word == null ? '' : `“${target}”`);
  $('h1').replaceChildren(question == null ? '' : `“${question}” `, ...parts);
  document.title = $('h1').textContent;
  $('.summary').textContent = summaryOf(shown, word);
  $('.technical').textContent = technical(shown);
  Object.assign($('.result-heading').dataset, { heading: code, target });
}

function renderPicture() {
  const { image } = shown.photo;
  const [width, height] = sizeOf(image);
  fit(canvas, image, SIDE);
  frame.style.setProperty('--ratio', String(width / height));
  draw(canvas, shown, styleOf(view, word), from);
  const what = word == null ? shown.target : shown.words[word].text;
  canvas.setAttribute('aria-label', `${titleOf(view).replace('\u00ad', '')} for ${what}`);
  placeHandle(handle, from);
  const map = mapOf(view, word);
  const coloured = view === 'grad-cam' || view === 'counterfactual';
  $('.scale').hidden = $('.opacity').hidden = $('.colours').hidden = !coloured;
  $('.scale .high').textContent = map.max ? topOf(map).toPrecision(2) : 'none';
  $('.about-scale').textContent = isFaint(shown, map, page.faint_below) ? firstChoiceScale(shown, map) : '';
  drawScale(/** @type {HTMLCanvasElement} */ ($('.scale canvas')), tables[colour]);
}

function aboutView() {
  const map = mapOf(view, word);
  const faint = isFaint(shown, map, page.faint_below);
  if (view === 'counterfactual' && !map.max) return noCounterevidence(shown.target);
  if (view === 'counterfactual' && faint) return littleCounterevidence(shown.target);
  const about = view === 'grad-cam' && shown.method !== 'grad-cam' ? '' : VIEWS[view][1];
  return faint && (view === 'guided-grad-cam' || view === 'spotlight') ? `${about} ${WEAK}` : about;
}

function renderViews() {
  $('.about-view').textContent = aboutView();
  refill(
    $('.views'),
    ...viewsOf().map((each) =>
      button(
        {
          'data-view': each,
          'aria-pressed': each === view,
          disabled: word != null && each !== 'grad-cam' && each !== 'spotlight',
          onclick: () => {
            view = each;
            render();
          },
        },
        miniature(120, each, word),
        make('span', {}, titleOf(each)),
      ),
    ),
  );
}

/**
 * @param {number} side
 * @param {View} ofView
 * @param {number | null} ofWord
 */
function miniature(side, ofView, ofWord) {
  const [w, h] = sizeOf(shown.photo.image);
  const width = w >= h ? side : (side * w) / h;
  const small = resize(make('canvas', { 'aria-hidden': true }), width, (width * h) / w);
  draw(small, shown, styleOf(ofView, ofWord));
  return small;
}

/** Several lists: their names say what tells them apart. */
function renderLists() {
  const all = [...lists.values()];
  $('.lists').hidden = all.length < 2;
  let names = /** @type {(typeof SAME)[number][]} */ ([...SAME]);
  for (const name of SAME.toReversed()) {
    const without = names.filter((each) => each !== name);
    const told = new Set(all.map(([first]) => JSON.stringify(without.map((each) => first[each]))));
    if (told.size === all.length) names = without;
  }
  refill(
    $('.lists'),
    ...all.map((list) => {
      const next = list.find(({ target }) => target === shown.target) ?? list[0];
      const parts = names.map((name) => difference(next, name));
      const attributes = { 'aria-pressed': list.includes(shown), onclick: () => show(next) };
      return button(attributes, parts.filter(Boolean).join(', '));
    }),
  );
}

function renderWords() {
  const { words, score } = shown;
  $('.words').hidden = !words.length;
  refill(
    $('.words [role=toolbar]'),
    ...(words.length
      ? [null, ...words.keys()].map((i) => wordButton(i, i == null ? { text: 'all', log_prob: score } : words[i]))
      : []),
  );
}

/**
 * @param {number | null} index
 * @param {{ text: string, log_prob: number }} of
 */
const wordButton = (index, { text, log_prob }) =>
  button(
    { 'aria-pressed': word === index, onclick: () => chooseWord(index) },
    ...[miniature(128, 'grad-cam', index), make('span', { class: 'name' }, text), ' '],
    make('span', { class: 'value' }, chance(Math.exp(log_prob))),
  );

/** What the network says, and what else was explained; what was explained is a button. */
function renderPredictions() {
  const list = lists.get(listOf(shown)) ?? [];
  const said = shown.predictions.map((each) => ({
    ...each,
    explained: list.find(({ target }) => target === each.text),
  }));
  const others = list.filter((each) => !said.some(({ explained }) => explained === each));
  const rows = [
    ...said.map(({ text, probability, explained }) => row(text, probabilityText(probability), probability, explained)),
    ...others.map((each) => row(each.target, valueText(each), each.probability, each)),
  ];
  const hint = list.length > 1 && make('small', {}, CLICK_FRAMED);
  $('.predictions h2').replaceChildren(`${PREDICTIONS[shown.task]} `, hint || '');
  refill($('.predictions ol'), ...rows);
}

/** @param {number} probability of a caption it is tiny */
const probabilityText = (probability) => (shown.task === 'captioning' ? chance(probability) : percent(probability));

/** @param {Explained} explained */
const valueText = ({ probability, score }) => (probability == null ? score.toFixed(2) : probabilityText(probability));

/**
 * @param {string} text
 * @param {string} value
 * @param {number | null} probability
 * @param {Explained | undefined} explained
 */
function row(text, value, probability, explained) {
  const bar = make('span', { class: 'bar' });
  bar.style.width = `${shown.task === 'captioning' ? 0 : 100 * (probability ?? 0)}%`;
  const parts = [make('span', { class: 'name' }, text), make('span', { class: 'value' }, value), bar];
  const attributes = { class: 'pick', 'data-text': text };
  if (!explained) return make('li', {}, make('div', attributes, ...parts));
  const onclick = () => show(explained);
  return make('li', {}, button({ ...attributes, 'aria-pressed': explained === shown, onclick }, ...parts));
}

/** The system's theme, also while the page is open. */
function followTheme() {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const follow = () => document.body.classList.toggle('dark', dark.matches);
  dark.addEventListener('change', follow);
  follow();
}

function mount() {
  followTheme();
  const select = /** @type {HTMLSelectElement} */ ($('.colours select'));
  select.append(...Object.keys(tables).map((name) => make('option', { value: name, selected: name === colour }, name)));
  select.addEventListener('change', () => {
    colour = select.value;
    render();
  });
  const range = /** @type {HTMLInputElement} */ ($('.opacity input'));
  range.value = String(opacity);
  range.addEventListener('input', () => {
    opacity = Number(range.value);
    render();
  });
  render();
}

mount();
