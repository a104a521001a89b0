// The table of several photos, as a CSV file.

import { firstChoice, problemOf, resultOf } from './arrange.js';

/** @import { Asked, Problem, Tile } from '../types.js' */

const COLUMNS = [
  ...['photo', 'task', 'question', 'model', 'layer', 'method', 'target', 'probability', 'rank', 'score'],
  ...['first_choice', 'first_choice_probability', 'unsure', 'faint', 'map_max', 'error'],
];

/**
 * @param {readonly Tile[]} tiles
 * @param {Asked} asked
 * @param {(problem: Problem) => string} problemText
 */
export function table(tiles, asked, problemText) {
  const rows = tiles.map((tile) => {
    const [result, problem] = [resultOf(tile), problemOf(tile)];
    const { task, question, model, layer, method, target } = result ?? asked;
    const query = [tile.photo.name, task, question, model, layer, method, target];
    if (!result) return [...query, ...Array(8).fill(null), problem && problemText(problem)];
    const { probability, rank, score, unsure, faint, raw } = result;
    const first = firstChoice(result);
    return [...query, probability, rank, score, first.text, first.probability, unsure, faint, raw.max, null];
  });
  return [COLUMNS, ...rows].map((row) => `${row.map(field).join(',')}\r\n`).join('');
}

/**
 * A field as RFC 4180 says. Spreadsheets run texts that begin in certain ways as formulas: an apostrophe prevents that.
 * @param {string | number | boolean | null} value
 */
function field(value) {
  if (typeof value !== 'string') return String(value ?? '');
  const text = /^\s*[=+\-@＝＋－＠]|^[\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
