// The quiz: ten questions in random order, each made by the server when it is reached.

import { contextOf, fit, gradientCanvas, spotlight } from '../../gradcam_core/viewer/draw.js';
import { guidedGradCam } from '../../gradcam_core/viewer/maps.js';
import { unpackGradient, unpackMap } from '../../gradcam_core/viewer/unpack.js';
import { $, all, button, loadImage, make } from './dom.js';
import { problemText } from './messages.js';
import { call, connect } from './server.js';

/** @import { Answer, Gradient, HeatMap, Packed, Preview, Reply } from './types.js' */

/** @typedef {'guided' | 'guided-grad-cam' | 'networks'} Kind */
/** @typedef {{ kind: Kind, number: number }} Question */
/** @typedef {{ answers: Answer[], choices: string[], right: number, picture: Preview }} Made */
/** @typedef {Reply & Made} QuizReply */
/** @typedef {{ target: string, box: Answer['box'], raw: HeatMap, gradient: Gradient }} Drawn */

const SIDE = 420; // pixels
/** @type {Record<Kind, number>} how many questions of each kind */
const KINDS = { guided: 4, 'guided-grad-cam': 4, networks: 2 };
const VERDICTS = {
  guided: 'Guided Backprop shows edges that matter to the network, whatever it is asked about.',
  'guided-grad-cam': 'Guided Grad-CAM keeps only the edges that speak for one thing.',
  networks: 'The better one is EfficientNet-Lite2: it is right more often on photos of a thousand classes.',
};
const WAITING = 'One moment …';
/** @param {string[]} choices */
const whichThing = ([one, other]) =>
  `The network was shown a photo with two things in it, ${one} and ${other}, and asked where it sees one of them. ` +
  'This picture is its explanation. Which of the two was it asked about?';
/** @param {string} target */
const whichNetwork = (target) =>
  `Two networks were shown the same photo and asked where they see “${target}”. ` +
  'Which of the two would you trust more?';

/** @type {Question[]} */
let questions = [];
let at = 0;
/** @type {Record<Kind, number>} right answers */
let score;
/** @type {'start' | 'failed' | 'asking' | 'answered' | 'finished'} */
let state = 'start';

/** @typedef {{ pairs: number, things: number }} Facts how many pairs of things and single photos there are */

/** @param {{ props: { facts: Facts }, trigger: Parameters<typeof connect>[0] }} component */
export function start({ props: { facts }, trigger }) {
  connect(trigger);
  /** @type {HTMLButtonElement} */ ($('.next')).disabled = false;
  $('.next').addEventListener('click', () => {
    if (state === 'start' || state === 'finished') begin(facts.pairs, facts.things);
    else if (state === 'failed') ask();
    else if (++at < questions.length) ask();
    else finish();
  });
}

/** @param {number} n */
function shuffled(n) {
  const rest = Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: n }, () => rest.splice(Math.floor(Math.random() * rest.length), 1)[0]);
}

/**
 * @param {number} pairs
 * @param {number} things
 */
function begin(pairs, things) {
  const numbers = shuffled(2 * pairs);
  const photos = shuffled(things);
  const kinds = /** @type {[Kind, number][]} */ (Object.entries(KINDS)).flatMap(([kind, n]) => Array(n).fill(kind));
  questions = [...shuffled(8), 8, 9].map((i) => ({
    kind: kinds[i],
    number: kinds[i] === 'networks' ? 2 * photos[i - 8] + Math.round(Math.random()) : numbers[i],
  }));
  at = 0;
  score = { guided: 0, 'guided-grad-cam': 0, networks: 0 };
  $('.score').hidden = true;
  ask();
}

function clear() {
  for (const name of ['.place', 'h2', '.verdict', '.drawn', '.choices']) $(name).replaceChildren();
  delete $('.verdict').dataset.right;
}

async function ask() {
  const { kind, number } = questions[at];
  clear();
  state = 'asking';
  $('.place').textContent = `Question ${at + 1} of ${questions.length}`;
  $('h2').textContent = WAITING;
  $('.next').hidden = true;
  const data = { kind: kind === 'networks' ? 'which network' : 'what', number };
  const reply = /** @type {QuizReply} */ (await call('quiz', data));
  if (reply.problem) fail(problemText(reply.problem));
  else show(kind, reply, await Promise.all(reply.answers.map(unpack)));
}

/** @param {string} text */
function fail(text) {
  state = 'failed';
  $('h2').textContent = text;
  $('.next').textContent = 'Try again';
  $('.next').hidden = false;
}

/**
 * @param {Answer} answer
 * @returns {Promise<Drawn>}
 */
const unpack = async ({ target, box, raw, gradient }) => ({
  ...{ target, box, raw: unpackMap(raw) },
  gradient: await unpackGradient(/** @type {Packed} */ (gradient)),
});

/**
 * @param {Kind} kind
 * @param {QuizReply} reply
 * @param {Drawn[]} answers
 */
function show(kind, reply, answers) {
  const networks = kind === 'networks';
  const drawings = answers.map(({ raw, gradient }, i) => {
    const shown = gradientCanvas(kind === 'guided' ? gradient : guidedGradCam(gradient, raw));
    const canvas = picture(reply.picture, shown, 'What is to be guessed');
    return networks ? make('figure', {}, make('figcaption', {}, reply.choices[i]), canvas) : canvas;
  });
  $('.drawn').replaceChildren(...drawings);
  $('h2').textContent = networks ? whichNetwork(answers[0].target) : whichThing(reply.choices);
  const buttons = reply.choices.map((choice, i) => button({ onclick: () => answer(kind, i, reply, answers) }, choice));
  $('.choices').replaceChildren(...buttons);
  buttons[0].focus({ preventScroll: true });
}

/**
 * @param {Kind} kind
 * @param {number} chosen
 * @param {QuizReply} reply
 * @param {Drawn[]} answers
 */
async function answer(kind, chosen, { right, choices, picture: preview }, answers) {
  state = 'answered';
  score[kind] += Number(chosen === right);
  mark(chosen, right);
  $('.verdict').textContent = `${chosen === right ? 'Right' : `No: ${choices[right]}`}. ${VERDICTS[kind]}`;
  $('.verdict').dataset.right = String(chosen === right);
  $('.next').textContent = at + 1 < questions.length ? 'Next' : 'Show my score';
  $('.next').hidden = false;
  $('.next').focus({ preventScroll: true });
  const [{ target, raw, box }] = answers;
  const label = kind === 'networks' ? 'The photo' : `The photo, as bright as the evidence for ${target}`;
  const photo = picture(preview, await loadImage(preview.url), label);
  if (kind !== 'networks') spotlight(photo, raw, box);
  const caption = kind === 'networks' ? 'the photo' : `the photo, brightest where it sees ${target}`;
  $('.drawn').append(make('figure', {}, make('figcaption', {}, caption), photo));
}

/**
 * Show which answer was chosen, and which one is right.
 * @param {number} chosen
 * @param {number} right
 */
function mark(chosen, right) {
  for (const each of /** @type {HTMLButtonElement[]} */ (all('.choices button'))) each.disabled = true;
  const [own, correct] = [chosen, right].map((i) => all('.choices button')[i]);
  own.setAttribute('aria-pressed', 'true');
  own.dataset.mark = own === correct ? 'right' : 'wrong';
  own.append(own === correct ? ' ✓ your answer' : ' ✗ your answer');
  if (own === correct) return;
  correct.dataset.mark = 'right';
  correct.append(' ✓ right answer');
}

/**
 * @param {Preview} size
 * @param {HTMLImageElement | HTMLCanvasElement} image
 * @param {string} label
 */
function picture({ width, height }, image, label) {
  const shape = Object.assign(document.createElement('canvas'), { width, height });
  const canvas = fit(make('canvas', { role: 'img', 'aria-label': label }), shape, SIDE);
  contextOf(canvas).drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function finish() {
  state = 'finished';
  clear();
  Object.entries(KINDS).forEach(([kind, of], i) => {
    $(`tbody tr:nth-child(${i + 1}) td`).textContent = `${score[/** @type {Kind} */ (kind)]} of ${of}`;
  });
  $('.score').hidden = false;
  $('.next').textContent = 'Once more';
}
