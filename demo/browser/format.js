// Numbers as text.

/** @param {number} p a probability */
export function percent(p) {
  if (p >= 0.0995) return `${(100 * p).toFixed(0)} %`;
  return p >= 0.001 ? `${(100 * p).toFixed(1)} %` : 'under 0.1 %';
}

/** @param {number} share */
export const wholePercent = (share) => `${(100 * share).toFixed(0)} %`;

/** @param {number} p */
export const logOf = (p) => Math.log(Math.max(p, 1e-300)).toFixed(1);

/** @param {number} value of a caption it is tiny */
export const significant = (value) => (Math.abs(value) < 0.01 && value ? value.toPrecision(2) : value.toFixed(2));

/** @param {string} text */
export const capitalized = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;
