// Presentation mode: the result in large type over the whole screen, or window where the browser has no fullscreen.

import { $, focusHeading, make, onClick } from '../dom.js';
import { explain } from '../explain.js';
import { PRESENTED, positionText, VIEWS, WHOLE_CAPTION } from '../messages.js';
import { freshResult, ownMethod, viewsOf } from '../selectors.js';
import { store } from '../store.js';
import { chooseView } from './thumbnails.js';

/** @import { Result } from '../types.js' */

/** @typedef {{ text: string, chosen: boolean, choose: () => unknown }} Item */

/** Stands where the result belongs while it is presented. */
const place = make('div', { hidden: true });
const dialog = () => /** @type {HTMLDialogElement} */ ($('.presentation'));
let scrolled = 0;

/** What the keys step through; a clicker for slides sends PageUp and PageDown. */
const KEYS = {
  ...{ ArrowLeft: () => step(targets(), -1), ArrowRight: () => step(targets(), 1) },
  ...{ PageUp: () => step(targets(), -1), PageDown: () => step(targets(), 1) },
  ...{ ArrowUp: () => step(views(), -1), ArrowDown: () => step(views(), 1) },
};

export function mountPresentation() {
  onClick('.fullscreen', begin);
  onClick('.presentation .exit', () => (document.fullscreenElement ? document.exitFullscreen() : end()));
  dialog().addEventListener('close', end); // by Escape
  document.addEventListener('fullscreenchange', () => document.fullscreenElement || end());
  for (const [key, go] of Object.entries(KEYS)) {
    const arrow = dialog().querySelector(`[data-key=${key}]`);
    arrow?.addEventListener('click', go);
  }
  dialog().addEventListener('keydown', (event) => {
    const go = KEYS[/** @type {keyof typeof KEYS} */ (event.key)];
    if (!go || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go();
  });
  // A click on the picture moves its handle, but the arrow keys remain those of the presentation.
  dialog().addEventListener('mousedown', (event) => {
    if (/** @type {Element} */ (event.target).closest('.frame')) event.preventDefault();
  });
  store.subscribe(['photo', 'tasks', 'tab', 'look', 'history', 'unguided'], render);
}

function begin() {
  const result = $('.result');
  scrolled = window.scrollY;
  result.replaceWith(place);
  $('.presentation .stage').append(result);
  dialog().showModal();
  render();
  // An iPhone has no fullscreen, and a page that embeds this one may not allow it.
  $('.presentation .stage')
    .requestFullscreen?.()
    .catch(() => {});
}

function end() {
  if (!place.isConnected) return;
  const result = $('.result');
  const focused = /** @type {HTMLElement} */ (document.activeElement);
  const stays = result.contains(focused); // else it disappears
  dialog().close();
  place.replaceWith(result);
  window.scrollTo(0, scrolled);
  if (!stays && $('.result .controls').hidden) focusHeading();
  else (stays ? focused : $('.fullscreen')).focus({ preventScroll: true });
}

function render() {
  if (!dialog().open) return;
  renderSteps('.of-targets', targets());
  renderSteps('.of-views', views());
  $('.presentation .keys').textContent = PRESENTED[store.state.tab];
}

/**
 * @param {string} selector
 * @param {Item[]} items
 */
function renderSteps(selector, items) {
  const at = items.findIndex(({ chosen }) => chosen);
  const [before, after] = /** @type {HTMLButtonElement[]} */ ([...$(selector).querySelectorAll('button')]);
  $(selector).hidden = !items.length;
  $(`${selector} span`).textContent = items.length ? positionText(items[Math.max(0, at)].text, at, items.length) : '';
  // Not `disabled`, which would lose the focus.
  before.setAttribute('aria-disabled', String(at <= 0));
  after.setAttribute('aria-disabled', String(at === items.length - 1));
}

/**
 * @param {Item[]} items
 * @param {number} by
 */
function step(items, by) {
  items[items.findIndex(({ chosen }) => chosen) + by]?.choose();
}

/**
 * The words of a caption, or the classes and answers.
 * @returns {Item[]}
 */
function targets() {
  const result = freshResult();
  if (!result) return [];
  return result.task === 'captioning' ? words(result) : labels(result);
}

/** @param {Result} result */
function words({ words }) {
  const choose = (/** @type {number | null} */ index) => () => store.chooseWord(index);
  const chosen = store.current.word;
  const each = words.map(({ text }, i) => ({ text, chosen: chosen === i, choose: choose(i) }));
  return [{ text: WHOLE_CAPTION, chosen: chosen === null, choose: choose(null) }, ...each];
}

/** @param {Result} result */
function labels(result) {
  const alike = [...store.state.history, result].filter(
    ({ photo, task, question }) => photo === result.photo && task === result.task && question === result.question,
  );
  const texts = [...new Set([...result.predictions.map(({ text }) => text), ...alike.map((each) => each.target)])];
  const { status, target } = store.current;
  const chosen = status && texts.includes(target) ? target : result.target; // or what is being explained
  return texts.map((text) => ({ text, chosen: text === chosen, choose: () => explain({ target: text }) }));
}

/** @returns {Item[]} */
function views() {
  const result = freshResult();
  if (!result) return [];
  const possible = viewsOf(result).filter(
    (view) => store.current.word === null || view === 'grad-cam' || view === 'spotlight',
  );
  return possible.map((view) => ({
    text: (ownMethod(view, result)?.title ?? VIEWS[view][0]).replace('\u00ad', ''),
    chosen: view === store.state.look.view,
    choose: () => chooseView(view),
  }));
}
