// What outlives the page: the photo and the results of this visit, for a reload; the address, for the
// browser's back button.

import { copyOf } from '../../gradcam_core/viewer/draw.js';
import { loadImage } from './dom.js';
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
    const { key, name, example, upload } = photo;
    const { model, worked, question, target } = store.current;
    const { tab } = store.state;
    const choices = { tab, model, worked, question, target };
    sessionStorage.setItem('gradcam', JSON.stringify({ key, name, example, upload, kept, ...choices }));
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

const HISTORY = 'gradcam-history';
/** Changes with every version of the scripts, which may have other fields in a result. */
const VERSION = import.meta.url;

/** Keep the results of this visit whenever the page is left: as many of the latest as there is room for. */
export function keepHistoryForReload() {
  window.addEventListener('pagehide', () => {
    for (let results = store.state.history; results.length; results = results.slice(Math.ceil(results.length / 2))) {
      try {
        sessionStorage.setItem(HISTORY, packHistory(results));
        return;
      } catch {
        // No room for that many.
      }
    }
  });
}

/** @param {readonly Result[]} results */
function packHistory(results) {
  const photos = [...new Set(results.map(({ photo }) => photo))].map(({ key, name, example, upload, image }) => {
    const drawn = image instanceof HTMLImageElement && image.src.startsWith('data:');
    const src = drawn ? image.src : copyOf(image, KEPT_SIDE).toDataURL('image/jpeg', 0.9);
    return { key, name, example, upload, src };
  });
  const bare = results.map((result) => ({ ...result, photo: result.photo.key, gradient: null }));
  return JSON.stringify({ version: VERSION, photos, results: bare }, (_, value) =>
    value instanceof Float32Array ? { floats: [...value] } : value,
  );
}

/** Return the results of this visit to the store, if the page was loaded again. */
export async function restoreHistory() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(HISTORY) ?? 'null', (_, value) =>
      Array.isArray(value?.floats) ? Float32Array.from(value.floats) : value,
    );
    if (kept?.version !== VERSION) return;
    const load = async (/** @type {Photo & { src: string }} */ { src, ...photo }) => ({
      ...photo,
      image: await loadImage(src),
    });
    const photos = new Map((await Promise.all(kept.photos.map(load))).map((photo) => [photo.key, photo]));
    store.restoreHistory(kept.results.map((/** @type {any} */ each) => ({ ...each, photo: photos.get(each.photo) })));
  } catch {
    // Then this visit begins anew.
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
  history[written ? 'pushState' : 'replaceState']({ ...history.state, gradcam: key, several: false }, '', address);
  written = key;
}

export function followBrowserHistory() {
  window.addEventListener('popstate', ({ state }) => {
    const result = store.state.history.find(({ key }) => key === state?.gradcam);
    written = state?.gradcam;
    if (state?.several && store.state.several.photos.length) store.changeSeveral({ open: true });
    else if (result) store.returnTo(result);
    else if (written) location.reload(); // from before the page was loaded
  });
}
