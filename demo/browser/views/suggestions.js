// Suggestions for the target. The typed text is used as it is, unless a suggestion is chosen, or is the only one.

import { $, make, scrollToAnswer } from '../dom.js';
import { ask, explain } from '../explain.js';
import { percent } from '../format.js';
import { store } from '../store.js';

/** @import { Prediction } from '../types.js' */

const PAUSE = 150; // milliseconds after the last key
const field = () => /** @type {HTMLInputElement} */ ($('#gc-target'));
const list = () => $('#gc-options');
let active = -1;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
/** Whether the text was explained: then the next click selects it, to be replaced. */
let settled = true;

export function settle() {
  settled = true;
}

export function mountSuggestions() {
  field().addEventListener('focus', () => field().select());
  field().addEventListener('click', () => {
    if (settled) field().select();
    settled = false;
  });
  field().addEventListener('input', () => {
    settled = false;
    clearTimeout(timer);
    timer = setTimeout(open, PAUSE);
  });
  field().addEventListener('blur', closeSuggestions);
  field().addEventListener('keydown', onKey);
}

export function closeSuggestions() {
  clearTimeout(timer);
  list().hidden = true;
  active = -1;
  field().setAttribute('aria-expanded', 'false');
  field().removeAttribute('aria-activedescendant');
}

async function open() {
  const { tab, photo, camera } = store.state;
  if (tab === 'captioning' || !photo?.image || camera === 'live') return;
  const text = field().value;
  const reply = await ask('suggest', tab, { text, layer: undefined, method: undefined });
  if (!reply?.labels?.length || document.activeElement !== field() || field().value !== text) return closeSuggestions();
  active = -1;
  list().replaceChildren(...reply.labels.map(option));
  list().hidden = false;
  field().setAttribute('aria-expanded', 'true');
}

/**
 * @param {Prediction} label
 * @param {number} i
 */
function option({ text, probability }, i) {
  const onmousedown = (/** @type {Event} */ event) => {
    event.preventDefault();
    choose(text);
  };
  const attributes = { role: 'option', id: `gc-option-${i}`, 'aria-selected': 'false', onmousedown };
  return make('li', attributes, make('span', {}, text), make('small', {}, percent(probability)));
}

/** @param {string} text */
function choose(text) {
  field().value = text;
  settle();
  closeSuggestions();
  scrollToAnswer();
  explain({ target: text });
}

const isOnlyOne = () => !list().hidden && list().childElementCount === 1;

/** @param {KeyboardEvent} event */
function onKey(event) {
  const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
  if (event.key === 'Escape') closeSuggestions();
  else if (event.key === 'Enter' && (active >= 0 || isOnlyOne())) {
    event.preventDefault();
    choose(list().children[Math.max(0, active)].firstChild?.textContent ?? '');
  } else if (step) {
    event.preventDefault();
    if (list().hidden) open();
    else activate((active + step + list().childElementCount) % list().childElementCount);
  }
}

/** @param {number} next */
function activate(next) {
  list().children[active]?.setAttribute('aria-selected', 'false');
  active = next;
  list().children[active].setAttribute('aria-selected', 'true');
  field().setAttribute('aria-activedescendant', list().children[active].id);
}
