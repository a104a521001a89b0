// What is chosen and what is known, and the small tools that all the other files use.
// Words that a visitor typed or a model says go into the page by textContent only.

const facts = props.facts;
const $ = (selector) => element.querySelector(selector);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter(Boolean));
  return node;
}

// Fill a box anew; who was on one of its buttons stays on it, or on the one in its place.
function refill(box, ...children) {
  const buttons = [...box.querySelectorAll('button')];
  const at = buttons.indexOf(document.activeElement);
  const name = buttons[at]?.dataset.name;
  box.replaceChildren(...children);
  if (at < 0) return;
  const now = [...box.querySelectorAll('button')];
  (now.find((button) => name && button.dataset.name === name) ?? now[Math.min(at, now.length - 1)])?.focus();
}

// A row of buttons is one stop of the Tab key; within it go the arrow keys.
function rove(box) {
  const buttons = () => [...box.querySelectorAll('button:not(:disabled)')];
  box.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = buttons();
    const to = all.indexOf(document.activeElement) + step;
    all[Number.isFinite(step) ? (to + all.length) % all.length : step > 0 ? all.length - 1 : 0].focus();
  });
  box.addEventListener('focusin', ({ target }) => stop(target));
  const stop = (chosen) => buttons().forEach((button) => (button.tabIndex = button === chosen ? 0 : -1));
  return () => stop(buttons().find((button) => button.getAttribute('aria-pressed') === 'true') ?? buttons()[0]);
}

const TASKS = ['classification', 'captioning', 'vqa'];
const VIEWS = {
  'grad-cam': ['Grad-CAM', 'Where the evidence for it lies: coarse, but it moves when you ask for something else.'],
  guided: ['Guided Backprop', 'Pixels that matter to the network at all: fine, but not class-discriminative. It looks much the same whatever is explained.'],
  'guided-grad-cam': ['Guided Grad-CAM', 'The two multiplied: fine detail, only where the evidence lies.'],
  counterfactual: ['Counter\u00adfactual', 'Where the evidence against it lies: what in the photo lowers its score.'],
  spotlight: ['Spotlight', 'The photo, as bright as the evidence for it.'],
};
const GUIDED = ['guided', 'guided-grad-cam'];
const LOST = 'The server does not answer: it may be busy, or gone. Please try again in a moment.';

let tab = 'classification';
let photo = null; // {key, name, example | upload | frame, file, image, local}
let from = 0; // the share of the width that stays photo
let visit = []; // what was shown, the latest last
const look = { view: 'grad-cam', colour: facts.colour, opacity: facts.opacity, same: null }; // same: null until the visitor decides
const tables = Object.fromEntries(Object.entries(facts.colours).map(([name, text]) => [name, bytes(text)]));
const states = Object.fromEntries(
  TASKS.map((task) => [
    task,
    {
      model: facts.tasks[task][0].name,
      layer: null,
      method: 'grad-cam',
      beside: null, // {target} or {model}
      shown: null, // the first result, and the second beside it
      second: null,
      word: null,
      busy: '', // what is being done
      error: '',
      near: [], // labels like the one that there is not
      again: null, // tries once more what failed for want of a connection
      besideError: '',
      offer: null, // a download
      stale: false,
      question: 'What is this?',
      target: '',
      asked: 0, // counts requests: only the last one's answer counts
    },
  ]),
);
const state = () => states[tab];
