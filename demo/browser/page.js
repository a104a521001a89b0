// The page: what is chosen, what is asked of the server, and what is shown of the answers.
// Words that a visitor typed or a model says go in by textContent only.

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

// ---- What is chosen and what is known ----

let tab = 'classification';
let photo = null; // {key, name, example | upload, image, local}
let from = 0; // the share of the width that stays photo
let visit = []; // what was shown, the latest last
const look = { view: 'grad-cam', colour: facts.colour, opacity: facts.opacity, same: false };
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

// ---- Asking the server: one request at a time a lane; of those that wait, the last ----

const lanes = { first: {}, second: {}, download: {}, suggest: {}, keep: {} };
let lastId = 0;

function call(lane, data) {
  return new Promise((resolve) => {
    const job = { data, resolve };
    if (lanes[lane].flying) {
      lanes[lane].waiting?.resolve(null);
      lanes[lane].waiting = job;
    } else launch(lane, job);
  });
}

function launch(lane, job) {
  job.data.id = ++lastId;
  lanes[lane].flying = job;
  trigger(lane, job.data);
}

document.addEventListener('gradcam-answer', ({ detail: { lane, answer } }) => {
  const { flying, waiting } = lanes[lane];
  if (!flying || (answer?.id !== undefined && answer.id !== flying.data.id)) return;
  lanes[lane] = {};
  flying.resolve(answer ?? { error: LOST });
  if (waiting) launch(lane, waiting);
});

// Gradio says nothing of a server that has gone: ask for it while an answer is awaited.
setInterval(() => {
  if (!Object.values(lanes).some(({ flying }) => flying)) return;
  fetch('.', { method: 'HEAD' }).catch(() => {
    for (const lane of Object.keys(lanes)) document.dispatchEvent(new CustomEvent('gradcam-answer', { detail: { lane, answer: null } }));
  });
}, 4000);

function request(task, more) {
  const where = photo.example ? { example: photo.example } : { upload: photo.upload };
  const { model, layer, method, question } = states[task];
  return { ...where, task, model, layer, method, question: task === 'vqa' ? question : null, ...more };
}

async function unpacked(answer, of) {
  return {
    ...answer,
    photo: of,
    map: unpackMap(answer.map),
    counterfactual: unpackMap(answer.counterfactual),
    words: answer.words.map((word) => ({ ...word, map: unpackMap(word.map) })),
    gradient: answer.gradient && (await unpackGradient(answer.gradient)),
    key: JSON.stringify([of.key, answer.task, answer.model, answer.layer, answer.method, answer.question, answer.target]),
  };
}

function loaded(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = url;
  });
}

// Explain what is chosen: in the first lane, or by downloading the model.
//   target: what was typed or picked; if left out, what was asked last
//   again: the target of what is shown, to be explained in another way
async function explain({ target, again, lane = 'first' } = {}) {
  const task = tab;
  const mine = states[task];
  const asked = ++mine.asked;
  const of = photo;
  const former = mine.shown?.photo === of ? null : mine.shown?.photo;
  if (target !== undefined) mine.target = target ?? '';
  Object.assign(mine, {
    busy: lane === 'download' ? 'Downloading the model, then explaining …' : 'Explaining …',
    error: '',
    offer: null,
    stale: false,
  });
  render();
  const reply = await call(lane, request(task, {
    target: again ?? (mine.target || null),
    guided: GUIDED.includes(look.view),
    new_picture: !of.image,
    download: lane === 'download',
  }));
  if (reply?.picture && !of.image) of.image = await loaded(reply.picture.url);
  const result = reply?.answer && (await unpacked(reply.answer, of));
  if (asked !== mine.asked) return;
  mine.busy = '';
  if (!reply || of !== photo) return render();
  if (result) {
    const same = mine.shown?.key === result.key;
    if (same && !result.gradient) result.gradient = mine.shown.gradient;
    Object.assign(mine, { shown: result, layer: mine.layer && result.layer, word: same ? mine.word : null });
    if (mine.beside?.target && mine.second?.photo !== of) mine.beside = mine.second = null;
    if (lookDone(result)) look.view = 'grad-cam';
    remember(result);
    askBeside();
  } else {
    Object.assign(mine, { error: reply.error, offer: reply.download ?? null });
    // What cannot be opened does not take the place of what can.
    if (!of.image && former?.image) {
      photo = former;
      mine.stale = true;
    }
  }
  render();
}

// Whether a view was asked for that this network does not have.
function lookDone(result) {
  return GUIDED.includes(look.view) && !result.gradient;
}

async function askBeside(lane = 'second') {
  const task = tab;
  const mine = states[task];
  const { beside, shown } = mine;
  mine.besideError = '';
  if (!beside || !shown) {
    mine.second = null;
    return render();
  }
  const reply = await call(lane, request(task, {
    guided: GUIDED.includes(look.view),
    download: lane === 'download',
    ...(beside.model ? { model: beside.model, layer: null, target: shown.target } : { target: beside.target }),
  }));
  const result = reply?.answer && (await unpacked(reply.answer, shown.photo));
  if (!reply || mine.beside !== beside || mine.shown !== shown) return;
  mine.second = result ?? null;
  mine.besideError = reply.error ?? '';
  if (reply.download) mine.offer = { ...reply.download, beside: true };
  if (result) remember(result);
  render();
}

function remember(result) {
  visit = [...visit.filter((each) => each.key !== result.key), result].slice(-24);
  const query = new URLSearchParams(location.search);
  for (const name of ['example', 'tab', 'target', 'question']) query.delete(name);
  if (result.photo.example) {
    query.set('example', result.photo.example);
    query.set('tab', result.task);
    query.set('target', result.target);
    if (result.question) query.set('question', result.question);
  }
  history.replaceState(history.state, '', query.size ? '?' + query : location.pathname);
}

// ---- Another photo ----

function newPhoto(next) {
  photo = next;
  for (const task of TASKS)
    Object.assign(states[task], { target: '', beside: states[task].beside?.model ? states[task].beside : null, second: null, busy: '', asked: states[task].asked + 1 });
  explain();
}

async function upload_(file) {
  const mine = state();
  if (file.size > facts.max_upload) {
    Object.assign(mine, { error: `${file.name} is too large: at most ${facts.max_upload / 1e6} MB, please.`, stale: !!mine.shown });
    return render();
  }
  const next = { key: `upload ${++lastId}`, name: file.name };
  // Shown at once where the browser can; what counts is what the server decodes.
  next.local = await loaded(URL.createObjectURL(file)).catch(() => null);
  const asked = ++mine.asked;
  const former = photo;
  photo = next;
  Object.assign(mine, { busy: 'Uploading …', error: '', offer: null, stale: false });
  render();
  try {
    next.upload = (await upload(file)).path;
  } catch {
    if (photo !== next) return;
    photo = former;
    Object.assign(mine, { busy: '', error: `${file.name} could not be uploaded. ${LOST}`, stale: !!mine.shown });
    return render();
  }
  if (photo === next && asked === mine.asked) newPhoto(next);
  else if (photo === next) newPhoto(next);
}

// ---- Showing ----

const percent = (p) => (p >= 0.1 ? `${(100 * p).toFixed(0)} %` : p >= 0.001 ? `${(100 * p).toFixed(1)} %` : 'under 0.1 %');
const logOf = (p) => Math.log(Math.max(p, 1e-300)).toFixed(1);
const infoOf = (task, name) => facts.tasks[task].find((info) => info.name === name) ?? { name, title: name, year: 0, megabytes: 0, guided: true };
const mapOf = (result, view, word) => (view === 'counterfactual' ? result.counterfactual : word == null ? result.map : result.words[word].map);

// The largest value of all maps that were shown of this photo: the end of the shared scale.
function sharedMax(result) {
  const all = visit.filter((each) => each.photo === result.photo && each.task === result.task);
  return Math.max(...[...all, result].flatMap((each) => [each.map.max, each.counterfactual.max, ...each.words.map((word) => word.map.max)]));
}

// Weak beside what the network's first choice has: said in the heading.
function hardly(result) {
  if (result.task === 'captioning' || !result.map.max) return false;
  const first = visit.find(
    (each) => each.photo === result.photo && each.task === result.task && each.model === result.model && each.layer === result.layer &&
      each.method === result.method && each.question === result.question && each.target === each.predictions[0].text,
  );
  return !!first && result.map.max < 0.3 * first.map.max;
}

function heading(result, word) {
  const of = word == null ? result.map : result.words[word].map;
  const strong = (text) => make('strong', {}, text);
  const asked = result.question == null ? [] : [`“${result.question}” `];
  if (word != null) {
    const { text } = result.words[word];
    return of.max ? ['Why ', strong(`“${text}”`), ` in “${result.target}”?`] : ['Nothing in this photo speaks for ', strong(`“${text}”`)];
  }
  // Each word of a caption is a button.
  const words = result.words.flatMap((each, i) => [i ? ' ' : '', make('button', { type: 'button', class: 'word', onclick: () => setWord(i) }, each.text)]);
  const name = make('strong', {}, ...(words.length ? ['“', ...words, '”'] : [result.target]));
  if (!of.max) return [...asked, 'Nothing in this photo speaks for ', name];
  if (hardly(result)) return [...asked, 'Hardly any evidence for ', name];
  return [...asked, 'Why ', name, '?'];
}

function under(result, word) {
  const best = result.predictions[0];
  const own = best.text === result.target;
  if (word != null) return `Log-probability ${result.words[word].log_prob.toFixed(2)} after the words before it.`;
  if (result.task === 'captioning')
    return `Log-probability ${result.score.toFixed(1)}. ` + (own ? 'The network’s own caption; click a word to see where it comes from.' : `The network’s own caption: “${best.text}” (${logOf(best.probability)}).`);
  const { target } = state();
  const taken = target && !/^\d+$/.test(target) && target.toLowerCase() !== result.target.toLowerCase() ? `“${target}” is taken for what fits it and is likeliest here: ${result.target}. ` : '';
  return `${taken}${percent(result.probability)}, ` + (own ? 'the network’s first choice.' : `where the network’s first choice is ${best.text} (${percent(best.probability)}).`);
}

function details(result) {
  const info = infoOf(result.task, result.model);
  const [left, top, right, bottom] = result.box;
  const parts = [
    `${info.title}, layer ${result.layer}: ${result.map.w} × ${result.map.h} cells.`,
    result.task === 'captioning' ? '' : `Logit ${result.score.toFixed(2)}.`,
    `${result.milliseconds} ms.`,
    left > 0 || top > 0 || right < 1 || bottom < 1
      ? 'The network was shown the middle of the photo only; the map is empty outside.'
      : 'The network was shown the whole photo.',
    result.knows,
    ...result.remarks,
  ];
  return parts.filter(Boolean).join(' ');
}

// Two frames: the result, and another one beside it.
const frames = [0, 1].map(() => {
  const canvas = make('canvas', { role: 'img' });
  const handle = make('div', { class: 'handle', role: 'slider', tabindex: 0, 'aria-label': 'Photo on the left, explanation on the right', 'aria-valuemin': 0, 'aria-valuemax': 100 });
  const frame = make('div', { class: 'frame' }, canvas, handle);
  const caption = make('figcaption');
  const figure = make('figure', { hidden: true }, caption, frame);
  const follow = (event) => {
    const { left, width } = frame.getBoundingClientRect();
    setFrom((event.clientX - left) / width);
  };
  frame.addEventListener('pointerdown', (event) => {
    frame.setPointerCapture(event.pointerId);
    follow(event);
  });
  frame.addEventListener('pointermove', (event) => frame.hasPointerCapture(event.pointerId) && follow(event));
  handle.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -0.05, ArrowDown: -0.05, ArrowRight: 0.05, ArrowUp: 0.05, PageDown: -0.2, PageUp: 0.2, Home: -1, End: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    setFrom(from + step);
  });
  $('.stage').append(figure);
  return { figure, caption, frame, canvas, handle };
});

function setFrom(share) {
  from = Math.max(0, Math.min(1, share));
  renderStage();
}

function lookOf(result, word, view = look.view) {
  const map = mapOf(result, view, word);
  return { view, map, table: tables[look.colour], opacity: look.opacity, gain: look.same ? map.max / sharedMax(result) || 0 : 1 };
}

function renderStage() {
  const { shown, second, word, busy, beside, besideError } = state();
  const fresh = shown?.photo === photo;
  const plain = !fresh && (photo?.image ?? photo?.local);
  const results = plain ? [{ plain }] : shown ? [shown, second].filter(Boolean) : [];
  frames.forEach(({ figure, caption, frame, canvas, handle }, i) => {
    const result = results[i];
    figure.hidden = !result;
    if (!result) return;
    const image = result.plain ?? result.photo.image;
    const scale = Math.min(1, 768 / Math.max(image.naturalWidth, image.naturalHeight));
    const [width, height] = [image.naturalWidth, image.naturalHeight].map((side) => Math.max(1, Math.round(side * scale)));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    frame.style.setProperty('--ratio', width / height);
    handle.hidden = !!result.plain;
    handle.style.setProperty('--from', from);
    handle.setAttribute('aria-valuenow', Math.round(100 * from));
    handle.setAttribute('aria-valuetext', `${Math.round(100 * from)} % photo`);
    if (result.plain) canvas.getContext('2d').drawImage(image, 0, 0, width, height);
    else draw(canvas, result, lookOf(result, i ? null : word), from);
    canvas.setAttribute('aria-label', result.plain ? 'Your photo' : `${VIEWS[look.view][0].replace('\u00ad', '')} for ${word == null || i ? result.target : result.words[word].text}`);
    caption.hidden = results.length < 2;
    caption.textContent = results.length < 2 ? '' : `${result.target}: ${result.task === 'captioning' ? result.score.toFixed(1) : percent(result.probability)}` + (beside?.model ? ` by ${infoOf(result.task, result.model).title}; it says ${result.predictions[0].text}` : '');
  });
  $('.stage').classList.toggle('busy', !!busy && !plain);
  $('.stage').classList.toggle('two', results.length > 1);
}

function renderViews() {
  const { shown, word } = state();
  const box = $('.views');
  const fresh = shown && shown.photo === photo;
  box.hidden = !fresh;
  if (!fresh) return;
  const guided = infoOf(shown.task, shown.model).guided && !shown.remarks.some((remark) => remark.startsWith('No guided'));
  const names = Object.keys(VIEWS).filter((view) => guided || !GUIDED.includes(view));
  if (box.childElementCount !== names.length) {
    box.replaceChildren(...names.map((view) => make('button', { type: 'button', 'data-view': view, onclick: () => setView(view) }, make('canvas', { 'aria-hidden': true }), make('span', {}, VIEWS[view][0]))));
  }
  const { naturalWidth: w, naturalHeight: h } = shown.photo.image;
  for (const button of box.children) {
    const { view } = button.dataset;
    const canvas = button.firstChild;
    const width = Math.round(w >= h ? 120 : (120 * w) / h);
    const height = Math.max(1, Math.round((width * h) / w));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const whole = word != null && !['grad-cam', 'spotlight'].includes(view);
    button.disabled = whole;
    button.title = whole ? 'Of a whole caption only' : VIEWS[view][1];
    button.setAttribute('aria-pressed', view === look.view);
    button.classList.toggle('later', GUIDED.includes(view) && !shown.gradient);
    draw(canvas, shown, lookOf(shown, word, view));
  }
  const map = mapOf(shown, look.view, word);
  $('.about-view').textContent =
    look.view === 'counterfactual' && !map.max ? `Nothing in this photo speaks against ${shown.target}: there is no map to show.` : VIEWS[look.view][1];
  const scaled = !GUIDED.includes(look.view) && look.view !== 'spotlight';
  $('.scale').hidden = !scaled;
  $('.opacity').hidden = !scaled;
  const top = look.same ? sharedMax(shown) : map.max;
  const apart = state().second && !look.same;
  $('.scale .high').textContent = apart ? 'the most of each' : top ? top.toPrecision(2) : 'none';
  const bar = $('.scale canvas');
  const table = tables[look.colour];
  bar.getContext('2d').drawImage(coloured(Float32Array.from({ length: 256 }, (_, i) => i / 255), 256, 1, table, 1), 0, 0);
}

function setView(view) {
  look.view = view;
  const { shown } = state();
  if (GUIDED.includes(view) && shown && !shown.gradient) explain({ again: shown.target });
  else render();
}

function renderSaid() {
  const { shown, word, busy, error, offer, stale, besideError } = state();
  const fresh = shown?.photo === photo;
  const said = $('.said');
  said.classList.toggle('busy', !!busy);
  if (fresh && !(busy && !busy.startsWith('Explaining'))) {
    $('h2').replaceChildren(...heading(shown, word));
    const lines = [under(shown, word)];
    if (shown.unsure && word == null) lines.push('The network is guessing.');
    if (shown.not_understood.length) lines.unshift(`Not understood: ${shown.not_understood.join(', ')}.`);
    $('.under').textContent = busy || lines.join(' ');
  } else {
    $('h2').textContent = busy || (error ? 'No explanation' : 'Choose a photo');
    $('.under').textContent = busy ? '' : error ? '' : 'The network says what it sees, and Grad-CAM shows where.';
  }
  const wrong = offer ? '' : [error, besideError].filter(Boolean).join(' ');
  $('.error').textContent = wrong;
  $('.error').hidden = !wrong;
  $('.offer').hidden = !offer;
  if (offer) {
    $('.offer p').textContent = `${offer.title} is not on this machine yet: ${offer.megabytes.toLocaleString('en')} MB, licence ${offer.licence}. It is kept for the next time.`;
    $('.offer button').textContent = 'Download and explain';
  }
  const kept = error && fresh && !busy;
  $('.stale').hidden = !shown || !(stale || kept);
  $('.stale').textContent = stale ? 'Below is still the explanation of the photo before.' : `Below is still the explanation of “${shown?.target}”.`;
}

function row(prediction, result, value, share) {
  const { target } = result;
  const mine = state();
  const beside = mine.beside?.target === prediction.text;
  return make('li', {},
    make('button', { type: 'button', class: 'pick', 'aria-pressed': String(prediction.text === target), onclick: () => pick(prediction.text) },
      make('span', { class: 'name' }, prediction.text), make('span', { class: 'value' }, value), make('span', { class: 'bar', style: `width: ${100 * share}%` })),
    prediction.text !== target && make('button', { type: 'button', class: 'beside-it', 'aria-pressed': String(beside), title: 'Show it beside', 'aria-label': `Show ${prediction.text} beside`, onclick: () => besideTarget(beside ? null : prediction.text) }, 'beside'),
  );
}

function renderList() {
  const { shown, word } = state();
  const list = $('.list');
  const words = $('.words');
  const fresh = shown && shown.photo === photo;
  list.hidden = words.hidden = !fresh;
  if (!fresh) return;
  const { predictions, task } = shown;
  const captions = task === 'captioning';
  const title = { classification: 'Most likely, says the network', captioning: 'The network’s own captions', vqa: 'Most likely answers' }[task];
  list.replaceChildren(
    make('h3', {}, title, ' ', make('small', {}, captions ? 'with log-probability' : 'click one to see why')),
    make('ol', {}, ...predictions.map((each) => row(each, shown, captions ? logOf(each.probability) : percent(each.probability), captions ? 0 : each.probability))),
  );
  if (captions && predictions.some((each, i) => i && each.probability > predictions[i - 1].probability))
    list.append(make('p', { class: 'note' }, 'Sorted by how well they agree with all that the network might say, not by log-probability.'));
  words.hidden = !captions;
  if (!captions) return words.replaceChildren();
  const tile = (text, value, index) => {
    const canvas = make('canvas', { 'aria-hidden': true });
    const { naturalWidth: w, naturalHeight: h } = shown.photo.image;
    Object.assign(canvas, { width: 128, height: Math.max(1, Math.min(256, Math.round((128 * h) / w))) });
    draw(canvas, shown, lookOf(shown, index, 'grad-cam'));
    return make('button', { type: 'button', 'aria-pressed': String(word === index), onclick: () => setWord(index) }, canvas, make('span', { class: 'name' }, text), ' ', make('span', { class: 'value' }, value));
  };
  words.replaceChildren(
    make('h3', {}, 'Word by word ', make('small', {}, 'click one to see where it comes from')),
    make('div', { role: 'group', 'aria-label': 'Words' }, tile('all', shown.score.toFixed(1), null), ...shown.words.map((each, i) => tile(each.text, each.log_prob.toFixed(1), i))),
  );
}

function setWord(index) {
  showResult();
  state().word = index;
  if (index != null && !['grad-cam', 'spotlight'].includes(look.view)) look.view = 'grad-cam';
  render();
}

// On a phone the lists stand below the photo: what they change must be seen.
function showResult() {
  if ($('.stage').getBoundingClientRect().bottom < 160) $('.said').scrollIntoView({ block: 'start' });
}

function pick(text) {
  showResult();
  explain({ target: text });
}

function besideTarget(text) {
  showResult();
  state().beside = text && { target: text };
  askBeside();
}

function renderFields() {
  const mine = state();
  const info = infoOf(tab, mine.model);
  $('.field.question').hidden = tab !== 'vqa';
  $('.field.target label').textContent = { classification: 'Class', captioning: 'Caption', vqa: 'Answer' }[tab];
  $('#gc-target').placeholder = { classification: 'Any class; empty: its first choice', captioning: 'Your own; empty: the network’s', vqa: 'Any answer; empty: the network’s' }[tab];
  if (document.activeElement !== $('#gc-target')) $('#gc-target').value = mine.target;
  if (document.activeElement !== $('#gc-question')) $('#gc-question').value = mine.question;
  $('.tries').hidden = tab !== 'vqa';
  const questions = facts.questions[photo?.example] ?? facts.questions[''];
  $('.tries').replaceChildren(...questions.map((text) => make('button', { type: 'button', onclick: () => ask(text) }, text)));
  for (const button of element.querySelectorAll('[role=tab]')) {
    const chosen = button.dataset.task === tab;
    button.setAttribute('aria-selected', chosen);
    button.tabIndex = chosen ? 0 : -1;
    if (chosen) $('#gc-panel').setAttribute('aria-labelledby', button.id);
  }
  for (const button of $('.examples').children) button.setAttribute('aria-pressed', button.dataset.name === photo?.example);
  const option = (value, text, chosen) => make('option', { value, selected: chosen }, text);
  const models = facts.tasks[tab];
  const named = (each) => `${each.title}${each.year ? `, ${each.year}` : ''} · ${each.megabytes ? `${each.megabytes.toLocaleString('en')} MB` : 'built in'} (${each.name})`;
  const custom = models.some((each) => each.name === mine.model) ? [] : [option(mine.model, mine.model, true)];
  $('.model').replaceChildren(...custom, ...models.map((each) => option(each.name, named(each), each.name === mine.model)));
  $('.beside').replaceChildren(option('', 'none', !mine.beside?.model), ...models.map((each) => option(each.name, named(each), each.name === mine.beside?.model)));
  $('.by-id').hidden = $('.hub').hidden = tab !== 'classification';
  const layers = Object.entries(mine.shown?.layers ?? {});
  $('.layer').replaceChildren(option('', 'the last', !mine.layer), ...layers.map(([name, size]) => option(name, `${name} (${size})`, name === mine.layer)));
  $('.method').replaceChildren(...facts.methods.map((each) => option(each.name, each.title, each.name === mine.method)));
  const method = facts.methods.find((each) => each.name === mine.method);
  $('.about-method').textContent = `${method.title}: ${method.about} (${method.paper})`;
  $('.options summary').textContent = `Options: ${info.title}, ${mine.layer ?? 'last layer'}, ${method.title}`;
  const fresh = mine.shown && mine.shown.photo === photo;
  $('.details').textContent = fresh ? details(mine.shown) : '';
  $('.keep').hidden = !fresh;
}

function renderVisit() {
  const box = $('.history');
  box.hidden = visit.length < 2;
  box.lastElementChild.replaceChildren(
    ...visit.toReversed().map((result) => {
      const canvas = make('canvas', { width: 48, height: 48, 'aria-hidden': true });
      const { naturalWidth: w, naturalHeight: h } = result.photo.image;
      const side = Math.min(w, h);
      canvas.getContext('2d').drawImage(result.photo.image, (w - side) / 2, (h - side) / 2, side, side, 0, 0, 48, 48);
      return make('button', { type: 'button', onclick: () => back(result) }, canvas, make('span', {}, result.question ? `${result.question} ${result.target}` : result.target));
    }),
  );
}

function back(result) {
  tab = result.task;
  photo = result.photo;
  Object.assign(state(), { shown: result, second: null, beside: null, word: null, error: '', offer: null, stale: false, model: result.model, method: result.method, target: result.target, asked: state().asked + 1, busy: '' });
  if (result.question) state().question = result.question;
  if (lookDone(result)) look.view = 'grad-cam';
  render();
}

function render() {
  renderSaid();
  renderStage();
  renderViews();
  renderList();
  renderFields();
  renderVisit();
}

// ---- What visitors do ----

function choose(task) {
  tab = task;
  closeOptions();
  if (states[task].shown?.photo !== photo && !states[task].busy) explain();
  else {
    if (states[task].shown && lookDone(states[task].shown)) look.view = 'grad-cam';
    render();
  }
}

function ask(question) {
  state().question = question;
  $('#gc-question').value = question;
  $('#gc-target').value = '';
  state().beside = state().beside?.model ? state().beside : null;
  explain({ target: '' });
}

for (const button of element.querySelectorAll('[role=tab]')) {
  button.addEventListener('click', () => choose(button.dataset.task));
  button.addEventListener('keydown', ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: 2 }[key];
    if (!step) return;
    const next = TASKS[(TASKS.indexOf(tab) + step) % 3];
    choose(next);
    $(`[data-task=${next}]`).focus();
  });
}

$('.examples').append(...facts.examples.map(({ name, thumbnail }) =>
  make('button', { type: 'button', 'data-name': name, title: name, 'aria-pressed': 'false', onclick: () => newPhoto({ key: name, name, example: name }) },
    make('img', { src: thumbnail, alt: name, width: 56, height: 56 }))));

$('input[type=file]').addEventListener('change', ({ target }) => {
  const [file] = target.files;
  if (file) upload_(file);
  target.value = ''; // the same file may be chosen again
});
document.addEventListener('paste', ({ clipboardData }) => {
  const [file] = clipboardData?.files ?? [];
  if (file) upload_(file);
});
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer?.files ?? [];
  if (file) upload_(file);
});

// The camera: one picture of it.
const video = $('video');
$('.camera').addEventListener('click', async () => {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
    $('.shooting').hidden = false;
    await video.play();
  } catch {
    state().error = 'The browser gives no camera to this page.';
    render();
  }
});
function stopCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  $('.shooting').hidden = true;
}
$('.no-shoot').addEventListener('click', stopCamera);
$('.shoot').addEventListener('click', () => {
  const canvas = make('canvas', { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  stopCamera();
  canvas.toBlob((blob) => upload_(new File([blob], 'camera.jpg', { type: 'image/jpeg' })), 'image/jpeg', 0.95);
});

$('.ask').addEventListener('submit', (event) => {
  event.preventDefault();
  closeOptions();
  settled = true;
  const question = $('#gc-question').value.trim();
  const target = $('#gc-target').value.trim();
  // To another question the answer to the last one need not fit.
  const same = tab !== 'vqa' || question === state().question || target !== state().target;
  state().question = question;
  if (!same) $('#gc-target').value = '';
  explain({ target: same ? target : '' });
});
$('.offer button').addEventListener('click', () => {
  if (state().offer?.beside) {
    state().offer = null;
    askBeside('download');
  } else explain({ lane: 'download' });
});

$('.colour').append(...Object.keys(tables).map((name) => make('option', { value: name, selected: name === look.colour }, name)));
$('.colour').addEventListener('change', ({ target }) => {
  look.colour = target.value;
  render();
});
$('.opacity input').value = look.opacity;
$('.opacity input').addEventListener('input', ({ target }) => {
  look.opacity = Number(target.value);
  renderStage();
  renderViews();
});
$('.same input').addEventListener('change', ({ target }) => {
  look.same = target.checked;
  render();
});
$('.full').addEventListener('click', () => (document.fullscreenElement ? document.exitFullscreen() : $('.stage').requestFullscreen()));

function choice(selector, change) {
  $(selector).addEventListener('change', ({ target }) => {
    change(target.value.trim());
  });
}
choice('.model', (name) => pickModel(name));
choice('.hub', (name) => name && pickModel(name));
choice('.layer', (name) => {
  state().layer = name || null;
  explain();
});
choice('.method', (name) => {
  state().method = name;
  explain();
});
choice('.beside', (name) => {
  state().beside = name ? { model: name } : null;
  askBeside();
});
function pickModel(name) {
  Object.assign(state(), { model: name, layer: null });
  explain();
}

for (const button of element.querySelectorAll('.keep button'))
  button.addEventListener('click', async () => {
    const { shown } = state();
    button.disabled = true;
    const reply = await call('keep', request(tab, { target: shown.target, format: button.dataset.format, colour_map: look.colour, opacity: look.opacity }));
    button.disabled = false;
    state().error = reply?.error ?? '';
    render();
  });

// Suggestions: what is typed is what is meant, unless one of them is chosen.
const field = $('#gc-target');
const options = $('#gc-options');
let active = -1;
let typing;
function closeOptions() {
  clearTimeout(typing);
  options.hidden = true;
  active = -1;
  field.setAttribute('aria-expanded', 'false');
  field.removeAttribute('aria-activedescendant');
}
async function openOptions() {
  if (tab === 'captioning' || !photo?.image) return;
  const text = field.value;
  const reply = await call('suggest', (({ layer, method, ...rest }) => ({ ...rest, text }))(request(tab)));
  if (!reply?.labels?.length || document.activeElement !== field || field.value !== text) return closeOptions();
  active = -1;
  options.replaceChildren(...reply.labels.map((label, i) =>
    make('li', { role: 'option', id: `gc-option-${i}`, 'aria-selected': 'false', onmousedown: (event) => {
      event.preventDefault();
      take(label.text);
    } }, make('span', {}, label.text), make('small', {}, percent(label.probability)))));
  options.hidden = false;
  field.setAttribute('aria-expanded', 'true');
}
function take(text) {
  field.value = text;
  settled = true;
  closeOptions();
  explain({ target: text });
}
// What was explained is replaced by what is typed next: the first click selects it.
let settled = true;
field.addEventListener('focus', () => field.select());
field.addEventListener('click', () => {
  if (settled) field.select();
  settled = false;
});
field.addEventListener('input', () => {
  settled = false;
  clearTimeout(typing);
  typing = setTimeout(openOptions, 150);
});
field.addEventListener('blur', closeOptions);
field.addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === 'Escape') closeOptions();
  else if (event.key === 'Enter' && active >= 0) {
    event.preventDefault();
    take(options.children[active].firstChild.textContent);
  } else if (step) {
    event.preventDefault();
    if (options.hidden) return openOptions();
    options.children[active]?.setAttribute('aria-selected', 'false');
    active = (active + step + options.childElementCount) % options.childElementCount;
    options.children[active].setAttribute('aria-selected', 'true');
    field.setAttribute('aria-activedescendant', options.children[active].id);
  }
});

// ---- The start: what the address names, or the first example ----

const query = new URLSearchParams(location.search);
if (TASKS.includes(query.get('tab'))) tab = query.get('tab');
if (query.get('question')) state().question = query.get('question').slice(0, 300);
const named = facts.examples.find(({ name }) => name === query.get('example')) ?? facts.examples[0];
photo = { key: named.name, name: named.name, example: named.name };
explain({ target: (query.get('target') ?? '').slice(0, 300) });
