// What outlives the page: the photo, for a reload; the address, for the browser's back button.

import { copyOf } from '../../gradcam_core/viewer/draw.js';
import { store } from './store.js';

/** @import { Photo, Result } from './types.js' */

const KEPT_SIDE = 1280; // pixels

export function keepForReload() {
  const photo = /** @type {Photo} */ (store.state.photo);
  const image = photo.image ?? photo.local;
  try {
    const kept =
      photo.kept ?? (photo.example || !image ? undefined : copyOf(image, KEPT_SIDE).toDataURL('image/jpeg', 0.9));
    if (kept !== photo.kept) store.completePhoto(photo, { kept });
    const { name, example, upload } = photo;
    const { model, worked, question, target } = store.current;
    const { tab } = store.state;
    const choices = { tab, model, worked, question, target };
    sessionStorage.setItem('gradcam', JSON.stringify({ name, example, upload, kept, ...choices }));
  } catch {
    // No room, or not allowed: then the visitor chooses the photo again.
  }
}

/** What was kept, or null. */
export function keptForReload() {
  try {
    return JSON.parse(sessionStorage.getItem('gradcam') ?? 'null');
  } catch {
    return null;
  }
}

/** @type {string | undefined} key of the result in the address */
let written;

/**
 * The address names what is shown of an example; each result is a step of the browser's history.
 * @param {Result} result
 */
export function writeAddress({ photo, task, target, question, key }) {
  if (written === key) return;
  const query = new URLSearchParams(location.search);
  for (const name of ['example', 'tab', 'target', 'question']) query.delete(name);
  if (photo.example) {
    query.set('example', photo.example);
    query.set('tab', task);
    query.set('target', target);
    if (question) query.set('question', question);
  }
  const address = query.size ? `?${query}` : location.pathname;
  history[written ? 'pushState' : 'replaceState']({ ...history.state, gradcam: key }, '', address);
  written = key;
}

export function followBrowserHistory() {
  window.addEventListener('popstate', ({ state }) => {
    const result = store.state.history.find(({ key }) => key === state?.gradcam);
    written = state?.gradcam;
    if (result) store.returnTo(result);
    else if (written) location.reload(); // from before the page was loaded
  });
}
