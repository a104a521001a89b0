// The sentences of several photos at once.

import { chance, percent } from '../format.js';

/** @import { LeftOut, Result, Sort, Task } from '../types.js' */

/** @param {number} count */
const photos = (count) => `${count} photo${count === 1 ? '' : 's'}`;

/** @param {LeftOut} left */
export function leftText(left) {
  switch (left.code) {
    case 'too_many':
      return `Only the first ${left.most} of ${left.count} photos are here.`;
    case 'zip_empty':
      return `There are no photos in ${left.name}.`;
    case 'zip_unreadable':
      return `${left.name} cannot be read: it is damaged, or no usual ZIP file.`;
    case 'zip_encrypted':
      return `${left.name} is encrypted. Please unpack it first.`;
  }
}

/**
 * @param {number} count
 * @param {string} target empty: the first choices
 * @param {string | null} question
 */
export function heading(count, target, question) {
  const what = target
    ? `What speaks for “${target}” in ${photos(count)}`
    : `What the network says about ${photos(count)}`;
  return question ? `“${question}” ${what}` : what;
}

/**
 * @param {number} done
 * @param {number} count
 * @param {number} guesses
 * @param {number} failures
 */
export function progressText(done, count, guesses, failures) {
  if (done < count) return `${done} of ${count}`;
  return [
    guesses ? `The network is guessing in ${photos(guesses)}.` : '',
    failures ? `${photos(failures)} could not be explained.` : '',
  ]
    .filter(Boolean)
    .join(' ');
}

/** @type {Record<Sort, string>} */
export const SORTS = {
  added: 'As added',
  name: 'By first choice',
  likely: 'Most likely first',
  unlikely: 'Least likely first',
};

/** @type {Record<Task, string>} */
export const IN_ALL = {
  classification: 'Explain this class in all',
  captioning: 'Explain this caption in all',
  vqa: 'Explain this answer in all',
};

/** @param {string} target */
export const inAll = (target) => `In all: ${target}`;

/**
 * @param {Pick<Result, 'task' | 'probability' | 'score'>} result
 */
export const likelihood = ({ task, probability, score }) =>
  task === 'captioning' ? chance(Math.exp(score)) : percent(probability);

/** @param {Result} result */
export function remark({ raw, faint, unsure, unknown_words: unknown }) {
  if (!raw.max) return 'Nothing speaks for it';
  if (faint) return 'Hardly any evidence';
  return unsure || unknown.length ? 'Guessing' : '';
}

export const WAITING = 'Waiting';
export const EXPLAINING = 'Explaining …';

/**
 * @param {number} count
 * @param {number} max
 */
export const meanText = (count, max) =>
  `The mean of ${count === 1 ? 'one map' : `${count} maps`}, the photos stretched to one square: where the network ` +
  `looks on average. Each map counts the same; at their strongest place they reach ${percent(max)} on average.`;
