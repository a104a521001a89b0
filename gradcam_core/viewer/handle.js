// The handle between the photo, on its left, and the explanation, on its right.

import { make } from './dom.js';

const STEPS = {
  ArrowLeft: -0.05,
  ArrowDown: -0.05,
  ArrowRight: 0.05,
  ArrowUp: 0.05,
  PageDown: -0.2,
  PageUp: 0.2,
  Home: -1,
  End: 1,
};

/**
 * Add a handle to a picture; it follows the pointer and the arrow keys.
 * @param {HTMLElement} frame around the picture
 * @param {(to: (share: number) => number) => void} move gets a function from where the handle is to where it goes,
 *   shares of the width, not limited to [0, 1]
 */
export function addHandle(frame, move) {
  const handle = make('div', {
    ...{ class: 'handle', role: 'slider', tabindex: 0, 'aria-valuemin': 0, 'aria-valuemax': 100 },
    'aria-label': 'Photo on the left, explanation on the right',
  });
  const follow = (/** @type {PointerEvent} */ event) => {
    const { left, width } = frame.getBoundingClientRect();
    move(() => (event.clientX - left) / width);
  };
  frame.addEventListener('pointerdown', (event) => {
    frame.setPointerCapture(event.pointerId);
    follow(event);
  });
  frame.addEventListener('pointermove', (event) => frame.hasPointerCapture(event.pointerId) && follow(event));
  handle.addEventListener('keydown', (event) => {
    const step = STEPS[/** @type {keyof typeof STEPS} */ (event.key)];
    if (!step) return;
    event.preventDefault();
    move((share) => share + step);
  });
  frame.append(handle);
  return handle;
}

/**
 * @param {HTMLElement} handle
 * @param {number} share of the width, from the left, that shows the photo
 */
export function placeHandle(handle, share) {
  handle.style.setProperty('--from', String(share));
  handle.setAttribute('aria-valuenow', String(Math.round(100 * share)));
  handle.setAttribute('aria-valuetext', `${Math.round(100 * share)} % photo`);
}
