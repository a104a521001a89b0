// Where the colours of a map end.

/** @import { Explanation, HeatMap } from './types.js' */

/**
 * Whether a map shows little next to the first choice's.
 * @param {Pick<Explanation, 'first_choice_max'>} result
 * @param {Pick<HeatMap, 'max'>} map of the result
 * @param {number} below a share of the first choice's maximum
 */
export const isFaint = ({ first_choice_max: first }, { max }, below) =>
  first !== null && max > 0 && max < below * first;

/**
 * The value at which the colours of a map end that is shown by itself: of a faint one where those of the
 * first choice's end, so that it is pale.
 * @param {Pick<Explanation, 'first_choice_max'>} result
 * @param {Pick<HeatMap, 'max'>} map of the result
 * @param {number} below
 */
export const ownMax = (result, map, below) => (isFaint(result, map, below) ? (result.first_choice_max ?? 0) : map.max);
