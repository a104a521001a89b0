// Maps in a row: by all methods, at all layers; and the difference of two.

// A result of the same photo and target, explained in another way, by its key.
const explained = new Map();
const wayKey = (result, way) => JSON.stringify([result.photo.key, result.task, result.model, result.question, result.target, way.method ?? result.method, way.layer ?? result.layer]);

const measured = new Map(); // the same key -> figures
const unmeasured = (key) => !measured.has(key) || !!measured.get(key).lost;
const differences = new Map(); // a result's key and a rival -> its result, or {error}
const STRIPS = {
  methods: {
    title: 'Methods',
    about: 'Other ways to make a map of the same network, photo and target, at the same layer. Each is coloured up to its own maximum: their units differ. At the last layer of most networks CAM, Grad-CAM, XGrad-CAM and HiResCAM are the same map. Click one to see it large.',
    button: 'Draw the quick ones',
    ways: (result) => methodsOf(infoOf(result.task, result.model)).map(({ name, title, paper, slow }) => ({ way: { method: name }, title, small: paper, slow, current: name === result.method })),
    choose: ({ method }) => Object.assign(state(), { method }),
  },
  layers: {
    title: 'Layers',
    about: 'The same method at each layer, from the input to the output: early layers see edges, late ones things (the paper’s Figure 12). Each is coloured up to its own maximum.',
    button: 'Draw all layers',
    ways: (result) => Object.entries(result.layers).map(([name, size]) => ({ way: { layer: name }, title: name, small: `${size} cells`, current: name === result.layer })),
    choose: ({ layer }) => Object.assign(state(), { layer }),
  },
};

const strips = Object.fromEntries(
  Object.entries(STRIPS).map(([kind, { title, about, button }]) => {
    const start = make('button', { type: 'button', class: 'main', onclick: () => (working ? stopWork() : drawStrip(kind)) }, button);
    const judge = make('button', { type: 'button', onclick: () => (working ? stopWork() : measureStrip(kind)) });
    const alike = make('p', { hidden: true }, 'The same at every layer: this method asks the network as a whole. Choose another in Options to compare layers.');
    const row = make('div', { class: 'strip', role: 'group', 'aria-label': title });
    const left = make('details', { class: 'left-out', hidden: true }, make('summary'), make('ul'));
    $('.strips').append(make('section', { class: kind, 'aria-label': title }, make('h3', {}, title), make('p', {}, about), make('div', { class: 'controls' }, start, judge), alike, row, left));
    return [kind, { start, judge, alike, row, left }];
  }),
);

async function drawOne(ask, result, { way }) {
  const key = wayKey(result, way);
  if (explained.get(key)?.map) return;
  const reply = await ask(laneFor('compare', way.method ?? result.method), requestOf(result, way));
  if (reply) explained.set(key, reply.answer ? await unpacked(reply.answer, result.photo) : { error: reply.error, lost: reply.lost });
}

function drawStrip(kind, only) {
  const result = shownNow();
  const ways = STRIPS[kind].ways(result).filter((each) => (only ? each.title === only : !each.slow || kind === 'layers'));
  return work(only ? `${kind} ${only}` : kind, async (ask) => {
    for (const each of ways) await drawOne(ask, result, each);
  });
}

function measureStrip(kind) {
  const result = shownNow();
  const ways = STRIPS[kind].ways(result).filter(({ way }) => explained.get(wayKey(result, way))?.map && unmeasured(wayKey(result, way)));
  return work(`measure ${kind}`, async (ask) => {
    for (const { way } of ways) {
      const reply = await ask('evidence', requestOf(result, { ...way, test: 'figures' }));
      if (reply) measured.set(wayKey(result, way), reply);
    }
  });
}

// Of one photo at a time: maps at the pixels are large.
let compared = null;
function forgetOthers(result) {
  if (compared === result.photo) return;
  compared = result.photo;
  for (const kept of [explained, measured, differences]) kept.clear();
}

function renderCompare(result) {
  forgetOthers(result);
  explained.set(wayKey(result, {}), result);
  for (const [kind, { start, judge, alike, row, left }] of Object.entries(strips)) {
    const ways = STRIPS[kind].ways(result);
    const found = ways.map((each) => {
      const key = wayKey(result, each.way);
      const { error, lost, ...other } = explained.get(key) ?? {};
      return { ...each, key, error, result: other.map && other, open: !other.map && (!error || lost) };
    });
    const drawn = found.filter((each) => each.result);
    starter(start, kind, STRIPS[kind].button, found.some(({ open, slow }) => open && (kind === 'layers' || !slow)));
    starter(judge, `measure ${kind}`, 'Measure each', drawn.some(({ key }) => unmeasured(key)));
    judge.hidden = drawn.length < 2;
    const focused = row.contains(document.activeElement) ? document.activeElement.dataset.title : null;
    row.replaceChildren(...found.filter((each) => each.result || (each.slow && each.open)).map((each) => stripTile(kind, result, each)));
    if (focused) [...row.querySelectorAll('button')].find((button) => button.dataset.title === focused)?.focus();
    const refused = found.filter(({ error }) => error);
    left.hidden = !refused.length;
    left.firstChild.textContent = `Not drawn: ${refused.map((each) => each.title).join(', ')}`;
    left.lastChild.replaceChildren(...[...new Set(refused.map(({ error }) => error))].map((why) => make('li', {}, why)));
    alike.hidden = kind !== 'layers' || drawn.length < 2 || !drawn.every((each) => sameMap(each.result.map, drawn[0].result.map));
  }
}

const sameMap = (one, other) => one.max === other.max && one.h === other.h && one.values.every((value, i) => value === other.values[i]);
// Long names of layers break between their parts.
const breakable = (name) => name.split(/(?<=[._])/).flatMap((part) => [part, make('wbr')]);

function stripTile(kind, result, { title, small, slow, current, way, key, result: other }) {
  const figure = make('figure', { class: current ? 'current' : '' });
  if (other) {
    const picture = miniature(result, other.map, `${title} for ${result.target}`, 220);
    figure.append(make('button', { type: 'button', class: 'pick-map', 'data-title': title, 'aria-pressed': String(current), title: 'Show it large', onclick: () => chooseWay(kind, way) }, picture));
  } else {
    const button = make('button', { type: 'button', 'data-title': title, onclick: () => (working ? stopWork() : drawStrip(kind, title)) });
    starter(button, `${kind} ${title}`, 'Draw it: slow');
    figure.append(make('div', { class: 'not-yet', style: `--ratio: ${result.photo.image.naturalWidth / result.photo.image.naturalHeight}` }, button));
  }
  figure.append(make('figcaption', {}, ...breakable(title), make('small', {}, small)));
  const figuresOf = measured.get(key);
  if (figuresOf) figure.append(figuresOf.error ? make('p', { class: 'wrong' }, figuresOf.error) : tileFigures(figuresOf));
  if (other && !other.map.max) figure.append(make('p', {}, 'empty: no evidence'));
  return figure;
}

const SHORT = { 'occlusion-correlation': 'covering', deletion: 'greyed', insertion: 'brought back' };

function tileFigures({ findings }) {
  return make('ul', { class: 'legend' }, ...Object.entries(findings).map(([name, { title, value, better }]) =>
    make('li', { title: `${title}; ${better} is better` }, `${SHORT[name]} `, make('b', {}, figureOf(value)), better === 'higher' ? '\u00a0↑' : '\u00a0↓')));
}

function chooseWay(kind, way) {
  STRIPS[kind].choose(way);
  $('.said').scrollIntoView({ block: 'start' });
  explain({ again: shownNow().target });
}

// ---- Why this and not that ----


function rivalsOf(result) {
  const said = [...result.predictions.map(({ text }) => text), ...visit.filter((each) => each.photo === result.photo && each.task === result.task && each.question === result.question).map(({ target }) => target)];
  return [...new Set(said)].filter((text) => text !== result.target);
}

const versusKey = (result, rival) => JSON.stringify([result.key, rival]);

$('.subtract').addEventListener('click', () => {
  if (working) return stopWork();
  const result = shownNow();
  const rival = $('.rival').value;
  work('versus', async (ask) => {
    const reply = await ask(laneFor('compare', result.method), requestOf(result, { target: rival }));
    if (reply) differences.set(versusKey(result, rival), reply.answer ? await unpacked(reply.answer, result.photo) : { error: reply.error });
  });
});
$('.rival').addEventListener('change', () => renderDig());

function renderVersus(result) {
  forgetOthers(result);
  const rivals = rivalsOf(result);
  const was = $('.rival').value;
  if ($('.rival').dataset.key !== JSON.stringify(rivals)) {
    $('.rival').dataset.key = JSON.stringify(rivals);
    $('.rival').replaceChildren(...rivals.map((text) => make('option', { value: text, selected: text === was }, text)));
  }
  const rival = $('.rival').value;
  const other = differences.get(versusKey(result, rival));
  starter($('.subtract'), 'versus', 'Show the difference', !!rival);
  const wrong = $('.versus .wrong');
  wrong.hidden = !other?.error;
  wrong.textContent = other?.error ?? '';
  $('.difference').replaceChildren(...(other?.map ? foundDifference(result, other) : []));
}

const FOR = [214, 32, 60]; // red: for the target
const AGAINST = [30, 90, 255]; // blue: for the rival

// The difference of two maps of one size, in shares of the larger maximum.
function differenceOf({ map: one }, { map: other }) {
  const top = Math.max(one.max, other.max) || 1;
  return { h: one.h, w: one.w, top, values: one.values.map((value, i) => (value * one.max - other.values[i] * other.max) / top) };
}

function foundDifference(result, other) {
  const { h, w, values } = differenceOf(result, other);
  const most = (sign) => values.reduce((most, value) => Math.max(most, sign * value), 0);
  const largest = Math.max(most(1), most(-1)) || 1;
  const canvas = fit(make('canvas', { role: 'img', 'aria-label': `Red where the evidence for ${result.target} is stronger, blue where that for ${other.target} is` }), result.photo.image, 640);
  const context = canvas.getContext('2d');
  const { width, height } = canvas;
  context.drawImage(result.photo.image, 0, 0, width, height);
  context.globalCompositeOperation = 'saturation'; // a grey photo: its own red and blue would mislead
  context.fillStyle = '#888';
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = 'source-over';
  const field = enlarge({ h, w, values }, width, height, result.box);
  context.drawImage(canvasOf(width, height, (data) => {
    for (let i = 0; i < field.length; i++) {
      data.set(field[i] >= 0 ? FOR : AGAINST, 4 * i);
      data[4 * i + 3] = (220 * Math.abs(field[i])) / largest;
    }
  }), 0, 0);
  const side = (colour, text, share) => make('li', {}, make('span', { class: 'dot', style: `background: rgb(${colour})` }), ` more for `, make('b', {}, text), share ? `: up to ${percentOf(share)} of the stronger map’s maximum` : ': nowhere');
  const little = largest < 0.25 || !values.some(Boolean);
  const verdict = make('p', { class: 'verdict' }, little ? 'The two maps differ little: this network sees both in much the same places.' : 'The two maps differ: the colours say where.');
  return [verdict, canvas, make('ul', { class: 'legend' }, side(FOR, result.target, most(1)), side(AGAINST, other.target, most(-1)))];
}
