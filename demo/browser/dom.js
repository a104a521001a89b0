// Small tools for the document. What visitors or models write goes into it by textContent only.

import { make } from '../../gradcam_core/viewer/dom.js';

export { arrowKeys, button, loadImage, make, refill } from '../../gradcam_core/viewer/dom.js';

const root = /** @type {HTMLElement} */ (document.querySelector('#gradcam'));

/**
 * The element of the page that a selector finds; it has to be there.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} selector
 */
export const $ = (selector) => /** @type {T} */ (root.querySelector(selector));

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} selector
 */
export const all = (selector) => /** @type {T[]} */ ([...root.querySelectorAll(selector)]);

/**
 * @param {string} tag
 * @param {Record<string, unknown>} attributes
 * @param {...(Node | string)} children
 */
export function svg(tag, attributes, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/**
 * Call a function with the value of a field whenever it changes.
 * @param {string} selector
 * @param {(value: string, field: HTMLInputElement) => void} change
 * @param {'change' | 'input'} event
 */
export function onChange(selector, change, event = 'change') {
  const field = /** @type {HTMLInputElement} */ ($(selector));
  field.addEventListener(event, () => change(field.value.trim(), field));
}

/**
 * @param {string} selector
 * @param {() => void} click
 */
export const onClick = (selector, click) => $(selector).addEventListener('click', click);

/** @type {WeakMap<HTMLElement, string>} */
const offered = new WeakMap();

/**
 * Fill a select. Only where the options differ: an open one would close.
 * @param {string} selector
 * @param {[value: string, text: string][]} options
 * @param {string} chosen
 */
export function fillSelect(selector, options, chosen) {
  const select = /** @type {HTMLSelectElement} */ ($(selector));
  const now = JSON.stringify(options);
  if (offered.get(select) !== now) {
    select.replaceChildren(...options.map(([value, text]) => make('option', { value }, text)));
    offered.set(select, now);
  }
  select.value = chosen;
}

/**
 * Save a text as a file.
 * @param {string} name
 * @param {string} content
 * @param {string} [type]
 */
export function saveFile(name, content, type = 'application/json') {
  const url = URL.createObjectURL(new Blob([content], { type }));
  make('a', { href: url, download: name.replace(/[^\w.-]+/g, '-') }).click();
  URL.revokeObjectURL(url);
}

// On a phone the lists and the form are below the picture: scroll to what they change.

export function scrollToPicture() {
  if ($('.pictures').getBoundingClientRect().bottom < 160) scrollToHeading();
}

export const scrollToHeading = () => $('.result-heading').scrollIntoView({ block: 'start' });

const NARROW = '(max-width: 899px)'; // as in page.css: the form is above the picture

/** Leave a field, so that the keyboard of a phone closes, if the answer is not in view. */
export function scrollToAnswer() {
  const { top } = $('.result-heading').getBoundingClientRect();
  const { bottom } = $('.pictures').getBoundingClientRect();
  const below = matchMedia(NARROW).matches && bottom > (window.visualViewport?.height ?? innerHeight);
  if (top >= 0 && !below) return;
  focusHeading();
  scrollToHeading();
}

/** Move the focus from a button that disappears. */
export const focusHeading = () => $('.result-heading').focus({ preventScroll: true });
