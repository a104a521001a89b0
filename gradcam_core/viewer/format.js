// Numbers as text.

/** @param {number} p a probability */
export function percent(p) {
  if (p >= 0.0995) return `${(100 * p).toFixed(0)} %`;
  return p >= 0.001 ? `${(100 * p).toFixed(1)} %` : 'under 0.1 %';
}

/** @param {number} p */
export const logOf = (p) => Math.log(Math.max(p, 1e-300)).toFixed(1);
