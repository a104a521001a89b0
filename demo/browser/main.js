// Starts the page with the example in the address, the photo from before a reload, or the first example.

import { mountCompare } from './analysis/compare.js';
import { mountConcepts } from './analysis/concepts.js';
import { mountDifference } from './analysis/difference.js';
import { mountEvaluate } from './analysis/evaluate.js';
import { mountLocate } from './analysis/locate.js';
import { mountPaint } from './analysis/paint.js';
import { mountAnalysis } from './analysis/section.js';
import { loadImage } from './dom.js';
import { explainPhoto } from './photos.js';
import { connect } from './server.js';
import { keptForReload, restoreHistory } from './session.js';
import { store, TASKS } from './store.js';
import { mountCamera } from './views/camera.js';
import { mountDownloads } from './views/downloads.js';
import { mountFigure2 } from './views/figure2.js';
import { mountHistory } from './views/history.js';
import { mountInteractive } from './views/interactive.js';
import { mountOptions } from './views/options.js';
import { mountPhotos } from './views/photos.js';
import { mountPictures } from './views/pictures.js';
import { mountPredictions } from './views/predictions.js';
import { mountPresentation } from './views/presentation.js';
import { mountQuery } from './views/query.js';
import { mountResult } from './views/result.js';
import { mountSeveral } from './views/several.js';
import { mountShare } from './views/share.js';
import { mountTeach } from './views/teach.js';
import { mountThumbnails } from './views/thumbnails.js';

/** @import { Facts, Photo } from './types.js' */

const VIEWS = [
  ...[mountResult, mountPictures, mountThumbnails, mountPredictions, mountHistory, mountQuery, mountOptions],
  ...[mountPhotos, mountCamera, mountDownloads, mountInteractive, mountShare, mountFigure2, mountPresentation],
  ...[mountTeach, mountAnalysis, mountConcepts, mountEvaluate, mountCompare, mountPaint, mountDifference, mountLocate],
  mountSeveral,
];
const LONGEST = 300; // characters of a question or target in the address

/**
 * @param {{ props: { facts: Facts }, trigger: Parameters<typeof connect>[0] }} component
 */
export async function start({ props: { facts }, trigger }) {
  store.start(facts);
  connect(trigger);
  for (const mount of VIEWS) mount();
  await restoreHistory();
  const query = new URLSearchParams(location.search);
  const text = (/** @type {string} */ name) => (query.get(name) ?? '').slice(0, LONGEST);
  const named = facts.examples.find(({ name }) => name === query.get('example'))?.name;
  const name = named ?? facts.examples[0].name;
  // A link that somebody shared counts, unless the page is only loaded again.
  const [navigation] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType('navigation'));
  const restored = !named || navigation?.type === 'reload' ? await keptPhoto(named) : null;
  if (restored) return explainPhoto(restored.photo, restored.target);
  const tab = TASKS.find((task) => task === query.get('tab'));
  if (tab) store.chooseTab(tab);
  if (text('question')) store.choose({ question: text('question') });
  explainPhoto({ key: name, name, example: name }, text('target'));
}

/**
 * The photo that was shown before the page was loaded again, with its tab, model and question.
 * @param {string | undefined} example that the address names
 * @returns {Promise<{ photo: Photo, target: string } | null>}
 */
async function keptPhoto(example) {
  const before = keptForReload();
  if (!before || before.example !== example) return null;
  const { key, name, upload, kept, tab, model, worked, question, target } = before;
  const seen = store.state.history.find(({ photo }) => photo.key === key)?.photo;
  const image = seen?.image ?? (example ? undefined : await loadImage(kept).catch(() => null));
  if (image === null) return null;
  store.chooseTab(tab);
  store.choose({ model, worked, question });
  return { photo: seen ?? { key, name, example, upload, kept, image }, target };
}
