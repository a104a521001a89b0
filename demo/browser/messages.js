// Every sentence that the page composes, by code. Those of its fixed parts are in the HTML files.

import {
  captionLikelihood,
  firstChoiceScale,
  shareOfFirst,
  wordLikelihood,
} from '../../gradcam_core/viewer/messages.js';
import { chance, percent, significant, wholePercent } from './format.js';
import { isGuess, isListed, isReplaced, unlikelyWords } from './selectors.js';

export {
  HEADINGS,
  littleCounterevidence,
  noCounterevidence,
  VIEWS,
  WEAK,
  WHOLE_CAPTION_ONLY,
} from '../../gradcam_core/viewer/messages.js';

/**
 * @import { Box, Choice, Download, HeatMap, ModelInfo, Problem, Result, Status } from './types.js'
 * @import { Task, Test } from './types.js'
 */

/** @param {Status} status */
export function statusText(status) {
  switch (status.code) {
    case 'explaining':
      return 'Explaining …';
    case 'downloading':
      return 'Downloading the model, then explaining …';
    case 'uploading':
      return status.share ? `Uploading … ${10 * Math.floor(10 * status.share)} %` : 'Uploading …';
    case 'fetching':
      return `Fetching the picture from ${status.host} …`;
  }
}

const SAVE_IT = 'Save the picture and upload the file instead.';

/** @param {Problem} problem */
export function problemText(problem) {
  switch (problem.code) {
    case 'server':
      return problem.text;
    case 'busy':
      return `The demo is busy: ${problem.waiting} requests are waiting. Please try again in a minute.`;
    case 'too_large':
      return `${problem.name} is too large. The limit is ${problem.megabytes} MB.`;
    case 'not_uploaded':
      return `${problem.name} could not be uploaded. ${PROBLEMS.lost}`;
    case 'damaged':
      return `${problem.name} cannot be read. It is damaged, or no longer there.`;
    case 'not_found':
      return `${problem.host} has no picture at that address (status ${problem.status}).`;
    case 'not_fetched':
      return `${problem.host} cannot be reached, or does not let other pages fetch its pictures. ${SAVE_IT}`;
    default:
      return PROBLEMS[problem.code];
  }
}

const PROBLEMS = {
  lost: 'The server does not answer. It may be busy or offline. Please try again in a moment.',
  no_address: 'That is not a web address.',
  not_https: 'The address has to begin with https://.',
  web_page: 'That is the address of a web page, not of a picture. Open the picture by itself and copy its address.',
  no_camera: 'The browser does not let this page use the camera.',
  insecure_camera: 'The browser does not let this page use the camera. It needs https, or a page on this computer.',
  nothing_painted: 'Paint over a part of the photo first.',
};

export const OUT_OF_DATE = 'This page is out of date. Please reload it.';

/** @type {Record<Task, { target: string, placeholder: string, predictions: string, hint: string, noun: string }>} */
export const TASK_TEXTS = {
  classification: {
    target: 'Class',
    placeholder: 'Any class',
    predictions: 'Most likely classes',
    hint: 'click one to see why',
    noun: 'class',
  },
  captioning: {
    target: 'Caption',
    placeholder: 'Your own',
    predictions: 'The network’s own captions',
    hint: 'click one to see why; beside it: how likely exactly these words are',
    noun: 'caption',
  },
  vqa: {
    target: 'Answer',
    placeholder: 'Any answer',
    predictions: 'Most likely answers',
    hint: 'click one to see why',
    noun: 'answer',
  },
};

/** @type {Record<Task, string>} */
export const PRESENTED = {
  classification: '← → class, ↑ ↓ view, Esc to leave',
  captioning: '← → word, ↑ ↓ view, Esc to leave',
  vqa: '← → answer, ↑ ↓ view, Esc to leave',
};
export const WHOLE_CAPTION = 'whole caption';
/**
 * @param {string} text
 * @param {number} at
 * @param {number} count
 */
export const positionText = (text, at, count) => (at < 0 ? text : `${text}, ${at + 1} of ${count}`);

/** @param {number} rank */
export const rankText = (rank) => `${rank.toLocaleString('en')}.`;

// ---- The result ----

export const NO_RESULT = { title: 'Choose a photo', text: 'The network says what it sees, and Grad-CAM shows where.' };
export const FAILED = { title: 'No explanation', text: '' };

/**
 * The text under the heading.
 * @param {Result} result
 * @param {number | null} word
 */
export function summary(result, word) {
  if (word != null) {
    const chosen = result.words[word];
    const unlikely = unlikelyWords(result).includes(chosen) ? ' The network would hardly say it there.' : '';
    return `${wordLikelihood(chosen.log_prob)}${unlikely}`;
  }
  const { unknown_words: unknown } = result;
  const lines = [unknown.length ? `Not understood: ${unknown.join(', ')}.` : ''];
  lines.push(result.task === 'captioning' ? captionSummary(result) : labelSummary(result));
  if (isGuess(result)) lines.push('The network is guessing.');
  return lines.filter(Boolean).join(' ');
}

/** @param {Result} result */
function captionSummary(result) {
  const {
    target,
    score,
    predictions: [best],
  } = result;
  const unlikely = unlikelyWords(result).map(({ text }) => `“${text}”`);
  const own = target === best.text;
  return [
    `${captionLikelihood(score)}.`,
    unlikely.length && !own ? `The network would hardly say ${unlikely.join(', ')} there.` : '',
    own
      ? 'The network’s own caption; click a word to see where it comes from.'
      : `The network’s own caption: “${best.text}” (${chance(best.probability)}).`,
  ]
    .filter(Boolean)
    .join(' ');
}

/** @param {Result} result */
function labelSummary(result) {
  const {
    typed,
    target,
    probability,
    rank,
    predictions: [best],
  } = result;
  const place = isListed(result) || rank === null ? '' : `, rank ${rank.toLocaleString('en')}`;
  const likely = `Probability ${percent(probability)}${place}`;
  return [
    isReplaced(result) ? `“${typed}” is read as the most likely match: ${target}.` : '',
    best.text === target
      ? `${likely}: the network’s first choice.`
      : `${likely}. The network’s first choice is ${best.text} (${percent(best.probability)}).`,
  ]
    .filter(Boolean)
    .join(' ');
}

/**
 * The small print.
 * @param {Result} result
 * @param {ModelInfo} info
 */
export function technicalDetails(result, info) {
  const [left, top, right, bottom] = result.box;
  const cropped = left > 0 || top > 0 || right < 1 || bottom < 1;
  return [
    `${info.title}, layer ${result.layer}: ${result.raw.w}\u00a0×\u00a0${result.raw.h} cells.`,
    result.task === 'captioning' ? '' : `Score (logit) ${result.score.toFixed(2)}.`,
    `${result.milliseconds}\u00a0ms.`,
    cropped
      ? 'The network saw only the middle of the photo; the map is empty outside.'
      : 'The network saw the whole photo.',
    ...result.remarks,
  ]
    .filter(Boolean)
    .join(' ');
}

/**
 * Above each of two pictures that are shown side by side.
 * @param {Result} result
 * @param {string | null} model if models are compared
 */
export function comparisonCaption({ task, target, score, probability, raw, faint, predictions: [best] }, model) {
  const value = task === 'captioning' ? chance(Math.exp(score)) : percent(probability);
  const evidence = !raw.max ? '; nothing speaks for it' : faint ? '; hardly any evidence' : '';
  return `${target}: ${value}${evidence}${model ? ` by ${model}; its first choice is ${best.text}` : ''}`;
}

/** @param {string} target */
export const staleTarget = (target) => `Still showing “${target}”.`;
/**
 * What is used instead of a choice that failed: what differs between the two.
 * @param {Choice} now
 * @param {Choice} failed
 * @param {{ model: string, method: string }} titles of what is used now
 */
export function fallbackText(now, failed, titles) {
  if (now.model !== failed.model) return `Explained by ${titles.model} instead.`;
  const method = now.method === failed.method ? '' : ` by ${titles.method}`;
  const layer = now.layer === failed.layer ? '' : ` at ${now.layer === null ? 'the usual layer' : now.layer}`;
  return `Explained${method}${layer} instead.`;
}

/**
 * @param {string | null} layer null: the usual one
 * @param {string | null} method its title; null: the usual one
 */
export function unusualText(layer, method) {
  const what = [layer && 'layer', method && 'method'].filter(Boolean).join(' and ');
  const chosen = [method && `by ${method}`, layer && `at layer ${layer}`].filter(Boolean).join(' ');
  return `Not the usual ${what}: ${chosen}.`;
}

export const STALE_PHOTO = 'Still showing the previous photo.';

/** @param {Download} download */
export const downloadOffer = ({ title, megabytes, licence, limits }) =>
  `${title} has not been downloaded yet: ${megabytes.toLocaleString('en')} MB, licence ${licence}. ` +
  `It is kept for later. ${limits}`;

/** @typedef {'models_apart' | 'apart' | 'models_same' | 'targets_same' | 'all_same'} Together */
/** @typedef {Together | 'first_choice' | 'faint_alone' | 'single'} Scale */

/** @type {Record<Scale, (result: Result, map: HeatMap) => string>} */
export const SCALES = {
  models_apart: () =>
    'The better of two models looks at the thing itself, not at what is around it (paper, section 5.2). ' +
    'Each map has its own scale; a faint one has that of its network’s first choice.',
  apart: () => 'Each map has its own scale: colours show where, not how much.',
  models_same: () => 'Both use one scale, but the two networks count in different units: compare places, not colours.',
  targets_same: () => 'Both use one scale: the same colour is the same amount of evidence, so a weak map is pale.',
  all_same: () => 'One scale for everything you see of this photo: the same colour is the same amount of evidence.',
  first_choice: firstChoiceScale,
  faint_alone: (result, map) =>
    'Colours show where, not how much: even the strongest is only ' +
    `${shareOfFirst(result, map)} of that of the first choice, ${result.predictions[0].text}.`,
  single: () => '',
};

/** @param {number} rate */
export const liveRate = (rate) =>
  rate ? `${rate.toFixed(1)} explanations per second; the frames in between are skipped.` : '';

/** @param {ModelInfo} info */
export function modelOption({ title, year, megabytes, here, name }) {
  const size = !megabytes ? 'built in' : here ? 'no download needed' : `${megabytes.toLocaleString('en')} MB`;
  return `${title}${year ? `, ${year}` : ''} · ${size} (${name})`;
}

/** @typedef {'picture' | 'no_picture' | 'link' | 'no_link'} Copied */

/** @type {Record<Copied, string>} */
export const COPIED = {
  picture: 'The picture is copied. Paste it where you want it.',
  no_picture:
    'This browser does not let the page copy pictures. Right-click the picture, or hold your finger on it, ' +
    'and choose “Copy image”.',
  link: 'The link is copied.',
  no_link: 'This browser does not let the page copy the link. It is the address at the top of the window.',
};

// ---- The sections under the result ----

export const WORKING = 'Working … Stop';
export const STOPPING = 'Stopping …';

/** @type {Record<Test, { title: string, about: string }>} */
export const TESTS = {
  occlusion: {
    title: 'Cover part after part',
    about:
      'A grey square is moved over the photo. Where covering it lowers the score most, the network looked. ' +
      'Does the map rank the parts in the same order?',
  },
  curves: {
    title: 'Remove what it marks, and bring it back',
    about:
      'What the map marks turns grey, the strongest parts first: with a good map the probability falls at once. ' +
      'Then it comes back into a blurred photo: with a good map the probability rises at once.',
  },
  sanity: {
    title: 'Make the network forget',
    about:
      'Its layers are filled with random numbers, from the last to the first. A map that does not change ' +
      'explains the photo, not the network.',
  },
  fool: {
    title: 'Make it say something else',
    about:
      'The photo is changed so little that nobody sees it, until the network says another class. ' +
      'Does the map of the original class stay where it was?',
  },
};
/** @param {number} centre what a map of the photo's centre reaches */
export const occlusionNote = (centre) =>
  `. 1: the same order of parts, 0: no relation; higher is better. The photo’s centre reaches ${centre.toFixed(2)}. ` +
  'The paper (section 5.3) reports .254 for Grad-CAM, averaged over many photos.';
/** What decides the verdict. */
export const VERDICT_NOTE =
  'The verdict compares the map with others: of the photo’s centre, of other answers, and copies in random order and ' +
  'in other places. It says “cannot tell” unless the map does better than all of them.';
export const SANITY_NOTE =
  'Below each map: the layer that was made random last (all after it are random too), and the rank correlation ' +
  'with the true map; near 0 is good (Adebayo et al. 2018).';

export const STRIPS = {
  methods: {
    title: 'Methods',
    about:
      'Other ways to make a map of the same network, photo and target, at the same layer. Each is coloured up to ' +
      'its own maximum, since their units differ, but a faint one is pale. At the last layer of most networks CAM, ' +
      'Grad-CAM, XGrad-CAM and ' +
      'HiResCAM are the same map. Click one to see it large.',
    label: 'Draw the quick ones',
  },
  layers: {
    title: 'Layers',
    about:
      'The same method at each layer, from the input to the output: early layers see edges, late ones things ' +
      '(Figure 12 of the paper). Each is coloured up to its own maximum.',
    label: 'Draw all layers',
  },
};
export const SAME_AT_ALL_LAYERS =
  'The same at every layer: this method uses the network as a whole. Choose another in Options to compare layers.';

/**
 * @param {number} share of all that speaks for the target
 * @param {string} target
 */
export const conceptsTotal = (share, target) =>
  `Together ${wholePercent(share)} of what speaks for ${target} (or against it, where that is more). ` +
  'The rest has no name.';
/** @param {string} target */
export const noConcepts = (target) => `No concept with a name speaks for ${target} here, or against it.`;
/**
 * @param {number} share
 * @param {number} correct
 */
export const conceptCaption = (share, correct) =>
  `${wholePercent(Math.abs(share))} ${share > 0 ? 'for it' : 'against it'}. ` +
  `Of the 10 photos where it was strongest, ${correct} have it.`;

/** @typedef {'unchanged' | 'partly' | 'not_specific' | 'passed'} Sanity */

/** @type {Record<Sanity, string>} */
export const SANITY = {
  unchanged: 'The map hardly changes: it shows the photo rather than what the network learned.',
  not_specific:
    'The map falls apart in the end, but stays while only the last layer is random: ' +
    'it depends on what the network learned, but hardly on which class it is.',
  partly: 'The map changes as the network forgets, but stays alike: in part it shows the photo only.',
  passed:
    'The map falls apart as the network forgets: it depends on what the network learned. ' +
    'A good map has to, but that alone does not prove it right.',
};

/**
 * @param {boolean} fooled
 * @param {string} said
 * @param {number} probability
 * @param {boolean} stays whether the box around the map still has the thing in it
 */
export function fooledVerdict(fooled, said, probability, stays) {
  const box = `The box around the map of the original class ${stays ? 'stays' : 'moves away'}.`;
  return `It ${fooled ? 'now says' : 'still says'} “${said}” (${percent(probability)}). ${box}`;
}

/** @param {{ target: string, before: number, after: number, radius: number }} found */
export const fooledNote = ({ target, before, after, radius }) =>
  ` between the maps of “${target}” before and after; 1 is the same. Its probability went from ${percent(before)} ` +
  `to ${percent(after)}. No colour value (0 to 255) was changed by more than ${radius}. ` +
  'The paper (section 6.2) shows maps that stay.';

/**
 * @param {{ target: string, before: string, after: string, covered: number, first: string, then: string }} found
 */
export function paintVerdict({ target, before, after, covered, first, then }) {
  const choice =
    first === then ? `Its first choice is still “${then}”.` : `It now says “${then}” instead of “${first}”.`;
  return `“${target}”: ${before} before, ${after} with ${wholePercent(covered)} of the photo covered. ${choice}`;
}

/** @param {boolean} alike */
export const differenceVerdict = (alike) =>
  alike
    ? 'The two maps differ little: this network finds both in much the same places.'
    : 'The two maps differ: the colours show where.';

/** @param {number} share */
export const differenceShare = (share) =>
  share ? `: up to ${wholePercent(share)} of the stronger map’s maximum` : ': nowhere';

/** @typedef {'box' | 'everywhere' | 'faint' | 'empty'} Located */

/** @type {Record<Exclude<Located, 'box'>, string>} */
export const NO_BOX = {
  everywhere:
    'The map is above this share almost everywhere, so a box would not say where it is. ' +
    'Move the slider to the right for the strongest part.',
  faint: 'There is hardly any evidence for it in this photo, so a box around it would mean nothing.',
  empty: 'The map is empty: there is nothing to put a box around.',
};

/**
 * @param {Box} box in pixels
 * @param {number} width
 * @param {number} height
 */
export function boxText(box, width, height) {
  const [left, top, right, bottom] = box.map((at, i) => wholePercent(at / (i % 2 ? height : width)));
  const pixels = `in pixels of ${width} × ${height}: ${box.join(', ')} (left, top, right, bottom)`;
  return `From ${left} to ${right} across and from ${top} to ${bottom} down; ${pixels}.`;
}

/**
 * @param {number} drop
 * @param {boolean} rises
 */
export const dropText = (drop, rises) => [
  `Drop ${wholePercent(drop)}`,
  `: how much of the probability is lost when only the marked parts are shown (0 is best)` +
    `${rises ? '; here it even rises' : ''}. ` +
    'Curves: Petsiuk et al. 2018; drop: Chattopadhay et al. 2018.',
];

/** @param {number} road */
export const roadText = (road) => [
  `ROAD ${significant(road)}`,
  ': removed parts are filled in from around them, so that no hole gives them away. Half of the probability without ' +
    'the least marked parts, minus that without the most marked parts; 0 is chance, 0.5 is best (Rong et al. 2022).',
];
