// The network's predictions, and the words of a caption.

import { draw, resize, sizeOf } from '../../../gradcam_core/viewer/draw.js';
import { $, button, make, refill, scrollToPicture } from '../dom.js';
import { explain, explainSecond } from '../explain.js';
import { logOf, percent } from '../format.js';
import { TASK_TEXTS } from '../messages.js';
import { freshResult, styleOf } from '../selectors.js';
import { store } from '../store.js';

/** @import { Prediction, Result } from '../types.js' */

export function mountPredictions() {
  store.subscribe(['photo', 'tasks', 'tab', 'look', 'history'], () => {
    const result = freshResult();
    $('.predictions').hidden = !result;
    $('.words').hidden = result?.task !== 'captioning';
    if (!result) return;
    renderList(result);
    if (result.task === 'captioning') renderWords(result);
  });
}

/** @param {Result} result */
function renderList(result) {
  const { predictions, task } = result;
  $('.predictions .title').textContent = TASK_TEXTS[task].predictions;
  $('.predictions small').textContent = TASK_TEXTS[task].hint;
  const rows = $('.predictions ol');
  // Rows are reused: in live mode they change under the pointer.
  while (rows.childElementCount < predictions.length) rows.append(newRow());
  [...rows.children].forEach((row, i) => {
    if (predictions[i]) renderRow(/** @type {HTMLElement} */ (row), predictions[i], result);
    else row.remove();
  });
  const sorted = predictions.every(({ probability }, i) => !i || probability <= predictions[i - 1].probability);
  $('.predictions .note').hidden = task !== 'captioning' || sorted;
  $('.capabilities').textContent = result.capabilities;
}

function newRow() {
  const bar = make('span', { class: 'bar' });
  const pick = button({ class: 'pick' }, make('span', { class: 'name' }), make('span', { class: 'value' }), bar);
  const whyNot = button({ class: 'why-not' }, 'why not?');
  const row = make('li', {}, pick, whyNot);
  pick.addEventListener('click', () => {
    scrollToPicture();
    explain({ target: row.dataset.text });
  });
  whyNot.addEventListener('click', () => {
    scrollToPicture();
    const target = row.dataset.text;
    store.compareWith(store.current.compared?.target === target ? null : { target });
    explainSecond();
  });
  return row;
}

/**
 * @param {HTMLElement} row
 * @param {Prediction} prediction
 * @param {Result} result
 */
function renderRow(row, { text, probability }, { target, task }) {
  const caption = task === 'captioning';
  const [pick, whyNot] = /** @type {HTMLButtonElement[]} */ ([...row.children]);
  const [name, value, bar] = /** @type {HTMLElement[]} */ ([...pick.children]);
  row.dataset.text = text;
  name.textContent = text;
  value.textContent = caption ? logOf(probability) : percent(probability);
  bar.style.width = `${caption ? 0 : 100 * probability}%`;
  pick.setAttribute('aria-pressed', String(text === target));
  whyNot.hidden = text === target;
  whyNot.setAttribute('aria-pressed', String(store.current.compared?.target === text));
  whyNot.setAttribute('aria-label', `Why not ${text}?`);
  whyNot.title = `Show ${text} beside ${target}`;
}

/** @param {Result} result */
function renderWords(result) {
  const words = result.words.map(({ text, log_prob }, i) => wordButton(result, text, log_prob, i));
  refill(
    $('.words'),
    make('h3', {}, 'Word by word ', make('small', {}, 'click one to see where it comes from')),
    make('div', { role: 'group', 'aria-label': 'Words' }, wordButton(result, 'all', result.score, null), ...words),
  );
}

/**
 * @param {Result} result
 * @param {string} text
 * @param {number} logProb
 * @param {number | null} index
 */
function wordButton(result, text, logProb, index) {
  const [w, h] = sizeOf(result.photo.image);
  const canvas = resize(make('canvas', { 'aria-hidden': true }), 128, Math.min(256, (128 * h) / w));
  draw(canvas, result, styleOf(result, index, 'grad-cam'));
  const onclick = () => {
    scrollToPicture();
    store.chooseWord(index);
  };
  return button(
    { 'data-name': `${index} ${text}`, 'aria-pressed': String(store.current.word === index), onclick },
    ...[canvas, make('span', { class: 'name' }, text), ' ', make('span', { class: 'value' }, logProb.toFixed(1))],
  );
}
