// The tabs, and the form for question and target.

import { $, all, button, refill, scrollToAnswer } from '../dom.js';
import { explain } from '../explain.js';
import { TASK_TEXTS } from '../messages.js';
import { store, TASKS } from '../store.js';
import { closeSuggestions, mountSuggestions, settle } from './suggestions.js';

/** @import { Task } from '../types.js' */

const questionField = () => /** @type {HTMLInputElement} */ ($('#gc-question'));
const targetField = () => /** @type {HTMLInputElement} */ ($('#gc-target'));

export function mountQuery() {
  for (const tab of all('[role=tab]')) {
    tab.addEventListener('click', () => chooseTab(/** @type {Task} */ (tab.dataset.task)));
    tab.addEventListener('keydown', ({ key }) => {
      const step = key === 'ArrowRight' ? 1 : key === 'ArrowLeft' ? 2 : 0;
      if (!step) return;
      const next = TASKS[(TASKS.indexOf(store.state.tab) + step) % 3];
      chooseTab(next);
      $(`[data-task=${next}]`).focus();
    });
  }
  $('.query').addEventListener('submit', submit);
  mountSuggestions();
  store.subscribe(['tab', 'photo', 'tasks'], render);
}

/** @param {Task} task */
function chooseTab(task) {
  store.chooseTab(task);
  closeSuggestions();
  const { shown, status } = store.current;
  if (shown?.photo !== store.state.photo && !status && !store.state.several.open) explain();
}

/** @param {Event} event */
function submit(event) {
  event.preventDefault();
  closeSuggestions();
  settle();
  const question = questionField().value.trim();
  const target = targetField().value.trim();
  const { tab } = store.state;
  // The answer to the previous question may not fit this one.
  const keep = tab !== 'vqa' || question === store.current.question || target !== store.current.target;
  store.choose({ question });
  if (!keep) targetField().value = '';
  scrollToAnswer();
  explain({ target: keep ? target : '' });
}

/** @param {string} question */
function ask(question) {
  store.choose({ question });
  questionField().value = question;
  targetField().value = '';
  scrollToAnswer();
  if (!store.current.compared?.model) store.compareWith(null);
  explain({ target: '' });
}

function render() {
  const { tab, photo } = store.state;
  const { target, question } = store.current;
  const texts = TASK_TEXTS[tab];
  $('.query .question').hidden = $('.example-questions').hidden = tab !== 'vqa';
  $('.query .target label').textContent = texts.target;
  targetField().placeholder = texts.placeholder;
  if (document.activeElement !== targetField()) targetField().value = target;
  if (document.activeElement !== questionField()) questionField().value = question;
  const questions = store.facts.questions[photo?.example ?? ''] ?? store.facts.questions[''];
  const newButton = (/** @type {string} */ text) => button({ 'data-name': text, onclick: () => ask(text) }, text);
  refill($('.example-questions'), ...questions.map(newButton));
  for (const each of all('[role=tab]')) {
    const chosen = each.dataset.task === tab;
    each.setAttribute('aria-selected', String(chosen));
    each.tabIndex = chosen ? 0 : -1;
    if (chosen) $('.panel').setAttribute('aria-labelledby', each.id);
  }
}
