// Values derived from the state.

import { bytes } from '../../gradcam_core/viewer/unpack.js';
import { isGuided, store } from './store.js';

/** @import { Contradiction, Evaluation, MethodInfo, ModelInfo, Result, Style, Task, Test, View } from './types.js' */

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
    guided: true,
  };

/** @param {string} name */
export const methodInfo = (name) => /** @type {MethodInfo} */ (store.facts.methods.find((each) => each.name === name));

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
 * since their values can be compared, and those of two networks are not.
 */
export function sameScale() {
  const { second, compared } = store.current;
  return store.state.look.sameScale ?? !!(second && compared?.target);
}

/** Log-probability of a word that the network would hardly use at its place in a caption. */
const UNLIKELY = Math.log(0.01);

/**
 * The words of a caption that the network would hardly use there.
 * @param {Result} result
 */
export const unlikelyWords = ({ words }) => words.filter(({ log_prob }) => log_prob < UNLIKELY);

/**
 * Whether what was typed is the name of another class or answer than the one explained.
 * @param {Result} result
 */
export const isReplaced = ({ typed, target }) =>
  !!typed && !/^\d+$/.test(typed) && typed.toLowerCase() !== target.toLowerCase();

/** @param {Result} result */
export const isGuess = ({ unsure, unknown_words }) => unsure || unknown_words.length > 0;

/** The end of the shared scale: the largest value of all maps of this photo that were made in the same way. */
export function sharedMax() {
  /** @param {Result} result */
  const made = ({ photo, task, model, layer, method }) => [photo.key, task, model, layer, method].join();
  const { shown, second } = store.current;
  const now = [shown, second].filter((each) => each !== null);
  const ways = now.map(made);
  const all = [...now, ...store.state.history.filter((each) => ways.includes(made(each)))];
  return Math.max(...all.flatMap((r) => [r.raw.max, r.raw_counterfactual.max, ...r.words.map(({ raw }) => raw.max)]));
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
  const gain = sameScale() ? map.max / sharedMax() || 0 : 1;
  return { view, map, table: colourTable(), opacity: store.state.look.opacity, gain };
}

/**
 * The results of two tests of a map that contradict each other; null if they agree.
 * @param {Partial<Record<Test, Pick<Evaluation, 'supports'>>>} evaluations
 * @returns {Contradiction | null}
 */
export function contradiction({ occlusion, curves }) {
  if (!occlusion?.supports || !curves?.supports) return null;
  const { deletion: needed, insertion: enough } = curves.supports;
  const alike = occlusion.supports['occlusion-correlation'];
  return needed === enough && enough === alike ? null : { needed, enough, alike };
}
