// What is said of a result, in words.

const percent = (p) => (p >= 0.1 ? `${(100 * p).toFixed(0)} %` : p >= 0.001 ? `${(100 * p).toFixed(1)} %` : 'under 0.1 %');
const logOf = (p) => Math.log(Math.max(p, 1e-300)).toFixed(1);
const infoOf = (task, name) => facts.tasks[task].find((info) => info.name === name) ?? { name, title: name, year: 0, megabytes: 0, guided: true };
// Of a network by its id only loading tells what it is.
const methodsOf = (info) => facts.methods.filter((each) => !each.transformers || !info.convolutional);

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
  const { beside, second } = state();
  if (beside?.target && second) return [...asked, 'Why ', name, ', and why not ', strong(second.task === 'captioning' ? `“${second.target}”` : second.target), '?'];
  return [...asked, 'Why ', name, '?'];
}

// Of two beside each other, what stands above each.
function besideCaption(result) {
  const { beside } = state();
  const value = result.task === 'captioning' ? result.score.toFixed(1) : percent(result.probability);
  const evidence = !result.map.max ? '; nothing speaks for it' : hardly(result) ? '; hardly any evidence' : '';
  const by = beside?.model ? ` by ${infoOf(result.task, result.model).title}; it says ${result.predictions[0].text}` : '';
  return `${result.target}: ${value}${evidence}${by}`;
}

function under(result, word) {
  const best = result.predictions[0];
  const own = best.text === result.target;
  if (word != null) return `Log-probability ${result.words[word].log_prob.toFixed(2)} after the words before it.`;
  if (result.task === 'captioning')
    return `Log-probability ${result.score.toFixed(1)}. ` + (own ? 'The network’s own caption; click a word to see where it comes from.' : `The network’s own caption: “${best.text}” (${logOf(best.probability)}).`);
  const { typed, target } = result;
  const taken = typed && !/^\d+$/.test(typed) && typed.toLowerCase() !== target.toLowerCase() ? `“${typed}” is taken for what fits it and is likeliest here: ${result.target}. ` : '';
  const likely = percent(result.probability);
  return `${taken}${likely[0].toUpperCase()}${likely.slice(1)}, ` + (own ? 'the network’s first choice.' : `where the network’s first choice is ${best.text} (${percent(best.probability)}).`);
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
    if (shown.unsure && word == null) lines.push('The network is guessing.');
    if (shown.not_understood.length) lines.unshift(`Not understood: ${shown.not_understood.join(', ')}.`);
    $('.under').textContent = busy || lines.join(' ');
  } else {
    $('h2').textContent = busy || (error ? 'No explanation' : 'Choose a photo');
    $('.under').textContent = busy ? '' : error ? '' : 'The network says what it sees, and Grad-CAM shows where.';
  }
  const wrong = offer ? '' : [error, besideError].filter(Boolean).join(' ');
  // Said once: a reader of the screen reads it out each time that it is written.
  if ($('.error p').textContent !== wrong) $('.error p').textContent = wrong;
  $('.error').hidden = !wrong;
  const mends = near.map((text) => [text, () => explain({ target: text })]);
  if (again) mends.push(['Try again', again]);
  refill($('.mends'), near.length ? 'Did you mean ' : '', ...mends.map(([text, onclick]) => make('button', { type: 'button', 'data-name': text, onclick: () => {
    $('.said').focus({ preventScroll: true }); // the button goes
    onclick();
  } }, text)));
  $('.offer').hidden = !offer;
  if (offer) {
    $('.offer p').textContent = `${offer.title} is not on this machine yet: ${offer.megabytes.toLocaleString('en')} MB, licence ${offer.licence}. It is kept for the next time.`;
    $('.offer button').textContent = 'Download and explain';
  }
  const kept = error && fresh && !busy && !live;
  $('.stale').hidden = !shown || !(stale || kept);
  $('.stale').textContent = stale ? 'Below is still the explanation of the photo before.' : `Below is still the explanation of “${shown?.target}”.`;
}

// The drawing of how it works tells the numbers of what is shown; it stands below the page's own
// part, and only once it has been opened.
function renderHow() {
  const { shown } = state();
  const write = (name, text) => document.querySelectorAll(`.how-${name}`).forEach((node) => (node.textContent = text));
  write('map', shown ? `${shown.map.w} × ${shown.map.h} cells` : '');
  write('score', shown ? `${shown.score.toFixed(2)} for ${shown.target.length > 20 ? shown.target.slice(0, 19) + '…' : shown.target}` : '');
}
document.addEventListener('click', () => setTimeout(renderHow));
