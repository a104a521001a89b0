// Downloads of what is shown, and what a figure of it contains.

import { measurementsOf } from '../analysis/evaluate.js';
import { $, all, onChange } from '../dom.js';
import { ask } from '../explain.js';
import { figureMax, freshResult, viewsOf } from '../selectors.js';
import { isLost } from '../server.js';
import { isGuided, store } from '../store.js';

/** @import { FigureChoice, Panel, Result } from '../types.js' */

export function mountDownloads() {
  for (const each of all('.downloads [data-format]'))
    each.addEventListener('click', () => save(each.dataset.format ?? ''));
  for (const box of boxes()) box.addEventListener('change', choosePanels);
  onChange('.figure-rows', (rows) => store.chooseFigure({ rows: /** @type {FigureChoice['rows']} */ (rows) }));
  onChange('.figure-size', (size) => store.chooseFigure({ size: /** @type {FigureChoice['size']} */ (size) }));
  store.subscribe(['photo', 'tasks', 'tab', 'figure', 'unguided'], render);
}

/** One for each panel, in the order of a figure. */
const boxes = () => /** @type {HTMLInputElement[]} */ (all('.figure-panels input'));

/** @param {HTMLInputElement} box */
const panelOf = ({ value }) => /** @type {Panel} */ (value);

function choosePanels() {
  const offered = boxes().filter(({ disabled }) => !disabled);
  const others = store.state.figure.panels.filter((panel) => !offered.map(panelOf).includes(panel));
  store.chooseFigure({ panels: [...offered.filter(({ checked }) => checked).map(panelOf), ...others] });
}

function render() {
  const result = freshResult();
  $('.downloads').hidden = $('.figure-choice').hidden = !result;
  if (!result) return;
  const [there, chosen] = [panelsOf(result), chosenPanels(result)];
  for (const box of boxes()) {
    box.disabled = !there.includes(panelOf(box));
    box.checked = chosen.includes(panelOf(box));
  }
  const { rows, size } = store.state.figure;
  /** @type {HTMLSelectElement} */ ($('.figure-rows')).value = rows;
  /** @type {HTMLSelectElement} */ ($('.figure-size')).value = size;
}

/**
 * The panels that a result has.
 * @param {Result} result
 */
function panelsOf(result) {
  const guided = viewsOf(result).some(isGuided);
  return boxes()
    .map(panelOf)
    .filter((panel) => (panel === 'words' ? result.words.length : guided || !panel.startsWith('guided')));
}

/**
 * The chosen ones of them; a figure without any shows the photo and the map.
 * @param {Result} result
 */
function chosenPanels(result) {
  const chosen = panelsOf(result).filter((panel) => store.state.figure.panels.includes(panel));
  return chosen.length ? chosen : ['picture', 'grad_cam'];
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
  const { rows, size } = store.state.figure;
  // Values of different models or methods cannot be compared.
  const comparable = zip || rows === 'shown' ? !compared?.model : rows === 'likely';
  const reply = await ask('save', store.state.tab, {
    target: shown.target,
    beside_target: second && compared?.target ? second.target : null,
    beside_model: second && compared?.model ? second.model : null,
    highest: comparable ? figureMax() : null,
    format,
    colour_map: store.state.look.colour,
    opacity: store.state.look.opacity,
    ...(zip
      ? { measurements: measurementsOf(shown), beside_measurements: second && measurementsOf(second) }
      : { panels: chosenPanels(shown).join(' '), rows, size }),
  });
  each.removeAttribute('aria-disabled');
  each.textContent = label;
  store.saved(reply?.problem ?? null, isLost(reply?.problem) ? { code: 'save', format } : null);
}
