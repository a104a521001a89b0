// The results of this visit.

import { contextOf, sizeOf } from '../../../gradcam_core/viewer/draw.js';
import { $, button, make, refill, scrollToPicture } from '../dom.js';
import { methodInfo, modelInfo } from '../selectors.js';
import { followBrowserHistory, keepHistoryForReload, writeAddress } from '../session.js';
import { store } from '../store.js';

/** @import { Result } from '../types.js' */

export function mountHistory() {
  followBrowserHistory();
  keepHistoryForReload();
  store.subscribe(['history'], () => {
    $('.history').hidden = store.state.history.length < 2;
    refill($('.history [role=group]'), ...store.state.history.toReversed().map(historyButton));
  });
}

/** @param {Result} result */
function historyButton(result) {
  const onclick = () => {
    scrollToPicture();
    store.returnTo(result);
    writeAddress(result);
  };
  const question = make('small', {}, result.question ?? '');
  const text = make('span', {}, question, result.target, make('small', {}, settingsOf(result)));
  return button({ 'data-name': result.key, onclick }, thumbnail(result), text);
}

/** @type {WeakMap<Result, HTMLCanvasElement>} */
const thumbnails = new WeakMap();

/** @param {Result} result */
function thumbnail(result) {
  const canvas = thumbnails.get(result) ?? make('canvas', { width: 48, height: 48, 'aria-hidden': true });
  if (thumbnails.has(result)) return canvas;
  const { image } = result.photo;
  const [w, h] = sizeOf(image);
  const side = Math.min(w, h);
  contextOf(canvas).drawImage(image, (w - side) / 2, (h - side) / 2, side, side, 0, 0, 48, 48);
  thumbnails.set(result, canvas);
  return canvas;
}

/**
 * The settings of a result that differ from the initial ones.
 * @param {Result} result
 */
function settingsOf({ task, model, method, layer, layers }) {
  const parts = [
    model === store.facts.tasks[task][0].name ? '' : modelInfo(task, model).title,
    method === 'grad-cam' ? '' : methodInfo(method).title,
    layer === Object.keys(layers).at(-1) ? '' : layer,
  ];
  return parts.filter(Boolean).join(', ');
}
