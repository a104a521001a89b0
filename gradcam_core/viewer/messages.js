// Sentences, by code, that the page and interactive pages have in common.

import { chance, percent } from './format.js';

/** @import { Explained, Explanation, HeatMap, Task, View } from './types.js' */

/** @type {Record<View, [title: string, about: string]>} */
export const VIEWS = {
  'grad-cam': [
    'Grad-CAM',
    'Which parts of the photo speak for it: coarse, but different for each thing that you ask about.',
  ],
  guided: [
    'Guided Backprop',
    'Pixels that matter to the network at all: fine, but not specific. It looks much the same, whatever you ask about.',
  ],
  'guided-grad-cam': [
    'Guided Grad-CAM',
    'Guided Backprop multiplied by Grad-CAM: fine detail, only where the evidence is.',
  ],
  counterfactual: ['Counter\u00adfactual', 'Which parts of the photo speak against it, that is, lower its score.'],
  spotlight: ['Spotlight', 'The photo, as bright as the evidence for it.'],
};

export const WHOLE_CAPTION_ONLY = 'For whole captions only';

/** @param {string} target */
export const noCounterevidence = (target) => `Nothing in this photo speaks against ${target}: there is no map to show.`;

/** Of views whose scale is not shown. */
export const WEAK = 'It is weak here, because the map is faint next to that of the first choice.';

/** @param {string} target */
export const littleCounterevidence = (target) => `Hardly anything in this photo speaks against ${target}.`;

/**
 * @param {Pick<Explanation, 'first_choice_max' | 'predictions'>} result
 * @param {HeatMap} map of the result
 */
export const firstChoiceScale = (result, map) =>
  `The colours stay low, because the scale is that of the first choice, ${result.predictions[0].text}: ` +
  `this map reaches ${shareOfFirst(result, map)} of it.`;

/**
 * @param {Pick<Explanation, 'first_choice_max'>} result
 * @param {HeatMap} map of the result
 */
export const shareOfFirst = ({ first_choice_max: first }, { max }) => percent(max / (first || 1));

/** @typedef {Node | string} Part */

/** @typedef {'why' | 'why_not' | 'no_evidence' | 'faint' | 'word'} Heading */

/** @type {Record<Heading, (name: Part, other: Part) => Part[]>} */
export const HEADINGS = {
  why: (name) => ['Why ', name, '?'],
  why_not: (name, other) => ['Why ', name, ', and why not ', other, '?'],
  no_evidence: (name) => ['Nothing in this photo speaks for ', name],
  faint: (name) => ['Hardly any evidence for ', name],
  word: (name, caption) => ['Why ', name, ' in ', caption, '?'],
};

/**
 * @param {{ raw: HeatMap, words: { raw: HeatMap }[], faint: boolean }} result
 * @param {number | null} word of a caption
 * @returns {Heading}
 */
export function headingOf({ raw, words, faint }, word) {
  const { max } = word == null ? raw : words[word].raw;
  if (!max) return 'no_evidence';
  if (word != null) return 'word';
  return faint ? 'faint' : 'why';
}

/** @type {Record<Task, string>} */
export const PREDICTIONS = {
  classification: 'Most likely classes',
  captioning: 'The network’s own captions',
  vqa: 'Most likely answers',
};

/** @param {number} logProb of a word */
export const wordLikelihood = (logProb) =>
  `Probability ${chance(Math.exp(logProb))} after the words before it (log-probability ${logProb.toFixed(2)}).`;

/** @param {number} logProb of a caption */
export const captionLikelihood = (logProb) =>
  `Probability of exactly these words: ${chance(Math.exp(logProb))} (log-probability ${logProb.toFixed(1)})`;

/**
 * The text under the heading of an interactive page.
 * @param {Explained} explained
 * @param {number | null} word
 */
export function summaryOf(explained, word) {
  const { task, target, score, probability, rank, predictions, words, unsure, unknown_words } = explained;
  if (word != null) return wordLikelihood(words[word].log_prob);
  const best = predictions[0];
  const value = (/** @type {number} */ p) => (task === 'captioning' ? chance(p) : percent(p));
  const own = best?.text === target ? ': the network’s first choice' : '';
  const other = best && !own ? ` The network’s first choice is “${best.text}” (${value(best.probability)}).` : '';
  const listed = rank === null || predictions.some(({ text }) => text === target);
  const likely = `Probability ${percent(probability ?? 0)}${listed ? '' : `, rank ${rank.toLocaleString('en')}`}`;
  return [
    unknown_words.length ? `Not understood: ${unknown_words.join(', ')}.` : '',
    probability == null
      ? `Score ${score.toFixed(2)}.`
      : `${task === 'captioning' ? captionLikelihood(score) : likely}${own}.${other}`,
    unsure ? 'The network is guessing.' : '',
  ]
    .filter(Boolean)
    .join(' ');
}

/**
 * The small print of an interactive page.
 * @param {Explained} explained
 */
export const technical = ({ method_title, model_title, layer, raw, remarks, position_known }) =>
  [
    `${method_title} of ${model_title} at ${layer}, ${raw.w} × ${raw.h} cells.`,
    position_known ? '' : 'Which part of the photo the network sees is not known: the map is stretched over all of it.',
    ...remarks,
  ]
    .filter(Boolean)
    .join(' ');

export const CLICK_FRAMED = 'click one with a frame to see why';

/** @type {Record<Task, string>} */
const TASKS = { classification: 'Classification', captioning: 'Captioning', vqa: 'VQA' };

/**
 * What tells one list of an interactive page from another.
 * @param {Explained} explained
 * @param {'picture' | 'task' | 'question' | 'method' | 'model' | 'detail' | 'layer'} name
 */
export function difference(explained, name) {
  switch (name) {
    case 'picture':
      return `Photo ${explained.picture + 1}`;
    case 'task':
      return TASKS[explained.task];
    case 'question':
      return explained.question == null ? '' : `“${explained.question}”`;
    case 'method':
      return explained.method_title;
    case 'model':
      return explained.model_title;
    case 'detail':
      return `detail ${explained.detail}`;
    case 'layer':
      return explained.layer;
  }
}
