// The sentences of how a map was made, and of the tour.

import { percent, wholePercent } from '../format.js';

/** @import { MethodInfo, Result } from '../types.js' */
/** @import { Channel, Contributions } from './channels.js' */

/** @typedef {'photo' | 'channels' | 'sum' | 'relu' | 'map'} MadeStep */

/** @type {Record<MadeStep, string>} */
export const MADE_STEPS = {
  photo: 'Photo',
  channels: 'Channels',
  sum: 'Sum',
  relu: 'ReLU',
  map: 'Map',
};

/** @param {number} n */
const counted = (n) => n.toLocaleString('en');

/** @param {number} value with its sign, to two digits */
export function signed(value) {
  const size = Math.abs(value);
  const digits = size ? Math.max(0, 1 - Math.floor(Math.log10(size))) : 0;
  const text = digits > MOST_DIGITS ? size.toExponential(1) : size.toFixed(digits);
  return `${value < 0 ? '\u2212' : '+'}${text}`;
}
const MOST_DIGITS = 7;

/** @param {number} value */
const shortened = (value) => signed(value).replace('+', '');

/**
 * What is explained, as it is named in the sentences below.
 * @param {Result} result
 * @param {string | null} word
 */
const named = ({ target }, word) => `“${word ?? target}”`;

/**
 * @param {Result} result
 * @param {Contributions} made
 */
export function photoText({ layer }, { count, h, w }) {
  return (
    `At layer ${layer}, the network has turned the photo into ${counted(count)} small pictures of ` +
    `${w}\u00a0×\u00a0${h} cells. They are called channels, or feature maps: A. Each has learned to react to ` +
    'something: to fur, to a wheel, to an edge. The lines show the cells.'
  );
}

/**
 * @param {Result} result
 * @param {Contributions} made
 * @param {MethodInfo} method
 */
export function channelsText(result, { word, h, w }, { name, title }) {
  const score = result.task === 'captioning' ? 'log-probability' : 'score';
  const equation =
    name === 'grad-cam'
      ? ` It is the gradient, averaged over the ${h * w} cells (Eq. 1 of the paper).`
      : ` ${title} computes it from the gradient in a way of its own.`;
  return (
    `The channels that count most. Each is bright where it is active; choose one to see it large. Its weight α ` +
    `tells how the ${score} of ${named(result, word)} changes if the channel gets stronger: ` +
    `up (+) or down (−).${equation}`
  );
}

export const FOR = 'Speak for it';
export const AGAINST = 'Speak against it';
export const NONE = 'none';
export const OTHERS = 'The same channels with other weights: others count most then, and the map moves. ';

/** @param {Channel} channel */
export const channelLabel = ({ number, weight, share }) =>
  `Channel ${number}: weight ${signed(weight)}, ${percent(share)} of all that is added and subtracted`;

/** @param {Channel} channel */
export function channelText({ number, weight, values, share }) {
  const strongest = values.reduce((top, value) => (Math.abs(value) > Math.abs(top) ? value : top), 0);
  const below = values.reduce((sum, value) => sum + value, 0) < 0;
  return (
    `Channel ${number}, bright where it is active. Its strongest cell is ${shortened(strongest)}; times α, that is ` +
    `${signed(weight * strongest)}. Over all cells it makes up ${percent(share)} of all that is added and subtracted.` +
    `${below ? ' It is below zero here, so it counts with the opposite sign of α.' : ''}`
  );
}

export const SUM_TEXT =
  'Each channel is multiplied by its weight α, and all are added up, cell by cell, the strongest channels first. ' +
  'Move the slider and see the map assemble itself.';

/**
 * @param {Contributions} made
 * @param {number} count
 * @param {number} share of all that is added and subtracted
 * @param {number} ofTen that of the ten strongest
 */
export function sumText({ active, count: all }, count, share, ofTen) {
  const silent = all - active;
  const rest = silent ? ` ${counted(silent)} of all ${counted(all)} add nothing here.` : '';
  if (!active) return 'No channel adds anything: the score does not depend on this photo.';
  if (!count) return `Nothing is added yet.${rest}`;
  if (count >= active) {
    const strongest = active > 10 ? ` The 10 strongest of them make up ${percent(ofTen)}.` : '';
    return `All ${counted(active)} channels that add something here.${strongest}${rest}`;
  }
  const which = count === 1 ? 'The strongest channel makes up' : `The ${counted(count)} strongest make up`;
  return `${which} ${share < 0.995 ? percent(share) : 'over 99 %'} of all that is added and subtracted.${rest}`;
}

/**
 * @param {number} count
 * @param {number} active
 */
export const sumLabel = (count, active) => `${counted(count)} of ${counted(active)} channels`;

/** @type {Record<'for' | 'against', string>} */
export const COLOURS = { for: 'speaks for it', against: 'speaks against it' };

/**
 * @param {Result} result
 * @param {string | null} word
 */
export const reluText = (result, word) =>
  `The map is to show what speaks for ${named(result, word)}. So everything below zero is set to zero: that is the ` +
  'ReLU of Eq. 2. What it removes is the Counterfactual view.';
export const RELU = 'ReLU: remove what is below zero';

/** @param {boolean} empty */
export const mapText = (empty) =>
  empty
    ? 'Nothing is above zero: no part of this photo speaks for it, and the map is empty.'
    : 'At last the few cells are enlarged smoothly to the size of the photo, and coloured. This is the map above, ' +
      'number for number. Its soft edges come from the enlarging.';
export const SMOOTH = 'Enlarge smoothly';

export const NEXT = 'Next';
export const CLOSE = 'Close';
export const PLAY = 'Play';
export const PAUSE = 'Pause';
export const WAITING = 'One moment …';
export const SHOW_GRAD_CAM = 'Show it for Grad-CAM';

/** @param {MethodInfo} method */
export const notWeighted = ({ title, about }) =>
  `These steps are those of methods that give each channel one weight, by the gradient of the score. ${title} works ` +
  `otherwise: ${about}`;

// ---- The tour ----

/** @typedef {'move' | 'dog' | 'cover' | 'colour' | 'forget'} TourStep */

export const AWAY = 'You went on by yourself, and that is fine. The tour can bring you back to its photo.';
export const BRING_BACK = 'Back to its photo';
export const SKIP = 'End the tour';
export const FINISH = 'Finish';
export const NO_ANSWER = 'That did not work. Please try again.';

/** @type {Record<TourStep, { title: string, show: string, todo: (name: string) => string }>} */
export const TOUR = {
  move: {
    title: 'Watch the map move',
    show: 'Click it for me',
    todo: (name) => `The map shows why the network makes its first choice. In the list, click “${name}” instead.`,
  },
  dog: {
    title: 'Why not a dog?',
    show: 'Type it for me',
    todo: () => 'You can ask about anything. Type “dog” as the class, and press Explain.',
  },
  cover: {
    title: 'Cover the eyes',
    show: 'Cover them for me',
    todo: () => 'Does the network need the eyes of the cat? Paint over both, then press “Ask again”.',
  },
  colour: {
    title: 'Ask a question',
    show: 'Ask it for me',
    todo: () => 'Under VQA, the network answers questions. Ask “What color is the cat?”.',
  },
  forget: {
    title: 'Make it forget',
    show: 'Press it for me',
    todo: () =>
      'Is the map about the network, or only about the photo? Press Test: the layers of the network are made ' +
      'random, one after the other.',
  },
};

/** @param {Result} shown */
export const moved = ({ target, probability }) =>
  `The map has moved to what speaks for “${target}” (${percent(probability)}). Same photo, same network, another ` +
  'class: that is what Grad-CAM is for.';

/** @param {Result} shown */
export const dogFound = ({ target, probability, faint, raw }) =>
  `The likeliest dog here is “${target}”: ${percent(probability)}. ` +
  (raw.max && !faint
    ? 'The map shows what speaks for it, little as that is.'
    : 'There is hardly any evidence for it: its map is pale next to that of the first choice.');

/** @param {{ before: Result, after: Result, covered: number }} outcome */
export const coverFound = ({ before, after, covered }) =>
  `“${before.target}”: ${percent(before.probability)} before, ${percent(after.probability)} with ` +
  `${wholePercent(covered)} of the photo covered. So you can test what a map claims: cover it, and ask again.`;

/** @param {Result} shown */
export const colourFound = ({ target, probability }) =>
  `It answers “${target}” (${percent(probability)}), and the map shows what speaks for this answer.`;

export const FORGOT =
  'As the network forgets, its map falls apart: so it depends on what the network has learned. A map that stayed the ' +
  'same would show no more than the photo. That was the tour. “How was this map made?” shows the sum behind a map.';

/**
 * @param {number} at
 * @param {number} of
 */
export const tourPlace = (at, of) => `${at} of ${of}`;
