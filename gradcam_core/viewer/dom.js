// Small tools for the document. What visitors or models write goes into it by textContent only.

/** @typedef {Node | string | false | null | undefined} Child */

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
  (now.find((each) => name && each.dataset.name === name) ?? now[Math.min(at, now.length - 1)])?.focus({
    preventScroll: true, // the visitor may have scrolled on
  });
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
