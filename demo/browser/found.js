// What the network says: its list, the words of a caption, and what was shown in this visit.

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
