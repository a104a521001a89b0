// Copies of what is shown: the picture, and the address of an example.

import { copyOf } from '../../../gradcam_core/viewer/draw.js';
import { $, all, onClick } from '../dom.js';
import { COPIED } from '../messages.js';
import { freshResult } from '../selectors.js';
import { store } from '../store.js';

/** @import { Copied } from '../messages.js' */

const GAP = 12; // pixels between two pictures

export function mountShare() {
  onClick('.copy-picture', copyPicture);
  onClick('.copy-link', copyLink);
  store.subscribe(['photo', 'tasks', 'tab', 'look'], () => {
    if (!freshResult()) return;
    $('.copy-link').hidden = !store.state.photo?.example; // only these have an address
    show(null);
  });
}

/** @param {Copied | null} code */
function show(code) {
  $('.copied').textContent = code ? COPIED[code] : '';
  $('.copied').dataset.code = code ?? '';
}

async function copyPicture() {
  try {
    // The picture is a promise: Safari allows a copy only at once after the click.
    const item = new ClipboardItem({ 'image/png': pngOf(all('.pictures figure:not([hidden]) canvas')) });
    await navigator.clipboard.write([item]);
    show('picture');
  } catch {
    show('no_picture');
  }
}

/**
 * @param {HTMLElement[]} shown one picture, or two side by side
 * @returns {Promise<Blob>}
 */
function pngOf(shown) {
  const [first, second] = /** @type {HTMLCanvasElement[]} */ (shown);
  const canvas = copyOf(first);
  if (second) {
    canvas.width = first.width + GAP + second.width;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.drawImage(first, 0, 0);
    context.drawImage(second, first.width + GAP, 0);
  }
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(/** @type {Blob} */ (blob)), 'image/png'));
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    show('link');
  } catch {
    show('no_link');
  }
}
