// The drawing of how Grad-CAM works, with the numbers of what is shown.

import { $, all } from '../dom.js';
import { methodInfo, modelInfo } from '../selectors.js';
import { store, TASKS } from '../store.js';

/** @import { Result } from '../types.js' */

/** Methods that use something other than the gradient at the feature map. */
const NO_GRADIENT = ['cam', 'occlusion', 'score-cam', 'rise', 'attention-rollout', 'attention'];
const AT_PIXELS = ['gradient', 'smoothgrad', 'integrated-gradients', 'guided-backprop', 'deconvnet'];
const BOTH = ['guided-grad-cam', 'deconv-grad-cam'];

export function mountFigure2() {
  $('.reading').addEventListener('toggle', render);
  store.subscribe(['tasks', 'tab'], render);
}

/** @param {string} name */
const parts = (name) => all(`.how-${name}`);

/**
 * @param {string} name
 * @param {string} text
 */
function write(name, text) {
  for (const node of parts(name)) node.textContent = text;
}

/**
 * @param {string} name
 * @param {boolean} lit
 */
function light(name, lit) {
  for (const node of parts(name)) node.classList.toggle('lit', lit);
}

function render() {
  if (!(/** @type {HTMLDetailsElement} */ ($('.reading')).open)) return;
  const { shown, word } = store.current;
  const method = methodInfo(shown?.method ?? 'grad-cam');
  const plain = method.name === 'grad-cam';
  const both = BOTH.includes(method.name);
  const gradient = !NO_GRADIENT.includes(method.name) && !AT_PIXELS.includes(method.name);
  const pixels = AT_PIXELS.includes(method.name) || both || !!shown?.gradient;
  const average = 'gradient ∂y/∂A, averaged: a weight α for each channel';
  write('weights', plain || !gradient ? average : `gradient ∂y/∂A, as ${method.title} weighs it`);
  write('method', plain ? 'ReLU(Σ α A): the heat map' : `${method.title}: the heat map`);
  for (const task of TASKS) light(task, shown?.task === task);
  light('gradient', gradient);
  light('pixels', pixels);
  light('product', pixels && (!!shown?.gradient || both));
  if (shown) writeNumbers(shown, word);
}

/**
 * @param {Result} shown
 * @param {number | null} word
 */
function writeNumbers(shown, word) {
  const { task, model, layer, method, raw } = shown;
  const cells = `${layer}, ${raw.w} × ${raw.h} cells`;
  const output = word == null ? shown.target : shown.words[word].text;
  const score = (word == null ? shown.score : shown.words[word].log_prob).toFixed(2);
  write('map', cells);
  write('score', `score y = ${score}`);
  const short = output.length > 20 ? `${output.slice(0, 19)}…` : output;
  for (const node of parts('output')) {
    node.textContent = node.closest(`.how-${task}`) ? `“${short}”` : (node.dataset.else ?? '');
  }
  const kind = task === 'captioning' ? 'log-probability' : 'score (logit)';
  const { title, about } = methodInfo(method);
  const made = `the map is that of layer ${cells}, made by ${title}: ${about}`;
  const guided = shown.gradient ? ' Guided Backprop was computed too.' : '';
  write('path', `Now: ${modelInfo(task, model).title} gives “${output}” a ${kind} of ${score}; ${made}${guided}`);
}
