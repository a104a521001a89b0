// Concepts that speak for the target or against it (section 7 of the paper).

import { $, all, make } from '../dom.js';
import { conceptCaption, conceptsTotal, noConcepts } from '../messages.js';
import { store } from '../store.js';
import { miniature, mountSection } from './section.js';

/** @import { Concept, Result } from '../types.js' */

/** What is drawn already; drawn again only if it changes. */
let drawn = '';

export const mountConcepts = () => mountSection('concepts', render);

/** @param {string} name */
export function showConcept(name) {
  /** @type {HTMLDetailsElement} */ ($('details.concepts')).open = true;
  if (store.current.shown) render(store.current.shown);
  const figure = all('.concepts figure').find((each) => each.dataset.name === name);
  figure?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  figure?.focus({ preventScroll: true });
}

/** @param {Result} result */
function render(result) {
  const wanted = JSON.stringify([result.key, store.state.look]);
  if (drawn === wanted) return;
  drawn = wanted;
  const concepts = result.concepts ?? [];
  const total = concepts.reduce((sum, { share }) => sum + Math.max(0, share), 0);
  $('.concepts .total').textContent = concepts.length ? conceptsTotal(total, result.target) : noConcepts(result.target);
  $('.concepts .strip').replaceChildren(...concepts.map((concept) => conceptFigure(result, concept)));
}

/**
 * @param {Result} result
 * @param {Concept} concept
 */
function conceptFigure(result, { name, share, top10_correct, raw }) {
  const picture = miniature(result, raw, `Where ${name} speaks ${share > 0 ? 'for it' : 'against it'}`, 220);
  const caption = make('figcaption', {}, make('b', {}, name), make('small', {}, conceptCaption(share, top10_correct)));
  return make('figure', { tabindex: -1, 'data-name': name }, picture, caption);
}
