// Numbers as text.

export { chance, logOf, percent } from '../../gradcam_core/viewer/format.js';

/** @param {number} share */
export const wholePercent = (share) => `${(100 * share).toFixed(0)} %`;

/** @param {number} value of a caption it is tiny */
export const significant = (value) => (Math.abs(value) < 0.01 && value ? value.toPrecision(2) : value.toFixed(2));

/** @param {string} text */
export const capitalized = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;

/**
 * The last part of an address, decoded if it can be ("100%.png" cannot).
 * @param {URL} url
 */
export function fileName(url) {
  const name = url.pathname.split('/').pop() ?? '';
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
