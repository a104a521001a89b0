// The download of an interactive page: what this visit has seen of the photo, in one file.

import { copyOf } from '../../../gradcam_core/viewer/draw.js';
import { onClick, saveFile } from '../dom.js';
import { packGradient, packMap } from '../pack.js';
import { freshResult, methodInfo, modelInfo } from '../selectors.js';
import { store } from '../store.js';

/** @import { InteractivePage, Packed, Picture, Result } from '../types.js' */

const TEMPLATE = new URL('../../../interactive.html', import.meta.url);
const SIDE = 768; // pixels of a photo
const GUIDED = 400_000; // characters that guided backpropagation may take in all, as in gradcam_core/interactive.py

export function mountInteractive() {
  onClick('.save-interactive', async () => {
    const shown = freshResult();
    if (!shown) return;
    const others = store.state.history.filter((each) => each.photo === shown.photo && each.key !== shown.key);
    const saved = await saveInteractive([shown, ...others], shown.target);
    store.saved(saved ? null : { code: 'lost' }, null);
  });
}

/**
 * Save results as an interactive page.
 * @param {readonly Result[]} results the first one is shown at first
 * @param {string} name
 * @returns {Promise<boolean>} whether the server, which has the page's template, has answered
 */
export async function saveInteractive(results, name) {
  const template = await fetch(TEMPLATE).then(
    (reply) => (reply.ok ? reply.text() : null),
    () => null,
  );
  if (template === null) return false;
  const data = JSON.stringify(await dataOf(results));
  // As in gradcam_core/interactive.py: ASCII, and nothing that could end the script.
  const escaped = data.replace(/[<\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  saveFile(
    `grad-cam-${name.slice(0, 40)}.html`,
    template.replace('{data}', () => escaped),
    'text/html',
  );
  return true;
}

/**
 * @param {readonly Result[]} results
 * @returns {Promise<InteractivePage>}
 */
async function dataOf(results) {
  const { colour, opacity } = store.state.look;
  const { colours, faint_below } = store.facts;
  const images = [...new Set(results.map(({ photo }) => photo.image))];
  const explanations = [];
  let space = GUIDED;
  for (const result of results) {
    const packed = result.gradient && (await packGradient(result.gradient));
    space -= packed?.data.length ?? 0;
    explanations.push(explanationOf(result, images.indexOf(result.photo.image), space < 0 ? null : packed));
  }
  return { pictures: images.map(jpegOf), explanations, colours, colour, opacity, faint_below };
}

/**
 * @param {Result} result
 * @param {number} picture
 * @param {Packed | null} gradient
 * @returns {InteractivePage['explanations'][number]}
 */
function explanationOf(result, picture, gradient) {
  const { task, model, layer, method, question, detail, target, score, probability, rank, predictions } = result;
  const { unsure, faint, first_choice_max, unknown_words, box, position_known, remarks } = result;
  return {
    ...{ task, model, layer, method, question, detail, target, score, probability, rank, predictions },
    ...{ unsure, faint, first_choice_max, unknown_words, box, position_known, remarks, picture, gradient },
    raw: packMap(result.raw),
    raw_counterfactual: packMap(result.raw_counterfactual),
    words: result.words.map((word) => ({ ...word, raw: packMap(word.raw) })),
    model_title: modelInfo(task, model).title,
    method_title: methodInfo(method).title,
  };
}

/**
 * The picture as the server sent it, where it did.
 * @param {Picture} image
 */
function jpegOf(image) {
  if (image instanceof HTMLImageElement && image.src.startsWith('data:image/jpeg;')) return image.src;
  return copyOf(image, SIDE).toDataURL('image/jpeg', 0.9);
}
