// Numbers as text.

/** @param {number} p a probability */
export function percent(p) {
  if (p >= 0.0995) return `${(100 * p).toFixed(0)} %`;
  return p >= 0.001 ? `${(100 * p).toFixed(1)} %` : 'under 0.1 %';
}

/** @param {number} p */
export const logOf = (p) => Math.log(Math.max(p, 1e-300)).toFixed(1);

/**
 * Of captions and their words, whose probability may be tiny.
 * @param {number} p
 */
export function chance(p) {
  if (p >= 0.01) return percent(p);
  return p < 1e-9 ? 'under 1 in a billion' : `1 in ${Number((1 / p).toPrecision(2)).toLocaleString('en')}`;
}
