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

/** @param {number} value with its sign */
export function signed(value) {
  const size = Math.abs(value);
  const text = size && (size < 0.001 || size >= 1000) ? size.toExponential(1) : size.toPrecision(2);
  return `${value < 0 ? '\u2212' : '+'}${text}`;
}

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
export const OTHERS = 'Same channels, other weights, another map: ';

/** @param {Channel} channel */
export const channelLabel = ({ number, weight, share }) =>
  `Channel ${number}: weight ${signed(weight)}, ${percent(share)} of all that is added and subtracted`;

/** @param {Channel} channel */
export const channelText = ({ number, weight, peak, share }) =>
  `Channel ${number}, bright where it is active. Its strongest cell is ${peak.toPrecision(2)}; times α, ` +
  `that is ${signed(weight * peak)}. Over all cells it makes up ${percent(share)} of all that is added and subtracted.`;

export const SUM_TEXT =
  'Each channel is multiplied by its weight α, and all are added up, cell by cell, the strongest channels first. ' +
  'Move the slider and see the map assemble itself.';

/**
 * @param {Contributions} made
 * @param {number} count
 * @param {number} share
 */
export function sumText({ active, count: all }, count, share) {
  const silent = all - active;
  const rest = silent ? ` ${counted(silent)} of all ${counted(all)} add nothing here.` : '';
  if (!active) return 'No channel adds anything: the score does not depend on this photo.';
  if (!count) return `Nothing is added yet.${rest}`;
  if (count >= active) return `All ${counted(active)} channels that are active here.${rest}`;
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

export const INVITATION = 'New here? Five small experiments show what Grad-CAM does. It takes a minute.';
export const AWAY = 'You have gone on by yourself. The tour waits here.';
export const DO_IT = { move: 'Click it for me', dog: 'Type it for me', cover: 'Cover it for me' };

/** @type {Record<TourStep, { title: string, button: string, todo: (name: string) => string }>} */
export const TOUR = {
  move: {
    title: 'Watch the map move',
    button: 'Click it for me',
    todo: (name) => `The map shows why the network says its first choice. In the list, click “${name}” instead.`,
  },
  dog: {
    title: 'Why not a dog?',
    button: 'Type it for me',
    todo: () => 'You can ask for anything. Type “dog” and press Explain.',
  },
  cover: {
    title: 'Cover the eyes',
    button: 'Cover them for me',
    todo: () => 'Does the network need the eyes? Paint over both, then press “Ask again”.',
  },
  colour: {
    title: 'Ask a question',
    button: 'Ask it for me',
    todo: () => 'Under VQA, the network answers questions. Ask: “What colour is the cat?”',
  },
  forget: {
    title: 'Make it forget',
    button: 'Press it for me',
    todo: () =>
      'Is the map about the network, or only about the photo? Press Test: its layers turn random, one by one.',
  },
};

/** @param {Result} shown */
export const moved = ({ target, probability }) =>
  `The map moved to what speaks for “${target}” (${percent(probability)}). Same photo, same network, another ` +
  'question: that is what Grad-CAM is for.';

/** @param {Result} shown */
export const dogFound = ({ target, probability, faint, raw }) =>
  `The likeliest dog here is “${target}”: ${percent(probability)}. ` +
  (raw.max && !faint ? '' : 'The page says so: there is hardly any evidence for it. ') +
  'A map alone would not tell you: read the sentence above it, too.';

/**
 * @param {{ before: Result, after: Result, covered: number }} outcome
 */
export const coverFound = ({ before, after, covered }) =>
  `“${before.target}”: ${percent(before.probability)} before, ${percent(after.probability)} with ` +
  `${wholePercent(covered)} of the photo covered. So you can test what a map claims: cover it, and see what changes.`;

/** @param {Result} shown */
export const colourFound = ({ target, probability }) =>
  `It answers “${target}” (${percent(probability)}), and the map shows where it looked for that. ` +
  'Other questions have other maps.';

export const FORGOT =
  'As the network forgets, its map falls apart. So the map shows what the network has learned. A map that stayed ' +
  'would show the photo only.';
export const TOUR_END = 'That was the tour. The sum behind a map is under “How was this map made?”.';

/**
 * @param {number} at
 * @param {number} of
 */
export const tourPlace = (at, of) => `${at} of ${of}`;
