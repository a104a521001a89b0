// What is said of a result, in words.

const percent = (p) => (p >= 0.0995 ? `${(100 * p).toFixed(0)} %` : p >= 0.001 ? `${(100 * p).toFixed(1)} %` : 'under 0.1 %');
const logOf = (p) => Math.log(Math.max(p, 1e-300)).toFixed(1);
const infoOf = (task, name) => facts.tasks[task].find((info) => info.name === name) ?? { name, title: name, year: 0, megabytes: 0, guided: true, convolutional: visit.find(({ model }) => model === name)?.convolutional };
// Of a network by its id only loading tells what it is: until then, all are offered.
const methodsOf = (info) => facts.methods.filter(({ transformers, only }) => !(transformers && info.convolutional) && (!only || only === info.name));
const methodNamed = (name) => facts.methods.find((method) => method.name === name);

// Words of a caption that the network would hardly say there: of one in a hundred, or less.
const HARDLY_SAID = Math.log(0.01);
const hardlySaid = ({ words }) => words.filter(({ log_prob }) => log_prob < HARDLY_SAID).map(({ text }) => `“${text}”`).join(', ');

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
  if (result.hardly) return [...asked, 'Hardly any evidence for ', name];
  const { beside, second } = state();
  if (beside?.target && second) return [...asked, 'Why ', name, ', and why not ', strong(second.task === 'captioning' ? `“${second.target}”` : second.target), '?'];
  return [...asked, 'Why ', name, '?'];
}

// Of two beside each other, what stands above each.
function besideCaption(result) {
  const { beside } = state();
  const value = result.task === 'captioning' ? result.score.toFixed(1) : percent(result.probability);
  const evidence = !result.map.max ? '; nothing speaks for it' : result.hardly ? '; hardly any evidence' : '';
  const by = beside?.model ? ` by ${infoOf(result.task, result.model).title}; it says ${result.predictions[0].text}` : '';
  return `${result.target}: ${value}${evidence}${by}`;
}

function under(result, word) {
  const best = result.predictions[0];
  const own = best.text === result.target;
  if (word != null) {
    const { log_prob } = result.words[word];
    return `Log-probability ${log_prob.toFixed(2)} after the words before it.${log_prob < HARDLY_SAID ? ' The network would hardly say it there.' : ''}`;
  }
  const odd = hardlySaid(result);
  if (result.task === 'captioning')
    return `Log-probability ${result.score.toFixed(1)}. ${odd && !own ? `The network would hardly say ${odd} there. ` : ''}` + (own ? 'The network’s own caption; click a word to see where it comes from.' : `The network’s own caption: “${best.text}” (${logOf(best.probability)}).`);
  const { typed, target } = result;
  const taken = typed && !/^\d+$/.test(typed) && typed.toLowerCase() !== target.toLowerCase() ? `“${typed}” is taken for what fits it and is likeliest here: ${result.target}. ` : '';
  const likely = percent(result.probability);
  return `${taken}${likely[0].toUpperCase()}${likely.slice(1)}, ` + (own ? 'the network’s first choice.' : `where the network’s first choice is ${best.text} (${percent(best.probability)}).`);
}

function details(result) {
  const info = infoOf(result.task, result.model);
  const [left, top, right, bottom] = result.box;
  const parts = [
    `${info.title}, layer ${result.layer}: ${result.map.w}\u00a0×\u00a0${result.map.h} cells.`,
    result.task === 'captioning' ? '' : `Logit ${result.score.toFixed(2)}.`,
    `${result.milliseconds}\u00a0ms.`,
    left > 0 || top > 0 || right < 1 || bottom < 1
      ? 'The network was shown the middle of the photo only; the map is empty outside.'
      : 'The network was shown the whole photo.',
    ...result.remarks,
  ];
  return parts.filter(Boolean).join(' ');
}

function renderSaid() {
  const { shown, word, busy, error, near, again, offer, stale, besideError } = state();
  const fresh = shown?.photo === photo;
  const said = $('.said');
  said.classList.toggle('busy', !!busy);
  if (fresh && !(busy && !busy.startsWith('Explaining'))) {
    refill($('h2'), ...heading(shown, word));
    const lines = [under(shown, word)];
    if ((shown.unsure || shown.not_understood.length) && word == null) lines.push('The network is guessing.');
    if (shown.not_understood.length) lines.unshift(`Not understood: ${shown.not_understood.join(', ')}.`);
    $('.under').textContent = busy || lines.join(' ');
  } else {
    $('h2').textContent = busy || (error ? 'No explanation' : 'Choose a photo');
    $('.under').textContent = busy ? '' : error ? '' : 'The network says what it sees, and Grad-CAM shows where.';
  }
  const words = fresh && !busy && word == null && !photo.frame && shown.reasons ? inWords(shown) : [];
  refill($('.in-words'), ...words);
  $('.in-words').hidden = !words.length;
  const wrong = offer ? '' : [error, besideError].filter(Boolean).join(' ');
  // Said once: a reader of the screen reads it out each time that it is written.
  const unheard = $('.error p').textContent !== wrong;
  if (unheard) $('.error p').textContent = wrong;
  $('.error').hidden = !wrong;
  const mends = near.map((text) => [text, () => explain({ target: text })]);
  if (again) mends.push(['Try again', again]);
  refill($('.mends'), near.length ? 'Did you mean ' : '', ...mends.map(([text, onclick]) => make('button', { type: 'button', 'data-name': text, onclick: () => {
    $('.said').focus({ preventScroll: true }); // the button goes
    onclick();
  } }, text)));
  if (unheard && wrong) $('.error').scrollIntoView({ block: 'nearest' });
  $('.offer').hidden = !offer;
  if (offer) {
    $('.offer p').textContent = `${offer.title} is not on this machine yet: ${offer.megabytes.toLocaleString('en')} MB, licence ${offer.licence}. It is kept for the next time. ${offer.limits}`;
    $('.offer button').textContent = 'Download and explain';
  }
  const kept = error && fresh && !busy && !live;
  $('.stale').hidden = !shown || !(stale || kept);
  $('.stale').textContent = stale ? 'Below is still the explanation of the photo before.' : `Below is still the explanation of “${shown?.target}”.`;
}

// The drawing of how it works: the numbers of what is shown, and the way that they were made. It
// stands below the page's own part, and only once it has been opened.
function renderHow() {
  const { shown, word } = state();
  const all = (name) => [...document.querySelectorAll(`.how-${name}`)];
  const write = (name, text) => all(name).forEach((node) => (node.textContent = text));
  const light = (name, lit) => all(name).forEach((node) => node.classList.toggle('lit', !!lit));
  const short = (text) => (text.length > 30 ? text.slice(0, 29) + '…' : text);
  const cells = shown ? `${shown.layer}, ${shown.map.w} × ${shown.map.h} cells` : '';
  const of = !shown ? '' : word == null ? shown.target : shown.words[word].text;
  const score = !shown ? '' : (word == null ? shown.score : shown.words[word].log_prob).toFixed(2);
  const method = methodNamed(shown?.method ?? 'grad-cam');
  const at = method.name === 'grad-cam';
  const gradient = ['gradient', 'both'].includes(method.reads);
  const pixels = ['pixels', 'both'].includes(method.reads) || !!shown?.gradient;
  write('map', cells);
  for (const node of all('said')) node.textContent = shown && node.closest(`.how-${shown.task}`) ? `“${short(of)}”` : node.dataset.else;
  write('score', shown ? `score y = ${score}` : 'score y');
  write('weights', at || !gradient ? 'gradient ∂y/∂A, averaged: a weight α for each channel' : `gradient ∂y/∂A, as ${method.title} weighs it`);
  write('method', at ? 'ReLU(Σ α A): the heat map' : `${method.title}: the heat map`);
  for (const task of TASKS) light(task, shown?.task === task);
  light('gradient', gradient);
  light('pixels', pixels);
  light('product', pixels && (!!shown?.gradient || method.reads === 'both'));
  const info = shown && infoOf(shown.task, shown.model);
  write('path', shown
    ? `Now: ${info.title} gives “${of}” a ${shown.task === 'captioning' ? 'log-probability' : 'logit'} of ${score}; the map is of its layer ${cells}, made by ${method.title}: ${method.about} ${shown.gradient ? 'Guided Backprop was computed too.' : ''}`
    : '');
}
document.addEventListener('click', () => setTimeout(renderHow));
