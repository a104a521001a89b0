// Small tools for the document. What visitors or models write goes into it by textContent only.

const root = /** @type {HTMLElement} */ (document.querySelector('#gradcam'));

/** @typedef {Node | string | false | null | undefined} Child */

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
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [attributes] names that begin with "on" are listeners
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (value === true && !name.startsWith('aria-')) node.setAttribute(name, '');
    else if (value != null && (value !== false || name.startsWith('aria-'))) node.setAttribute(name, String(value));
  }
  node.append(.../** @type {(Node | string)[]} */ (children.filter(Boolean)));
  return node;
}

/**
 * @param {Record<string, unknown>} attributes
 * @param {...Child} children
 */
export const button = (attributes, ...children) => make('button', { type: 'button', ...attributes }, ...children);

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
 * Replace the children of a box. The focus stays on the button that has it, or on the one in its place.
 * @param {HTMLElement} box
 * @param {...(Node | string)} children
 */
export function refill(box, ...children) {
  const before = [...box.querySelectorAll('button')];
  const at = before.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  const name = before[at]?.dataset.name;
  box.replaceChildren(...children);
  if (at < 0) return;
  const now = [...box.querySelectorAll('button')];
  (now.find((each) => name && each.dataset.name === name) ?? now[Math.min(at, now.length - 1)])?.focus();
}

/**
 * Make a row of buttons one stop of the Tab key; within it the arrow keys move.
 * @param {HTMLElement} box
 * @returns {() => void} to be called after the row has changed
 */
export function arrowKeys(box) {
  const buttons = () => /** @type {HTMLButtonElement[]} */ ([...box.querySelectorAll('button:not(:disabled)')]);
  /** @param {EventTarget | null | undefined} chosen */
  const stopAt = (chosen) => {
    for (const each of buttons()) each.tabIndex = each === chosen ? 0 : -1;
  };
  box.addEventListener('keydown', (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (!step) return;
    event.preventDefault();
    const row = buttons();
    const to = row.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement)) + step;
    if (Number.isFinite(step)) row.at(to % row.length)?.focus();
    else row.at(step > 0 ? -1 : 0)?.focus();
  });
  box.addEventListener('focusin', ({ target }) => stopAt(target));
  return () => stopAt(buttons().find((each) => each.getAttribute('aria-pressed') === 'true') ?? buttons()[0]);
}

/**
 * @param {string} url
 * @returns {Promise<HTMLImageElement>}
 */
export function loadImage(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = url;
  });
}

/**
 * Save a text as a file.
 * @param {string} name
 * @param {string} content JSON
 */
export function saveFile(name, content) {
  const url = URL.createObjectURL(new Blob([content], { type: 'application/json' }));
  make('a', { href: url, download: name.replace(/[^\w.-]+/g, '-') }).click();
  URL.revokeObjectURL(url);
}

// On a phone the lists and the form are below the picture: scroll to what they change.

export function scrollToPicture() {
  if ($('.pictures').getBoundingClientRect().bottom < 160) scrollToHeading();
}

export const scrollToHeading = () => $('.result-heading').scrollIntoView({ block: 'start' });

/** Leave a field, so that the keyboard of a phone closes. */
export function scrollToAnswer() {
  if ($('.result-heading').getBoundingClientRect().top >= 0) return;
  focusHeading();
  scrollToHeading();
}

/** Move the focus from a button that disappears. */
export const focusHeading = () => $('.result-heading').focus({ preventScroll: true });
