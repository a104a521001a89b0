// "Can I trust this map?": figures about it, each when it is asked for.

const TESTS = {
  occlusion: {
    title: 'Cover part after part',
    about: 'A grey square goes over the photo. Where covering costs the most score, the network looked. Does the map rank the parts alike?',
  },
  curves: {
    title: 'Take away what it marks, and bring it back',
    about: 'What the map marks turns grey, the strongest first: a good map makes the probability fall at once. Then it comes back into a blurred photo: a good map makes it rise at once.',
  },
  sanity: {
    title: 'Make the network forget',
    about: 'Its layers are filled with random numbers, from the top down. A map that stays as it is explains the photo, not the network.',
  },
  fool: {
    title: 'Make it say something else',
    about: 'The photo is changed so little that nobody sees it, until the network says another class. Does the map of what is really there stay where it was?',
  },
};
// Of classes only.
const OF_CLASSES = ['sanity', 'fool'];
const goal = make('input', { id: 'gc-goal', maxlength: 300, placeholder: 'the least likely class' });
const figures = new Map(); // a result's key -> {test: what the server found}

const testButtons = Object.fromEntries(
  Object.entries(TESTS).map(([test, { title, about }]) => {
    const button = make('button', { type: 'button', class: 'main', onclick: () => (working ? stopWork() : runTest(test)) });
    const parts = { button, wrong: make('p', { class: 'wrong', role: 'alert', hidden: true }), found: make('div', { class: 'figures', 'aria-live': 'polite' }), drawn: null };
    const asks = test === 'fool' ? make('div', { class: 'controls' }, make('label', { for: 'gc-goal' }, 'Make it say '), goal, button) : button;
    $('.tests').append(make('section', { class: `test ${test}`, 'aria-label': title }, make('h3', {}, title), make('p', {}, about), asks, parts.wrong, parts.found));
    return [test, parts];
  }),
);

async function runTest(test) {
  const result = shownNow();
  const kept = figures.get(result.key) ?? {};
  figures.set(result.key, kept);
  delete kept[test];
  await work(`test ${test}`, async (ask) => {
    const reply = await ask('evidence', requestOf(result, { test, goal: (test === 'fool' && goal.value.trim()) || null }));
    if (reply) kept[test] = reply;
  });
}

// What two tests say together that by themselves say the opposite; null where they do not.
function together({ occlusion, curves }) {
  const speaks = { ...occlusion?.speaks, ...curves?.speaks };
  if (!occlusion?.speaks || !curves?.speaks || new Set(Object.values(speaks)).size < 2) return null;
  const { deletion: needed, insertion: enough, 'occlusion-correlation': alike } = speaks;
  const decides = needed && enough ? 'what the map marks most decides the answer'
    : needed ? 'the network needs what the map marks, and something beside it'
    : enough ? 'what the map marks is enough for the answer, but the network can do without it'
    : 'what the map marks decides the answer no sooner than chance';
  const ranks = alike ? 'the map ranks the parts as the network uses them' : 'the map does not rank the parts as the network uses them';
  const so = needed && enough ? ': believe where it is strongest, not its shades' : !needed && !enough ? ': believe that these parts count, not that they decide' : '';
  return `Taken together: ${decides}; ${alike === (needed || enough) ? 'and' : 'but'} ${ranks}${so}.`;
}

function renderTrust(result) {
  const kept = figures.get(result.key) ?? {};
  const joint = together(kept);
  for (const [test, { button, wrong, found }] of Object.entries(testButtons)) {
    const reply = kept[test];
    button.closest('section').hidden = OF_CLASSES.includes(test) && result.task !== 'classification';
    starter(button, `test ${test}`, reply && !reply.error ? 'Test again' : 'Test');
    button.classList.toggle('main', !reply || !!reply.error);
    wrong.hidden = !reply?.error;
    wrong.textContent = reply?.error ?? '';
    const parts = testButtons[test];
    const drawn = reply && !reply.error ? reply : null;
    const made = `${look.colour} ${joint}`;
    if (drawn === parts.drawn && drawn?.made === made) continue;
    if (drawn) drawn.made = made;
    parts.drawn = drawn;
    found.replaceChildren(...(drawn ? FOUND[test](result, { ...drawn, sentence: joint ?? drawn.sentence }) : []));
  }
  $('.keep-figures').hidden = !Object.values(kept).some((reply) => reply && !reply.error);
}

const FOUND = { occlusion: foundOcclusion, curves: foundCurves, sanity: foundSanity, fool: foundFooled };

function pair(caption, canvas) {
  return make('figure', {}, make('figcaption', {}, caption), canvas);
}

function foundOcclusion(result, { findings, sentence }) {
  const { value, map } = findings['occlusion-correlation'];
  const values = map.flat().map((drop) => Math.max(0, drop));
  const max = Math.max(...values);
  const drops = { h: map.length, w: map[0].length, max, values: Float32Array.from(values, (drop) => drop / (max || 1)) };
  return [
    make('p', { class: 'verdict' }, sentence),
    make('div', { class: 'pairs' }, pair('The map', miniature(result, result.map, 'The map')), pair('What covering costs', miniature(result, drops, 'Where covering lowers the score'))),
    make('p', {}, make('b', {}, `Rank correlation ${value.toFixed(2)}`), '. 1: the same order of parts, 0: no relation, higher is better. The paper (section 5.3) found .254 on average for Grad-CAM, over many photos.'),
  ];
}

const CURVES = [
  ['map', 'the map’s order', 'curve-map'],
  ['random order', 'random order', 'curve-random'],
  ['centre', 'centre first', 'curve-centre'],
];

function foundCurves(result, { findings, sentence }) {
  const { 'average-drop': drop, road } = findings;
  return [
    make('p', { class: 'verdict' }, sentence),
    make('div', { class: 'pairs' },
      chart('Turned grey', 'lower is better', 'share of the photo turned grey', findings.deletion),
      chart('Brought back', 'higher is better', 'share of the photo brought back', findings.insertion)),
    make('p', {}, make('b', {}, `Drop ${percentOf(drop.value)}`), `: so much of its probability is lost when only what the map marks is seen (0 is best)${drop.beside.increase ? '; here it even rises' : ''}. Curves: Petsiuk et al. 2018; drop: Chattopadhay et al. 2018.`),
    make('p', {}, make('b', {}, `ROAD ${figureOf(road.value)}`), ': what is taken away is filled in from around it, so that no hole tells. Half the probability that is left without what is marked least, less that without what is marked most; 0 is chance, 0.5 the best (Rong et al. 2022).'),
  ];
}

const percentOf = (share) => `${(100 * share).toFixed(0)} %`;
const figureOf = (value) => (Math.abs(value) < 0.01 && value ? value.toPrecision(2) : value.toFixed(2)); // of captions they are tiny

function svg(tag, attributes, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Probability against the share of the photo that was changed.
function chart(title, better, along, { value, beside, curve, curves_beside }) {
  const curves = { map: curve, ...curves_beside };
  const areas = { map: value, ...beside };
  const top = Math.max(...Object.values(curves).flat()) || 1;
  const [width, height, left, bottom] = [300, 150, 38, 130];
  const x = (i, n) => left + ((width - left - 6) * i) / (n - 1);
  const y = (p) => bottom - ((bottom - 8) * p) / top;
  const text = (at, down, anchor, said) => svg('text', { x: at, y: down, 'text-anchor': anchor }, said);
  const drawn = svg('svg', { viewBox: `0 0 ${width} ${height + 12}`, role: 'img', 'aria-label': `${title}: area under the curve ${CURVES.map(([name, said]) => `${figureOf(areas[name])} for ${said}`).join(', ')}` },
    svg('path', { class: 'axis', d: `M${left} 6V${bottom}H${width - 4}` }),
    text(left - 4, 14, 'end', top < 0.01 ? top.toExponential(0) : percentOf(top)), text(left - 4, bottom, 'end', '0'),
    text(left, bottom + 14, 'middle', '0 %'), text(width - 6, bottom + 14, 'end', '100 %'), text((left + width) / 2, bottom + 28, 'middle', along),
    ...CURVES.toReversed().map(([name, , kind]) => svg('polyline', { class: kind, points: curves[name].map((p, i, all) => `${x(i, all.length)},${y(p)}`).join(' ') })));
  const legend = CURVES.map(([name, said, kind]) => make('li', {}, svg('svg', { class: 'swatch', viewBox: '0 0 26 6', 'aria-hidden': 'true' }, svg('path', { class: kind, d: 'M0 3H26' })), ` ${said}: `, make('b', {}, figureOf(areas[name]))));
  return make('figure', {}, make('figcaption', {}, title, ' ', make('small', {}, `area under the curve; ${better}`)), drawn, make('ul', { class: 'legend' }, ...legend));
}

function foundSanity(result, { steps }) {
  // The first step forgets the last layer alone: which class is which.
  const [first, last] = [steps[0], steps.at(-1)].map(({ correlation }) => Math.abs(correlation));
  const verdict =
    last > 0.5
      ? 'The map hardly changes: it shows the photo more than what the network learned.'
      : first > 0.75
        ? 'The map falls apart in the end, but stays when the network forgets which class is which: it shows what the network learned, and hardly why this class.'
        : 'The map falls apart as the network forgets: it shows what the network learned.';
  return [
    make('p', { class: 'verdict' }, verdict),
    make('div', { class: 'strip', role: 'group', tabindex: 0, 'aria-label': 'The map as the network forgets' },
      make('figure', {}, miniature(result, result.map, 'The map itself', 160), make('figcaption', {}, 'as it is')),
      ...steps.map(({ layer, correlation, map }) => make('figure', {}, miniature(result, unpackMap(map), `The map with all from the top down to ${layer} random`, 160), make('figcaption', {}, `${layer}: ${correlation.toFixed(2)}`)))),
    make('p', {}, 'Below each map: the layer that was randomised last (all above it are random too), and the rank correlation with the true map; near 0 is good (Adebayo et al. 2018).'),
  ];
}

function foundFooled(result, found) {
  const { predictions: [now], of_255, correlation } = found;
  const held = `The box around the map of what is really there ${found.found ? 'stays' : 'moves away'}.`;
  const photo = (title, { url }) => pair(title, make('img', { src: url, alt: title }));
  const map = (title, of, target) => pair(title, miniature(result, of, `The map for ${target}: ${title}`));
  return [
    make('p', { class: 'verdict' }, found.fooled ? `It now says “${now.text}” (${percent(now.probability)}). ${held}` : `It still says “${now.text}” first (${percent(now.probability)}). ${held}`),
    make('div', { class: 'pairs' }, photo('The changed photo', found.picture), photo(`The change, ${Math.round(127.5 / of_255)} times as strong`, found.change)),
    make('div', { class: 'pairs' }, map(`“${result.target}” before`, result.map, result.target), map(`“${result.target}” after`, unpackMap(found.after), result.target), map(`“${found.goal}” after`, unpackMap(found.other), found.goal)),
    make('p', {}, make('b', {}, `Rank correlation ${correlation.toFixed(2)}`), ` of the maps of “${result.target}” before and after; 1 is the same. Its probability went from ${percent(result.probability)} to ${percent(found.probability)}. No colour was changed by more than ${of_255} of 255. The paper (section 6.2) shows maps that hold.`),
  ];
}

// The figures that were asked for, as JSON; null if none was.
function measuredOf(result) {
  const kept = figures.get(result.key) ?? {};
  if (!Object.values(kept).some((reply) => !reply.error)) return null;
  const { occlusion, curves, sanity, fool } = kept;
  const { task, model, layer, method, question, target, score, probability } = result;
  return JSON.stringify({
    picture: result.photo.name, task, model, layer, method, question, target, score, probability,
    findings: { ...occlusion?.findings, ...curves?.findings },
    said: [together(kept) ?? [occlusion, curves].map((reply) => reply?.sentence)].flat().filter(Boolean),
    sanity: sanity?.steps?.map(({ layer, correlation }) => ({ layer, correlation })) ?? [],
    fooled: fool && !fool.error ? { goal: fool.goal, fooled: fool.fooled, correlation: fool.correlation, found: fool.found } : null,
    box: { above: locateAbove(), ...located(result) },
  }, null, 1);
}

$('.keep-figures button').addEventListener('click', () => save(`evidence-${shownNow().target}.json`, measuredOf(shownNow())));

function save(name, content) {
  const url = URL.createObjectURL(new Blob([content], { type: 'application/json' }));
  make('a', { href: url, download: name.replace(/[^\w.-]+/g, '-') }).click();
  URL.revokeObjectURL(url);
}
