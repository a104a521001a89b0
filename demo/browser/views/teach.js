// What teaches: how this map was made, and the tour. Their modules are fetched when they are opened.

import { $, onClick } from '../dom.js';
import { analysedResult } from '../selectors.js';
import { store } from '../store.js';

/** @import { Result } from '../types.js' */

const KEPT = 'gradcam-tour'; // whether the tour was offered in this browser

export function mountTeach() {
  onClick('.open-made', () => {
    withdraw();
    open(import('../teach/made.js'), ({ toggle }) => toggle());
  });
  onClick('.take-tour', () => open(import('../teach/tour.js'), ({ begin }) => begin()));
  onClick('.tour .accept', () => $('.take-tour').click());
  onClick('.tour .decline', () => {
    $('.tour').hidden = true;
    $('.take-tour').focus({ preventScroll: true });
  });
  let offered = wasOffered();
  /** @type {Result | null} what was shown when the tour was offered */
  let first = null;
  store.subscribe(['photo', 'tasks', 'tab', 'several'], () => {
    const shown = analysedResult();
    $('.open-made').hidden = !shown;
    if (first && shown && shown !== first) {
      withdraw();
      first = null;
    }
    if (shown && !offered && keep()) {
      $('.tour').hidden = false;
      first = shown;
    }
    offered ||= !!shown;
    if (store.state.several.open) withdraw();
  });
}

/** The offer is in the way of a visitor who has begun alone; a tour that goes on is not. */
function withdraw() {
  if (!$('.tour').dataset.step) $('.tour').hidden = true;
}

/**
 * @template T
 * @param {Promise<T>} module
 * @param {(module: T) => void} begin
 */
async function open(module, begin) {
  const found = await module.catch(() => null);
  if (found) begin(found);
  else store.showProblem({ code: 'lost' }, { code: 'reload' });
}

/** Where nothing can be kept, the tour is not offered: it would be each time. */
function wasOffered() {
  try {
    return localStorage.getItem(KEPT) !== null;
  } catch {
    return true;
  }
}

function keep() {
  try {
    localStorage.setItem(KEPT, 'offered');
    return true;
  } catch {
    return false;
  }
}
