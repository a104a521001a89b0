// The heading and summary of the result, problems, and the offer to download a model.

import { headingOf } from '../../../gradcam_core/viewer/messages.js';
import { showConcept } from '../analysis/concepts.js';
import { $, button, focusHeading, make, onClick, refill, scrollToPicture } from '../dom.js';
import { explain, explainSecond } from '../explain.js';
import { wholePercent } from '../format.js';
import * as messages from '../messages.js';
import { explainPhoto, upload } from '../photos.js';
import { freshResult, isGuess, isReplaced, isUsual, methodInfo, modelInfo, unlikelyWords } from '../selectors.js';
import { store } from '../store.js';
import { save } from './downloads.js';

/** @import { Concept, Result, Retry } from '../types.js' */
/** @import { Heading, Part } from '../../../gradcam_core/viewer/messages.js' */

export function mountResult() {
  store.subscribe(['photo', 'tasks', 'tab', 'camera'], render);
  onClick('.download-offer button', () => {
    const { download } = store.current;
    if (!download) return;
    if ('second' in download) {
      store.compareWith({ model: download.second });
      explainSecond('download');
    } else {
      store.choose(download.choice);
      explain({ lane: 'download' });
    }
  });
  onClick('.unusual button', () => {
    focusHeading();
    store.choose({ layer: null, method: 'grad-cam' });
    explain({ again: freshResult()?.target });
  });
}

function render() {
  const { status, problem, shown } = store.current;
  const heading = $('.result-heading');
  heading.classList.toggle('busy', !!status);
  heading.setAttribute('aria-live', store.state.camera === 'live' ? 'off' : 'polite'); // too fast to be read out
  $('.panel').dataset.progress = status?.code === 'uploading' ? String(status.share) : '';
  $('.panel').dataset.state = status?.code ?? problem?.code ?? (shown ? 'explained' : 'empty');
  const result = freshResult();
  if (result && (!status || status.code === 'explaining' || status.code === 'downloading')) renderHeading(result);
  else renderNoResult();
  const concepts =
    result && !status && store.current.word == null && !store.state.photo?.frame ? result.concepts : null;
  const sentence = concepts ? conceptSentence(concepts, result?.faint ?? false) : [];
  refill($('.concept-sentence'), ...sentence);
  $('.concept-sentence').hidden = !sentence.length;
  renderUnusual(result);
  renderProblem();
  renderOffer();
  renderStale();
}

/** @param {Result} result */
function renderHeading(result) {
  const { word, status } = store.current;
  const code = headingCode(result);
  const question = result.question == null ? [] : [`“${result.question}” `];
  refill($('.result-heading h2'), ...question, ...headingParts(code, result));
  const data = {
    ...{ heading: code, target: result.target, question: result.question ?? '' },
    ...{ word: word == null ? '' : result.words[word].text, other: store.current.second?.target ?? '' },
  };
  Object.assign($('.result-heading').dataset, data);
  $('.summary').textContent = status ? messages.statusText(status) : messages.summary(result, word);
  Object.assign($('.summary').dataset, {
    ...{ guess: isGuess(result), unknown: result.unknown_words.join(' '), replaced: isReplaced(result) },
    unlikely: unlikelyWords(result)
      .map(({ text }) => text)
      .join(' '),
  });
}

/** A layer or a method is used for every later photo, too: never silently. @param {Result | null} result */
function renderUnusual(result) {
  $('.unusual').hidden = !result || isUsual(result);
  if (!result || isUsual(result)) return;
  const layer = result.layer === result.default_layer ? null : result.layer;
  const method = result.method === 'grad-cam' ? null : methodInfo(result.method).title;
  const text = messages.unusualText(layer, method);
  if ($('.unusual span').textContent !== text) $('.unusual span').textContent = text;
}

function renderNoResult() {
  const { status, problem } = store.current;
  const { title, text } = problem ? messages.FAILED : messages.NO_RESULT;
  $('.result-heading h2').textContent = status ? messages.statusText(status) : title;
  $('.summary').textContent = status ? '' : text;
  delete $('.result-heading').dataset.heading;
  delete $('.result-heading').dataset.target;
}

/**
 * @param {Result} result
 * @returns {Heading}
 */
function headingCode(result) {
  const { word, compared, second } = store.current;
  const code = headingOf(result, word);
  return code === 'why' && compared?.target && second ? 'why_not' : code;
}

/**
 * @param {Heading} code
 * @param {Result} result
 * @returns {Part[]}
 */
function headingParts(code, { target, words, predictions: [best] }) {
  const { word, second } = store.current;
  const strong = (/** @type {string} */ text) => make('strong', {}, text);
  if (word != null) return messages.HEADINGS[code](strong(`“${words[word].text}”`), `“${target}”`);
  // Each word of a caption is a button.
  const spaced = words.flatMap(({ text }, i) => [
    i ? ' ' : '',
    button({ class: 'word', onclick: () => chooseWord(i) }, text),
  ]);
  const name = make('strong', {}, ...(words.length ? ['“', ...spaced, '”'] : [target]));
  const other = second && (words.length ? `“${second.target}”` : second.target);
  // The question is why the network says what it says, not why it does not say its first choice.
  const swapped = code === 'why_not' && second?.target === best.text;
  const beside = strong(other ?? '');
  return swapped ? messages.HEADINGS[code](beside, name) : messages.HEADINGS[code](name, beside);
}

/** @param {number} i */
function chooseWord(i) {
  scrollToPicture();
  store.chooseWord(i);
}

/**
 * Each name is a link to its map. If the map is faint, no concepts are listed for it.
 * @param {Concept[]} concepts
 * @param {boolean} faint
 */
function conceptSentence(concepts, faint) {
  const part = (/** @type {string} */ word, /** @type {Concept[]} */ chosen) => {
    const names = chosen.flatMap(({ name, share }, i) => [
      i ? ', ' : '',
      button({ class: 'word', onclick: () => showConcept(name) }, name),
      ` ${wholePercent(Math.abs(share))}`,
    ]);
    return chosen.length ? [`${word}: `, ...names] : [];
  };
  const reasons = concepts.filter(({ share }) => share > 0 && !faint);
  const against = concepts.filter(({ share }) => share < 0);
  return [
    ...part('Because', reasons),
    reasons.length && against.length ? '; ' : '',
    ...part(reasons.length ? 'despite' : 'Despite', against),
  ].filter(Boolean);
}

function renderProblem() {
  const { problem, secondProblem, suggestions, retry, download } = store.current;
  const problems = download ? [] : [problem, secondProblem].filter((each) => each !== null);
  const text = problems.map(messages.problemText).join(' ');
  const box = $('.result .problem');
  const paragraph = $('.result .problem p');
  // Only if it has changed: a screen reader reads it out each time that it is set.
  const changed = paragraph.textContent !== text;
  if (changed) paragraph.textContent = text;
  box.hidden = !text;
  box.dataset.code = problems[0]?.code ?? '';
  /** @type {[string, () => void][]} */
  const ways = suggestions.map((target) => [target, () => explain({ target })]);
  if (retry) ways.push(['Try again', () => tryAgain(retry)]);
  const buttons = ways.map(([name, go]) => {
    const onclick = () => {
      focusHeading();
      go();
    };
    return button({ 'data-name': name, onclick }, name);
  });
  refill($('.result .suggestions'), suggestions.length ? 'Did you mean ' : '', ...buttons);
  if (changed && text) box.scrollIntoView({ block: 'nearest' });
}

/** @param {Retry} retry */
function tryAgain(retry) {
  switch (retry.code) {
    case 'explain':
      if (retry.choice) store.choose(retry.choice);
      return explain(retry.options);
    case 'photo':
      return explainPhoto(retry.photo);
    case 'upload':
      return upload(retry.file, retry.target);
    case 'save':
      return save(retry.format);
    case 'reload':
      // Gradio loses its connection for good with its server. What was shown is restored.
      return fetch('.', { method: 'HEAD' }).then(
        () => location.reload(),
        () => {},
      );
  }
}

function renderOffer() {
  const { download } = store.current;
  $('.download-offer').hidden = !download;
  if (download) $('.download-offer p').textContent = messages.downloadOffer(download);
}

function renderStale() {
  const { shown, stale, problem, status, failed, model, method } = store.current;
  const sameTarget = problem && freshResult() && !status && store.state.camera !== 'live';
  const titles = { model: modelInfo(store.state.tab, model).title, method: methodInfo(method).title };
  const code = stale ? 'photo' : failed ? 'choice' : 'target';
  const texts = {
    photo: () => messages.STALE_PHOTO,
    choice: () => failed && messages.fallbackText(store.current, failed, titles),
    target: () => messages.staleTarget(shown?.target ?? ''),
  };
  $('.stale').hidden = !shown || !(stale || sameTarget);
  $('.stale').textContent = texts[code]();
  $('.stale').dataset.code = code;
}
