// Downloads of what is shown.

import { measurementsOf } from '../analysis/evaluate.js';
import { $, all } from '../dom.js';
import { ask } from '../explain.js';
import { figureMax, freshResult } from '../selectors.js';
import { isLost } from '../server.js';
import { store } from '../store.js';

export function mountDownloads() {
  for (const each of all('.downloads [data-format]'))
    each.addEventListener('click', () => save(each.dataset.format ?? ''));
  store.subscribe(['photo', 'tasks', 'tab'], () => {
    $('.downloads').hidden = !freshResult();
  });
}

/** @param {string} format */
export async function save(format) {
  const each = $(`.downloads [data-format=${format}]`);
  const { shown, second, compared } = store.current;
  if (!shown || each.getAttribute('aria-disabled')) return;
  const label = each.textContent;
  each.setAttribute('aria-disabled', 'true'); // a disabled one would lose the focus
  each.textContent = 'Writing …';
  const zip = format === 'zip';
  const reply = await ask('save', store.state.tab, {
    target: shown.target,
    beside_target: second && compared?.target ? second.target : null,
    beside_model: second && compared?.model ? second.model : null,
    highest: figureMax(),
    format,
    colour_map: store.state.look.colour,
    opacity: store.state.look.opacity,
    measurements: zip ? measurementsOf(shown) : null,
    beside_measurements: zip && second ? measurementsOf(second) : null,
  });
  each.removeAttribute('aria-disabled');
  each.textContent = label;
  store.saved(reply?.problem ?? null, isLost(reply?.problem) ? { code: 'save', format } : null);
}
