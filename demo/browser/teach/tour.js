// The tour: five small experiments with the real controls of the page. It waits for the visitor, and for nothing else:
// whoever does something else meanwhile can come back.

import { coverCircle } from '../analysis/masks.js';
import { $, all, button, make } from '../dom.js';
import { explain } from '../explain.js';
import { chooseExample } from '../photos.js';
import { freshResult } from '../selectors.js';
import { store } from '../store.js';
import * as messages from './messages.js';

/** @import { Result, Task } from '../types.js' */
/** @import { TourStep } from './messages.js' */

/**
 * @typedef {object} Step
 * @property {string} example which photo it is about
 * @property {Task | null} tab where it takes place; null: the visitor changes it
 * @property {string} [section] the section under the result that it opens
 * @property {(shown: Result) => string | null} found what to say when it is done, else null
 * @property {() => HTMLElement | undefined} control what the visitor uses
 * @property {() => HTMLElement} outcome where to look then
 * @property {() => void} show does it for the visitor
 */

const PAIR = 'cat and motorcycle';
const CAT = 'cat';
const OTHER = 'tabby'; // a class of the pair that is not the first choice
const EYES = [
  [0.379, 0.387],
  [0.706, 0.453],
]; // x and y, as shares of the sides of the cat's photo
const EYE = 0.12; // radius, as a share of the shorter side
const QUESTION = 'What color is the cat?';
const MARGIN = 10; // pixels

const pictures = () => $('.pictures');
/** @param {Result} shown */
const isFirst = ({ target, predictions: [best] }) => target === best?.text;

/** @param {Result | null} shown */
function otherName(shown) {
  const names = (shown?.predictions ?? []).map(({ text }) => text).slice(1);
  return names.includes(OTHER) ? OTHER : (names[0] ?? OTHER);
}

/** @type {Record<TourStep, Step>} */
const STEPS = {
  move: {
    example: PAIR,
    tab: 'classification',
    found: (shown) => (isFirst(shown) ? null : messages.moved(shown)),
    control: () =>
      all('.predictions li')
        .find((row) => row.dataset.text === otherName(freshResult()))
        ?.querySelector('button') ?? undefined,
    outcome: pictures,
    show: () => explain({ target: otherName(freshResult()) }),
  },
  dog: {
    example: PAIR,
    tab: 'classification',
    found: (shown) => (/dog/i.test(shown.typed) ? messages.dogFound(shown) : null),
    control: () => $('.query .target'),
    outcome: pictures,
    show: () => explain({ target: 'dog' }),
  },
  cover: {
    example: CAT,
    tab: 'classification',
    section: 'details.paint',
    found() {
      const { outcome, photo } = store.state.paint;
      return outcome && photo === store.state.photo ? messages.coverFound(outcome) : null;
    },
    control: () => $('.paint-canvas'),
    outcome: () => $('.paint-outcome'),
    show: coverEyes,
  },
  colour: {
    example: CAT,
    tab: null,
    found: (shown) => (/colou?r/i.test(shown.question ?? '') ? messages.colourFound(shown) : null),
    control: () => $(store.state.tab === 'vqa' ? '.query .question' : '#gc-tab-vqa'),
    outcome: pictures,
    show() {
      store.chooseTab('vqa');
      store.choose({ question: QUESTION });
      explain({ target: '' });
    },
  },
  forget: {
    example: CAT,
    tab: 'classification',
    section: 'details.evaluate',
    found({ key }) {
      const { sanity } = store.state.analysis.evaluations.get(key) ?? {};
      return sanity && !sanity.problem ? messages.FORGOT : null;
    },
    control: () => (store.state.analysis.running ? undefined : $('.test.sanity button')),
    outcome: () => $('.test.sanity .outcome'),
    show: () => $('.test.sanity button').click(),
  },
};
const NAMES = /** @type {TourStep[]} */ (Object.keys(STEPS));

const card = $('.tour');
const place = make('small');
const title = make('span');
const heading = make('h2', { tabindex: -1 }, title, place);
const text = make('p', { 'aria-live': 'polite' });
const show = button({ class: 'show main', onclick: showIt });
const back = button({ class: 'back', onclick: () => enter(at - 1) }, 'Back');
const next = button({ class: 'next', onclick: () => (at < NAMES.length - 1 ? enter(at + 1) : end()) });
const close = button({ class: 'end', onclick: end }, messages.SKIP);

let at = 0;
/** What to say of the step that is done, or null. @type {string | null} */
let found = null;
let mounted = false;
/** @type {HTMLElement | null} */
let marked = null;

export function begin() {
  if (!mounted) mount();
  card.hidden = false;
  enter(0);
}

function mount() {
  mounted = true;
  card.replaceChildren(heading, text, make('div', { class: 'tour-buttons' }, show, back, next, close));
  store.subscribe(['photo', 'tasks', 'tab', 'analysis', 'paint'], update);
  document.addEventListener('keydown', (event) => {
    const other = document.fullscreenElement || !$('#gc-options').hidden || document.querySelector('dialog[open]');
    if (event.key === 'Escape' && !card.hidden && !other) end();
  });
}

function end() {
  card.hidden = true;
  mark(undefined);
  $('.take-tour').focus({ preventScroll: true });
}

const step = () => STEPS[NAMES[at]];

/** @param {number} number */
function enter(number) {
  at = number;
  found = null;
  mark(undefined);
  const { example, tab, section } = step();
  const task = tab ?? 'classification';
  store.chooseTab(task);
  store.compareWith(null);
  store.changeLook({ view: 'grad-cam' });
  store.choose({ model: store.facts.tasks[task][0].name, layer: null, method: 'grad-cam' });
  const { examples } = store.facts;
  chooseExample((examples.find(({ name }) => name === example) ?? examples[0]).name);
  if (section) /** @type {HTMLDetailsElement} */ ($(section)).open = true;
  update();
  heading.focus({ preventScroll: true });
}

/** Whether the page shows what the step is about. */
function isThere() {
  const { example, tab } = step();
  return store.state.photo?.example === example && (!tab || store.state.tab === tab);
}

function showIt() {
  if (!isThere()) return enter(at);
  next.focus({ preventScroll: true }); // the button disappears
  step().show();
}

function update() {
  if (card.hidden) return;
  const shown = store.current.status ? null : freshResult();
  const before = found;
  if (shown && isThere()) found ??= step().found(shown);
  render(shown);
  if (found && !before) requestAnimationFrame(() => reveal(step().outcome()));
  mark(!found && shown && isThere() ? step().control() : undefined);
}

/** @param {Result | null} shown */
function render(shown) {
  const name = NAMES[at];
  const away = !found && !isThere();
  Object.assign(card.dataset, { step: name, state: found ? 'done' : away ? 'away' : 'waiting' });
  title.textContent = messages.TOUR[name].title;
  place.textContent = messages.tourPlace(at + 1, NAMES.length);
  const says = found ?? (away ? messages.AWAY : messages.TOUR[name].todo(otherName(shown)));
  if (text.textContent !== says) text.textContent = says; // a screen reader reads it out each time that it is set
  show.hidden = !!found || !!store.state.analysis.running;
  show.textContent = away ? messages.BRING_BACK : messages.TOUR[name].show;
  back.hidden = at === 0;
  next.textContent = at < NAMES.length - 1 ? messages.NEXT : messages.FINISH;
  next.classList.toggle('main', !!found);
  close.hidden = at === NAMES.length - 1;
}

/** @param {HTMLElement | undefined} control the one that the visitor is to use */
function mark(control) {
  if (control === marked) return;
  marked?.classList.remove('tour-target');
  marked = control ?? null;
  if (!control) return;
  control.classList.add('tour-target');
  requestAnimationFrame(() => reveal(control));
}

/**
 * Scroll so that an element lies above the card.
 * @param {HTMLElement} element
 */
function reveal(element) {
  const { top, bottom } = element.getBoundingClientRect();
  const free = card.getBoundingClientRect().top - MARGIN;
  if (top >= MARGIN && bottom <= free) return;
  const to = Math.max(MARGIN, (free - (bottom - top)) / 2);
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  window.scrollBy({ top: top - to, behavior: calm ? 'auto' : 'smooth' });
}

function coverEyes() {
  const { photo, columns, rows } = store.state.paint;
  if (photo !== store.state.photo) return; // the section has not been drawn yet
  const mask = new Uint8Array(columns * rows);
  for (const [x, y] of EYES) coverCircle(mask, columns, x, y, EYE);
  store.setMask(mask);
  $('.ask-again').click();
}
