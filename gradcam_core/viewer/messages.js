// Sentences, by code, that the page and interactive pages have in common.

/** @import { HeatMap, View } from './types.js' */

/** @type {Record<View, [title: string, about: string]>} */
export const VIEWS = {
  'grad-cam': ['Grad-CAM', 'Which parts of the photo speak for it: coarse, but different for each target.'],
  guided: [
    'Guided Backprop',
    'Pixels that matter to the network at all: fine, but not specific. It looks much the same for every target.',
  ],
  'guided-grad-cam': ['Guided Grad-CAM', 'The two multiplied: fine detail, only where the evidence is.'],
  counterfactual: ['Counter\u00adfactual', 'Which parts of the photo speak against it, that is, lower its score.'],
  spotlight: ['Spotlight', 'The photo, as bright as the evidence for it.'],
};

export const WHOLE_CAPTION_ONLY = 'For whole captions only';

/** @param {string} target */
export const noCounterevidence = (target) => `Nothing in this photo speaks against ${target}: there is no map to show.`;

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
