// "How was this map made?": Figure 2 of the paper with the numbers of this photo, step by step.

import { $, arrowKeys, button, make } from '../dom.js';
import { ask, explain } from '../explain.js';
import { problemText } from '../messages.js';
import { analysedResult, methodInfo } from '../selectors.js';
import { store } from '../store.js';
import { relu, shareOf, stopsOf, strongest, sumOf, unpackChannels } from './channels.js';
import { drawCells, drawChannel, drawMap, drawSum, LEGEND } from './draw.js';
import * as messages from './messages.js';

/** @import { PackedChannels, Problem, Result } from '../types.js' */
/** @import { Channel, Contributions } from './channels.js' */
/** @import { MadeStep } from './messages.js' */

const STEPS = /** @type {MadeStep[]} */ (Object.keys(messages.MADE_STEPS));
const MOST = 6; // channels on each side
const SMALL = 132; // pixels of a channel
const KEPT = 12; // maps whose channels are kept
const FIRST = 10; // channels that are added up at first
const PAUSE = 90; // milliseconds between two stops of the slider

const section = $('.made');
const opener = $('.open-made');
const stage = make('canvas', { role: 'img', class: 'made-stage' });
const text = make('p', { class: 'made-text' });
const controls = make('div', { class: 'made-controls' });
const buttons = STEPS.map((name, i) =>
  button({ 'data-name': name, onclick: () => go(name) }, `${i + 1} ${messages.MADE_STEPS[name]}`),
);
const back = button({ class: 'back', onclick: () => go(STEPS[STEPS.indexOf(view.step) - 1]) }, 'Back');
const next = button({ class: 'next main', onclick: goOn }, messages.NEXT);

/** What is shown of the sum. */
const view = {
  /** @type {MadeStep} */
  step: 'photo',
  count: 0,
  relu: true,
  smooth: true,
  /** @type {Channel | null} */
  channel: null,
};
/** @type {Map<string, Contributions | { problem: Problem }>} */
const known = new Map();
/** What is shown: of which result and word. @type {{ key: string, result: Result, made: Contributions } | null} */
let shown = null;
/** The key of what is on its way. */
let loading = '';
let playing = 0;
let mounted = false;

export function toggle() {
  if (!mounted) mount();
  section.hidden = !section.hidden;
  opener.setAttribute('aria-expanded', String(!section.hidden));
  stop();
  if (section.hidden) return opener.focus({ preventScroll: true });
  delete section.dataset.step;
  store.changeLook({ view: 'grad-cam' });
  update();
  $('.made h3').focus({ preventScroll: true });
  scroll();
}

/** Show all of it, or as much as there is room for. */
const scroll = () => section.scrollIntoView({ block: 'nearest' });

function mount() {
  mounted = true;
  const heading = make('h3', { tabindex: -1 }, 'How this map was made');
  const close = button({ class: 'close', 'aria-label': 'Close', title: 'Close', onclick: toggle }, '×');
  const steps = make('div', { class: 'made-steps', role: 'toolbar', 'aria-label': 'Steps' }, ...buttons);
  section.replaceChildren(
    make('div', { class: 'made-head' }, heading, close),
    steps,
    make('p', { class: 'made-formula', 'aria-hidden': true }, ...formula()),
    make('div', { class: 'made-body' }, stage, text, controls),
    make('div', { class: 'made-nav' }, back, next),
  );
  markStop = arrowKeys(steps);
  store.subscribe(['photo', 'tasks', 'tab', 'look'], update);
}
let markStop = () => {};

/** Eq. 2, of which the step's part is marked. */
function formula() {
  const part = (/** @type {string} */ steps, /** @type {(Node | string)[]} */ ...what) =>
    make('span', { 'data-steps': steps }, ...what);
  const sub = (/** @type {string} */ letter) => make('sub', {}, letter);
  return [
    ...[part('map', 'map'), ' = ', part('relu', 'ReLU'), '( ', part('sum', 'Σ', sub('k')), ' '],
    ...[part('channels', 'α', sub('k')), ' · ', part('channels photo', 'A', make('sup', {}, 'k')), ' )'],
  ];
}

/** To the next step; after the last one, close. */
function goOn() {
  const step = STEPS[STEPS.indexOf(view.step) + 1];
  if (step) go(step);
  else toggle();
}

/** @param {MadeStep} step */
function go(step) {
  stop();
  view.step = step;
  render();
  scroll();
}

// ---- What is shown ----

function update() {
  const result = analysedResult();
  if (section.hidden || !result) return;
  const { word } = store.current;
  const key = JSON.stringify([result.key, word]);
  if (!methodInfo(result.method).weighted) return renderNotWeighted(result);
  const made = known.get(key);
  if (!made) return load(key, result, word);
  if ('problem' in made) return renderProblem(key, made.problem);
  if (shown?.key === key) return draw();
  stop();
  shown = { key, result, made };
  view.count = stopsOf(made).find((stop) => stop >= FIRST) ?? made.active;
  view.channel = made.channels[0] ?? null;
  const opened = !section.dataset.step;
  render();
  if (opened) scroll();
}

/**
 * @param {string} key
 * @param {Result} result
 * @param {number | null} word
 */
async function load(key, result, word) {
  if (loading === key) return;
  loading = key;
  section.dataset.state = 'loading';
  if (!shown) text.textContent = messages.WAITING;
  const { task, model, layer, method, question, target } = result;
  const reply = await ask('channels', task, { model, layer, method, question, target, word });
  if (loading === key) loading = '';
  if (!reply) return; // a later one took its place
  const packed = /** @type {PackedChannels} */ (reply);
  known.set(key, packed.problem ? { problem: packed.problem } : await unpackChannels(packed));
  for (const old of [...known.keys()].slice(0, -KEPT)) known.delete(old);
  update();
}

/** @param {Result} result */
function renderNotWeighted(result) {
  const show = () => {
    store.choose({ method: 'grad-cam' });
    explain({ again: result.target });
  };
  renderMessage('not_weighted', messages.notWeighted(methodInfo(result.method)), messages.SHOW_GRAD_CAM, show);
}

/**
 * @param {string} key
 * @param {Problem} problem
 */
function renderProblem(key, problem) {
  renderMessage('problem', problemText(problem), 'Try again', () => {
    known.delete(key);
    update();
  });
}

/**
 * @param {string} state
 * @param {string} message
 * @param {string} label
 * @param {() => void} onclick
 */
function renderMessage(state, message, label, onclick) {
  shown = null;
  section.dataset.state = state;
  text.textContent = message;
  controls.replaceChildren(button({ class: 'main', onclick }, label));
}

// ---- The steps ----

/** @type {Record<MadeStep, (result: Result, made: Contributions) => [text: string, controls: Node[]]>} */
const RENDER = {
  photo: (result, made) => [messages.photoText(result, made), []],
  channels: (result, made) => [
    messages.channelsText(result, made, methodInfo(result.method)),
    [
      channelRow(messages.FOR, result, made, 1),
      channelRow(messages.AGAINST, result, made, -1),
      make('p', { class: 'channel-text', 'aria-live': 'polite' }),
      others(result),
    ],
  ],
  sum: (_, made) => [messages.SUM_TEXT, [slider(made), legend()]],
  relu: (result, made) => [messages.reluText(result, made.word), [checkbox('relu', messages.RELU), legend()]],
  map: (_, made) => [
    messages.mapText(!relu(sumOf(made, made.active), made.rounding).some(Boolean)),
    [checkbox('smooth', messages.SMOOTH)],
  ],
};

function render() {
  if (!shown) return;
  const { result, made } = shown;
  const [sentence, nodes] = RENDER[view.step](result, made);
  Object.assign(section.dataset, { state: 'ready', step: view.step, target: result.target, word: made.word ?? '' });
  text.textContent = sentence;
  controls.replaceChildren(...nodes);
  for (const each of buttons) each.setAttribute('aria-pressed', String(each.dataset.name === view.step));
  for (const each of section.querySelectorAll('[data-steps]')) {
    each.classList.toggle('lit', !!(/** @type {HTMLElement} */ (each).dataset.steps?.includes(view.step)));
  }
  markStop();
  const at = STEPS.indexOf(view.step);
  back.disabled = at === 0;
  next.textContent = at === STEPS.length - 1 ? messages.CLOSE : messages.NEXT;
  draw();
}

function draw() {
  if (!shown || section.dataset.state !== 'ready') return;
  const { result, made } = shown;
  const whole = sumOf(made, made.active);
  const { step, channel } = view;
  stage.setAttribute('aria-label', `${messages.MADE_STEPS[step]} for ${made.word ?? result.target}`);
  if (step === 'photo') drawCells(stage, result, made);
  if (step === 'channels' && channel) drawChannel(stage, result, made, channel);
  if (step === 'sum') drawSum(stage, result, made, sumOf(made, view.count), whole);
  if (step === 'relu') drawSum(stage, result, made, view.relu ? relu(whole, made.rounding) : whole, whole);
  if (step === 'map') drawMap(stage, result, made, relu(whole, made.rounding), view.smooth);
  if (step === 'channels') markChannel();
  section.style.setProperty('--ratio', String(stage.width / stage.height));
}

/**
 * @param {string} title
 * @param {Result} result
 * @param {Contributions} made
 * @param {1 | -1} sign
 */
function channelRow(title, result, made, sign) {
  const found = strongest(made, sign, MOST);
  const each = found.map((channel) => {
    const canvas = make('canvas', { 'aria-hidden': true });
    drawChannel(canvas, result, made, channel, SMALL);
    const choose = () => {
      view.channel = channel;
      draw();
    };
    const attributes = { 'data-name': channel.number, 'aria-label': messages.channelLabel(channel) };
    const on = { onclick: choose, onfocus: choose, onpointerenter: choose };
    return button({ ...attributes, ...on }, canvas, `α ${messages.signed(channel.weight)}`);
  });
  const row = make('div', { class: 'channels', role: 'toolbar', 'aria-label': title }, ...each);
  arrowKeys(row)();
  const name = make('h4', { class: sign > 0 ? 'for' : 'against' }, title, found.length ? '' : `: ${messages.NONE}`);
  return make('div', {}, name, row);
}

function markChannel() {
  const { channel } = view;
  for (const each of controls.querySelectorAll('.channels button')) {
    const chosen = /** @type {HTMLElement} */ (each).dataset.name === String(channel?.number);
    each.setAttribute('aria-pressed', String(chosen));
  }
  $('.channel-text').textContent = channel ? messages.channelText(channel) : '';
}

/**
 * Other classes, answers or words: the same feature maps with other weights.
 * @param {Result} result
 */
function others({ predictions, target, words }) {
  const { word } = store.current;
  /** @type {[string, () => void][]} */
  const choices = words.length
    ? [['all', () => store.chooseWord(null)], ...words.map((each, i) => wordChoice(each.text, i))]
    : predictions.map(({ text: name }) => [name, () => explain({ target: name })]);
  const chosen = words.length ? (word == null ? 0 : word + 1) : predictions.findIndex((each) => each.text === target);
  const each = choices.map(([name, onclick], i) => button({ onclick, 'aria-pressed': String(i === chosen) }, name));
  return make('div', { class: 'made-others', role: 'group', 'aria-label': messages.OTHERS }, messages.OTHERS, ...each);
}

/**
 * @param {string} name
 * @param {number} i
 * @returns {[string, () => void]}
 */
const wordChoice = (name, i) => [name, () => store.chooseWord(i)];

/** @param {Contributions} made */
function slider(made) {
  const stops = stopsOf(made);
  const at = Math.max(0, stops.indexOf(view.count));
  const attributes = { type: 'range', min: 0, max: stops.length - 1, value: at, 'aria-label': 'Number of channels' };
  const range = make('input', { class: 'count', ...attributes });
  const says = make('p', { class: 'count-text', 'aria-live': 'polite' });
  const show = () => {
    view.count = stops[Number(range.value)];
    says.textContent = messages.sumText(made, view.count, shareOf(made, view.count), shareOf(made, FIRST));
    range.setAttribute('aria-valuetext', messages.sumLabel(view.count, made.active));
    section.dataset.count = String(view.count);
    if (view.step === 'sum') draw();
  };
  const play = button({ class: 'play' }, messages.PLAY);
  play.addEventListener('click', () => (playing ? stop() : start(range, play, show)));
  range.addEventListener('input', () => {
    stop();
    show();
  });
  show();
  return make('div', { class: 'adding' }, play, range, says);
}

/**
 * Move the slider from its start, or from where it stands, to its end.
 * @param {HTMLInputElement} range
 * @param {HTMLElement} play
 * @param {() => void} show
 */
function start(range, play, show) {
  if (range.value === range.max) range.value = '0';
  play.textContent = messages.PAUSE;
  show();
  playing = window.setInterval(() => {
    range.value = String(Number(range.value) + 1);
    show();
    if (range.value === range.max) stop();
  }, PAUSE);
}

function stop() {
  clearInterval(playing);
  playing = 0;
  const play = section.querySelector('.play');
  if (play) play.textContent = messages.PLAY;
}

/**
 * @param {'relu' | 'smooth'} name
 * @param {string} label
 */
function checkbox(name, label) {
  const box = make('input', { type: 'checkbox', class: name, checked: view[name] });
  box.addEventListener('change', () => {
    view[name] = box.checked;
    draw();
  });
  return make('label', {}, box, label);
}

function legend() {
  const rows = LEGEND.map(({ colour, code }) =>
    make('li', {}, make('span', { class: 'dot', style: `background: rgb(${colour})` }), ` ${messages.COLOURS[code]}`),
  );
  return make('ul', { class: 'legend' }, ...rows);
}
