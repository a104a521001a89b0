// Which photos of the grid are shown, in which order.

import { isGuess } from '../selectors.js';

/** @import { Asked, Photo, Result, Several, Sort, Tile } from '../types.js' */

/** What `only` may be, besides '' for all, and the name of a first choice after "=". */
export const UNSURE = 'unsure';
export const FAILED = 'failed';
export const named = (/** @type {string} */ name) => `=${name}`;

/**
 * @param {Photo} photo
 * @param {Asked} asked
 */
export const tileKey = ({ key }, { task, model, layer, method, question, target }) =>
  JSON.stringify([key, task, model, layer, method, question, target]);

/**
 * All photos, in the order in which they were added.
 * @param {Pick<Several, 'photos' | 'asked' | 'explained'>} several
 * @returns {Tile[]}
 */
export const tilesOf = ({ photos, asked, explained }) =>
  photos.map((photo) => ({ photo, found: (asked && explained.get(tileKey(photo, asked))) ?? null }));

/**
 * @param {Tile} tile
 * @returns {Result | null}
 */
export const resultOf = ({ found }) => (found && 'raw' in found ? found : null);

/** @param {Tile} tile */
export const problemOf = ({ found }) => (found && 'problem' in found ? found.problem : null);

/** @param {Result} result */
export const firstChoice = ({ predictions }) => predictions[0];

/**
 * First choices and how many photos have each, the most frequent first.
 * @param {readonly Tile[]} tiles
 * @returns {[name: string, count: number][]}
 */
export function firstChoices(tiles) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const result of tiles.map(resultOf)) {
    if (result) counts.set(firstChoice(result).text, (counts.get(firstChoice(result).text) ?? 0) + 1);
  }
  return [...counts].sort(([one, n], [other, m]) => m - n || one.localeCompare(other));
}

/** @param {readonly Tile[]} tiles */
export const unsure = (tiles) =>
  tiles.filter((tile) => resultOf(tile) && isGuess(/** @type {Result} */ (resultOf(tile))));

/** @param {readonly Tile[]} tiles */
export const failed = (tiles) => tiles.filter(problemOf);

/**
 * By how likely the target is; those that are not explained come last.
 * @type {Record<Sort, (one: Tile, other: Tile) => number>}
 */
const ORDERS = {
  added: () => 0,
  name: (one, other) =>
    (firstOf(one) ?? '\uffff').localeCompare(firstOf(other) ?? '\uffff') || ORDERS.likely(one, other),
  likely: (one, other) => (resultOf(other)?.probability ?? -1) - (resultOf(one)?.probability ?? -1),
  unlikely: (one, other) => (resultOf(one)?.probability ?? 2) - (resultOf(other)?.probability ?? 2),
};

/** @param {Tile} tile */
function firstOf(tile) {
  const result = resultOf(tile);
  return result && firstChoice(result).text;
}

/**
 * @param {readonly Tile[]} tiles
 * @param {Sort} sort
 * @param {string} only
 */
export function arranged(tiles, sort, only) {
  const shown =
    only === UNSURE
      ? unsure(tiles)
      : only === FAILED
        ? failed(tiles)
        : tiles.filter((tile) => !only || named(firstOf(tile) ?? '') === only);
  return shown.toSorted(ORDERS[sort]);
}
