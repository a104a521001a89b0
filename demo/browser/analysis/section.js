// Shared by the sections under the result: they are closed at first, and compute only on request.

import { draw, fit } from '../../../gradcam_core/viewer/draw.js';
import { $, make } from '../dom.js';
import { problemText, STOPPING, WORKING } from '../messages.js';
import { analysedResult, styleOf } from '../selectors.js';
import { call, stop } from '../server.js';
import { store } from '../store.js';

/** @import { HeatMap, Lane, Problem, Reply, Result } from '../types.js' */

export function mountAnalysis() {
  store.subscribe(['photo', 'tasks', 'tab', 'analysis'], () => {
    const result = analysedResult();
    const { running } = store.state.analysis;
    if (running && running.key !== result?.key && !running.stopping) stopWork();
    $('.analysis').hidden = !result;
    $('details.concepts').hidden = !result?.concepts; // only few networks have named concepts
  });
}

/**
 * Render a section whenever it is open and something has changed.
 * @param {string} name
 * @param {(result: Result) => void} render
 */
export function mountSection(name, render) {
  const details = /** @type {HTMLDetailsElement} */ ($(`details.${name}`));
  const update = () => {
    const result = analysedResult();
    if (result && details.open && !details.hidden) render(result);
  };
  details.addEventListener('toggle', update);
  store.subscribe(['photo', 'tasks', 'tab', 'look', 'history', 'analysis', 'paint'], update);
}

/**
 * The request that led to a result, changed.
 * @param {Result} result
 * @param {Record<string, unknown>} more
 */
export function requestFor({ photo, task, model, layer, method, question, target }, more) {
  const where = photo.example ? { example: photo.example } : { upload: photo.upload };
  return { ...where, task, model, layer, method, question: task === 'vqa' ? question : null, target, ...more };
}

/** @typedef {(lane: Lane, data: Record<string, unknown>) => Promise<Reply | null>} Ask null: the work was stopped */

/**
 * Do some work step by step; one at a time.
 * @param {string} name
 * @param {(ask: Ask) => Promise<void>} steps
 */
export async function work(name, steps) {
  const result = analysedResult();
  if (store.state.analysis.running || !result) return;
  const stopped = () => !!store.state.analysis.running?.stopping;
  store.beginWork(name, result.key);
  try {
    await steps(async (lane, data) => {
      if (stopped()) return null;
      store.workIn(lane);
      const reply = await call(lane, data);
      store.workIn(null);
      if (reply?.code === 'cancelled') store.stopWork();
      return stopped() ? null : (reply ?? { problem: { code: 'lost' } });
    });
  } finally {
    store.endWork();
  }
}

function stopWork() {
  const lane = store.state.analysis.running?.lane;
  store.stopWork();
  if (lane) stop(lane);
}

/** @param {() => void} start a button that starts something stops it while it goes on */
export const startOrStop = (start) => () => (store.state.analysis.running ? stopWork() : start());

/**
 * @param {HTMLButtonElement} each
 * @param {string} name of the work that it starts
 * @param {string} label
 * @param {boolean} [ready]
 */
export function renderStart(each, name, label, ready = true) {
  const { running } = store.state.analysis;
  const own = running?.name === name;
  each.textContent = own ? (running.stopping ? STOPPING : WORKING) : label;
  each.disabled = own ? running.stopping : !!running || !ready;
  each.setAttribute('aria-busy', String(own));
}

/**
 * @param {HTMLElement} box
 * @param {Problem | null | undefined} problem
 */
export function renderProblem(box, problem) {
  box.hidden = !problem;
  box.dataset.code = problem?.code ?? '';
  const text = problem ? problemText(problem) : '';
  if (box.textContent !== text) box.textContent = text; // a screen reader reads it out each time that it is set
}

/**
 * A small picture of a map over its photo.
 * @param {Result} result
 * @param {HeatMap} map
 * @param {string} label
 * @param {number} [side]
 * @param {number} [gain]
 */
export function miniature(result, map, label, side = 320, gain = 1) {
  const canvas = fit(make('canvas', { role: 'img', 'aria-label': label }), result.photo.image, side);
  draw(canvas, result, { ...styleOf(result, null, 'grad-cam'), map, gain });
  return canvas;
}

/**
 * @param {string} caption
 * @param {HTMLElement} picture
 */
export const captioned = (caption, picture) => make('figure', {}, make('figcaption', {}, caption), picture);
