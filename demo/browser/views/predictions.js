// The network's predictions, and the words of a caption.

import { draw, resize, sizeOf } from '../../../gradcam_core/viewer/draw.js';
import { $, button, make, refill, scrollToPicture } from '../dom.js';
import { explain, explainSecond } from '../explain.js';
import { chance, logOf, percent } from '../format.js';
import { rankText, TASK_TEXTS } from '../messages.js';
import { freshResult, isLikeliestFirst, isListed, listedPredictions, modelInfo, styleOf } from '../selectors.js';
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
  const { task } = result;
  const { second, compared } = store.current;
  const other = compared?.model ? second : null;
  $('.predictions .title').textContent = TASK_TEXTS[task].predictions;
  $('.predictions small').textContent = TASK_TEXTS[task].hint;
  $('.rankings').classList.toggle('two', !!other);
  renderRanking($('.rankings .first'), result, !!other);
  $('.rankings .second').hidden = !other;
  if (other) renderRanking($('.rankings .second'), other, true);
  $('.predictions .note').hidden = task !== 'captioning' || isLikeliestFirst(listedPredictions(result));
  $('.capabilities').textContent = result.capabilities;
}

/**
 * What a network says, best first; then the target, if it comes later.
 * @param {HTMLElement} box
 * @param {Result} result
 * @param {boolean} beside whether another network's ranking stands beside it
 */
function renderRanking(box, result, beside) {
  const { task, model, target, probability, rank } = result;
  const title = /** @type {HTMLElement} */ (box.firstElementChild);
  title.hidden = !beside;
  title.textContent = modelInfo(task, model).title;
  const later = isListed(result) || rank === null ? [] : [{ text: target, probability, rank }];
  const entries = [...listedPredictions(result).map((each) => ({ ...each, rank: null })), ...later];
  const rows = /** @type {HTMLElement} */ (box.lastElementChild);
  // Rows are reused: in live mode they change under the pointer.
  while (rows.childElementCount < entries.length) rows.append(newRow(box.className));
  [...rows.children].forEach((row, i) => {
    if (entries[i]) renderRow(/** @type {HTMLElement} */ (row), entries[i], result, beside);
    else row.remove();
  });
}

/** @param {string} ranking "first" or "second" */
function newRow(ranking) {
  const bar = make('span', { class: 'bar' });
  const pick = button(
    { class: ranking === 'first' ? 'pick' : 'pick-second' },
    make('span', { class: 'name' }),
    make('span', { class: 'value' }),
    bar,
  );
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
 * @param {Prediction & { rank: number | null }} prediction rank: null for those that are listed in their order
 * @param {Result} result
 * @param {boolean} beside
 */
function renderRow(row, { text, probability, rank }, { target, task, predictions: [best] }, beside) {
  const caption = task === 'captioning';
  const [pick, whyNot] = /** @type {HTMLButtonElement[]} */ ([...row.children]);
  const [name, value, bar] = /** @type {HTMLElement[]} */ ([...pick.children]);
  row.dataset.text = text;
  row.dataset.rank = rank === null ? '' : String(rank);
  name.textContent = rank === null ? text : `${rankText(rank)} ${text}`;
  value.textContent = caption ? chance(probability) : percent(probability);
  value.title = caption ? `Log-probability ${logOf(probability)}` : '';
  bar.style.width = `${caption ? 0 : 100 * probability}%`;
  pick.setAttribute('aria-pressed', String(text === target));
  whyNot.hidden = beside || text === target;
  whyNot.setAttribute('aria-pressed', String(store.current.compared?.target === text));
  // Nobody has to ask why the network does not say its own first choice.
  whyNot.textContent = text === best.text ? 'compare' : 'why not?';
  whyNot.setAttribute('aria-label', text === best.text ? `Why ${text}, and why not ${target}?` : `Why not ${text}?`);
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
    ...[
      canvas,
      make('span', { class: 'name' }, text),
      ' ',
      make('span', { class: 'value', title: `Log-probability ${logProb.toFixed(2)}` }, chance(Math.exp(logProb))),
    ],
  );
}
