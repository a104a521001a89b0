// The small pictures that switch the view, and the controls of how it is drawn.

import { draw, drawScale, resize, sizeOf } from '../../../gradcam_core/viewer/draw.js';
import { $, all, arrowKeys, button, make, onChange } from '../dom.js';
import { explain } from '../explain.js';
import { littleCounterevidence, noCounterevidence, SCALES, VIEWS, WEAK, WHOLE_CAPTION_ONLY } from '../messages.js';
import {
  colourTable,
  freshResult,
  isFaint,
  mapOf,
  ownMethod,
  sameScale,
  scaleMax,
  styleOf,
  viewsOf,
} from '../selectors.js';
import { isGuided, store } from '../store.js';

/** @import { HeatMap, Result, View } from '../types.js' */
/** @import { Scale } from '../messages.js' */

const SIDE = 120; // pixels

export function mountThumbnails() {
  const markStop = arrowKeys($('.views'));
  const { colour, opacity } = store.state.look;
  const names = Object.keys(store.facts.colours);
  $('.colour').append(...names.map((name) => make('option', { value: name, selected: name === colour }, name)));
  onChange('.colour', (name) => store.changeLook({ colour: name }));
  $('.opacity input').setAttribute('value', String(opacity));
  onChange('.opacity input', (value) => store.changeLook({ opacity: Number(value) }), 'input');
  onChange('.same-scale input', (_, field) => store.changeLook({ sameScale: field.checked }));
  store.subscribe(['photo', 'tasks', 'tab', 'look', 'history', 'unguided'], () => {
    const result = freshResult();
    for (const part of ['.views', '.scale', '.about-view', '.controls']) $(part).hidden = !result;
    if (!result) return;
    renderButtons(result);
    markStop();
    renderScale(result);
  });
}

/** @param {View} view */
export function chooseView(view) {
  store.changeLook({ view });
  const { shown } = store.current;
  if (isGuided(view) && shown && !shown.gradient) explain({ again: shown.target });
}

/** @param {Result} result */
function renderButtons(result) {
  const views = viewsOf(result);
  const box = $('.views');
  if (box.childElementCount !== views.length) {
    const newButton = (/** @type {View} */ view) =>
      button(
        { 'data-view': view, onclick: () => chooseView(view) },
        make('canvas', { 'aria-hidden': true }),
        make('span'),
      );
    box.replaceChildren(...views.map(newButton));
  }
  for (const [i, each] of /** @type {HTMLButtonElement[]} */ (all('.views button')).entries()) {
    renderButton(each, views[i], result);
  }
}

/**
 * @param {HTMLButtonElement} each
 * @param {View} view
 * @param {Result} result
 */
function renderButton(each, view, result) {
  const { word } = store.current;
  const canvas = /** @type {HTMLCanvasElement} */ (each.firstChild);
  const label = /** @type {HTMLElement} */ (each.lastChild);
  const [w, h] = sizeOf(result.photo.image);
  const width = w >= h ? SIDE : (SIDE * w) / h;
  resize(canvas, width, (width * h) / w);
  const { title, about } = ownMethod(view, result) ?? { title: VIEWS[view][0], about: VIEWS[view][1] };
  label.textContent = title;
  each.disabled = word != null && view !== 'grad-cam' && view !== 'spotlight';
  each.title = each.disabled ? WHOLE_CAPTION_ONLY : about;
  each.setAttribute('aria-pressed', String(view === store.state.look.view));
  each.classList.toggle('not-computed', isGuided(view) && !result.gradient);
  draw(canvas, result, styleOf(result, word, view));
}

/**
 * @param {Result} result
 * @param {View} view
 * @param {HeatMap} map
 */
function renderAbout(result, view, map) {
  const about = ownMethod(view, result)?.about ?? VIEWS[view][1];
  const against = view === 'counterfactual';
  const empty = against && !map.max;
  const little = against && isFaint(result, map);
  const weak = (view === 'guided-grad-cam' || view === 'spotlight') && scaleCode(result, map) === 'first_choice';
  const found = little ? littleCounterevidence(result.target) : `${about}${weak ? ` ${WEAK}` : ''}`;
  $('.about-view').textContent = empty ? noCounterevidence(result.target) : found;
  Object.assign($('.about-view').dataset, { empty, little });
}

/** @param {Result} result */
function renderScale(result) {
  const { word, second } = store.current;
  const { view } = store.state.look;
  const map = mapOf(result, view, word);
  renderAbout(result, view, map);
  $('.scale').hidden = $('.opacity').hidden = $('.colours').hidden = isGuided(view) || view === 'spotlight';
  const code = scaleCode(result, map);
  const same = sameScale();
  const end = scaleMax(result, view, word);
  /** @type {HTMLInputElement} */ ($('.same-scale input')).checked = same || code === 'first_choice';
  $('.about-scale').textContent = SCALES[code](result, map);
  $('.about-scale').dataset.code = code;
  $('.scale').dataset.max = String(end);
  $('.scale .high').textContent = second && !same ? 'the most of each' : end ? end.toPrecision(2) : 'none';
  drawScale($('.scale canvas'), colourTable());
}

/**
 * @param {Result} result
 * @param {HeatMap} map that is shown
 * @returns {Scale}
 */
function scaleCode(result, map) {
  const { second, compared } = store.current;
  if (!second && sameScale()) return 'all_same';
  if (!second && isFaint(result, map)) return store.state.look.sameScale === false ? 'faint_alone' : 'first_choice';
  if (!second) return 'single';
  if (compared?.model) return sameScale() ? 'models_same' : 'models_apart';
  return sameScale() ? 'targets_same' : 'apart';
}
