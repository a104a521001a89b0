// Values derived from the state.

import * as scale from '../../gradcam_core/viewer/scale.js';
import { bytes } from '../../gradcam_core/viewer/unpack.js';
import { isGuided, store } from './store.js';

/** @import { HeatMap, MethodInfo, ModelInfo, Prediction, Result } from './types.js' */
/** @import { Evaluation, Style, Task, View } from './types.js' */
/** @import { Sanity } from './messages.js' */

/** @type {View[]} */
const VIEWS = ['grad-cam', 'guided', 'guided-grad-cam', 'counterfactual', 'spotlight'];

/** The result, if it is of the chosen photo. */
export function freshResult() {
  const { shown } = store.current;
  return shown?.photo === store.state.photo ? shown : null;
}

/** The same, but not of a live picture: its frame is gone. */
export const analysedResult = () => (store.state.photo?.frame ? null : freshResult());

/**
 * @param {Task} task
 * @param {string} name
 * @returns {ModelInfo} for a model by its id a placeholder: its facts are unknown before it is loaded
 */
export const modelInfo = (task, name) =>
  store.facts.tasks[task].find((info) => info.name === name) ?? {
    name,
    title: name,
    year: 0,
    megabytes: 0,
    here: false,
    guided: true,
  };

/** @param {string} name */
export const methodInfo = (name) => /** @type {MethodInfo} */ (store.facts.methods.find((each) => each.name === name));

/**
 * Whether a result is of the model's default layer, by Grad-CAM.
 * @param {Result} result
 */
export const isUsual = ({ layer, default_layer, method }) => layer === default_layer && method === 'grad-cam';

/**
 * The methods that apply to a model. They come with its answers: before the first, all are offered.
 * @param {Task} task
 * @param {string} model
 */
export function methodsFor(task, model) {
  const { history, tasks } = store.state;
  const known = [...history, tasks[task].shown].find((each) => each?.task === task && each.model === model);
  return store.facts.methods.filter(({ name }) => !known?.methods[name]);
}

/**
 * The views that a result has, or may have.
 * @param {Result} result
 */
export function viewsOf({ task, model }) {
  const guided = modelInfo(task, model).guided && !store.state.unguided.has(model);
  return VIEWS.filter((view) => guided || !isGuided(view));
}

/**
 * The first view is that of the method, which need not be Grad-CAM.
 * @param {View} view
 * @param {Result} result
 */
export const ownMethod = (view, { method }) =>
  view === 'grad-cam' && method !== 'grad-cam' ? methodInfo(method) : null;

/**
 * @param {Result} result
 * @param {View} view
 * @param {number | null} word
 */
export function mapOf(result, view, word) {
  if (view === 'counterfactual') return result.raw_counterfactual;
  return word == null ? result.raw : result.words[word].raw;
}

/**
 * Whether all maps are drawn on one scale. Unless the visitor decides: two targets of one network are,
 * since their values can be compared, and those of two networks are not. If the visitor decides against it, each map
 * has a scale of its own, even a faint one.
 */
export function sameScale() {
  const { second, compared } = store.current;
  return store.state.look.sameScale ?? !!(second && compared?.target);
}

/**
 * The first choice, then the others, the likeliest first: captions come in the order of their agreement.
 * @param {Pick<Result, 'predictions'>} result
 */
export const listedPredictions = ({ predictions: [best, ...others] }) => [
  best,
  ...others.toSorted((one, other) => other.probability - one.probability),
];

/** @param {Prediction[]} predictions */
export const isLikeliestFirst = ([best, ...others]) =>
  others.every(({ probability }) => probability <= best.probability);

/** Log-probability of a word that the network would hardly use at its place in a caption. */
const UNLIKELY = Math.log(0.01);

/**
 * The words of a caption that the network would hardly use there.
 * @param {Result} result
 */
export const unlikelyWords = ({ words }) => words.filter(({ log_prob }) => log_prob < UNLIKELY);

/**
 * Whether the target is among the predictions.
 * @param {Result} result
 */
export const isListed = ({ target, predictions }) => predictions.some(({ text }) => text === target);

/**
 * Whether what was typed is the name of another class or answer than the one explained.
 * @param {Result} result
 */
export const isReplaced = ({ typed, target }) =>
  !!typed && !/^\d+$/.test(typed) && typed.toLowerCase() !== target.toLowerCase();

/** @param {Result} result */
export const isGuess = ({ unsure, unknown_words }) => unsure || unknown_words.length > 0;

/**
 * @param {Pick<Result, 'first_choice_max'>} result
 * @param {Pick<HeatMap, 'max'>} map of the result
 */
export const isFaint = (result, map) => scale.isFaint(result, map, store.facts.faint_below);

/**
 * @param {Pick<Result, 'first_choice_max'>} result
 * @param {Pick<HeatMap, 'max'>} map of the result
 */
export const ownMax = (result, map) => scale.ownMax(result, map, store.facts.faint_below);

/**
 * The end of the shared scale: the largest value of the two maps that are shown; of one alone, that of all maps of
 * this photo that were made in the same way.
 * @param {View} view
 */
export function sharedMax(view) {
  /** @param {Result} result */
  const made = ({ photo, task, model, layer, method }) => [photo.key, task, model, layer, method].join();
  /** @param {Result} result */
  const mapsOf = (result) => [result.raw, result.raw_counterfactual, ...result.words.map(({ raw }) => raw)];
  const { shown, second, word } = store.current;
  if (!shown) return 0;
  if (second) return Math.max(ownMax(shown, mapOf(shown, view, word)), ownMax(second, mapOf(second, view, null)));
  const alike = store.state.history.filter((each) => made(each) === made(shown));
  return Math.max(...[shown, ...alike].flatMap((each) => mapsOf(each).map((map) => ownMax(each, map))));
}

/**
 * The value at which the colours of a map end.
 * @param {Result} result
 * @param {View} view
 * @param {number | null} word
 */
export function scaleMax(result, view, word) {
  const map = mapOf(result, view, word);
  if (sameScale()) return Math.max(map.max, sharedMax(view));
  return store.state.look.sameScale === false ? map.max : ownMax(result, map);
}

/** The same for a figure of what is shown; null: each row has its own. */
export function figureMax() {
  const { shown, second } = store.current;
  if (sameScale()) return Math.max(sharedMax('grad-cam'), sharedMax('counterfactual'));
  const end = shown && !second ? scaleMax(shown, 'grad-cam', null) : 0;
  return shown && end > shown.raw.max ? Math.max(end, shown.raw_counterfactual.max) : null;
}

/** @type {Map<string, Uint8Array>} */
const tables = new Map();

/** The colours of the chosen colour map. */
export function colourTable() {
  const { colour } = store.state.look;
  const table = tables.get(colour) ?? bytes(store.facts.colours[colour]);
  tables.set(colour, table);
  return table;
}

/**
 * @param {Result} result
 * @param {number | null} word
 * @param {View} [view]
 * @returns {Style}
 */
export function styleOf(result, word, view = store.state.look.view) {
  const map = mapOf(result, view, word);
  const gain = map.max / scaleMax(result, view, word) || 0;
  return { view, map, table: colourTable(), opacity: store.state.look.opacity, gain };
}

/**
 * What the network's forgetting does to its map.
 * @param {Evaluation['steps']} steps
 * @returns {Sanity}
 */
export function sanityCode(steps) {
  // The first step forgets only the last layer: which class is which.
  const [first, last] = [steps[0], steps[steps.length - 1]].map(({ correlation }) => Math.abs(correlation));
  if (last > 0.5) return 'unchanged';
  if (last > 0.3) return 'partly';
  return first > 0.75 ? 'not_specific' : 'passed';
}
