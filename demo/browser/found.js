// What the network says: its list, the words of a caption, and what was shown in this visit.

// The rows stay and are written anew: live, they change under the pointer.
function newRow() {
  const li = make('li', {},
    make('button', { type: 'button', class: 'pick', onclick: () => pick(li.dataset.text) }, make('span', { class: 'name' }), make('span', { class: 'value' }), make('span', { class: 'bar' })),
    make('button', { type: 'button', class: 'beside-it', onclick: () => besideTarget(state().beside?.target === li.dataset.text ? null : li.dataset.text) }, 'why not?'),
  );
  return li;
}

function writeRow(li, { text, probability }, { target, task }) {
  const captions = task === 'captioning';
  const [pick, beside] = li.children;
  const [name, value, bar] = pick.children;
  li.dataset.text = text;
  name.textContent = text;
  value.textContent = captions ? logOf(probability) : percent(probability);
  bar.style.width = `${captions ? 0 : 100 * probability}%`;
  pick.setAttribute('aria-pressed', text === target);
  beside.hidden = text === target;
  beside.setAttribute('aria-pressed', state().beside?.target === text);
  beside.setAttribute('aria-label', `Why not ${text}?`);
  beside.title = `Show ${text} beside ${target}`;
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
  $('.list .title').textContent = { classification: 'Most likely, says the network', captioning: 'The network’s own captions', vqa: 'Most likely answers' }[task];
  $('.list small').textContent = captions ? 'with log-probability' : 'click one to see why';
  const rows = $('.list ol');
  while (rows.childElementCount < predictions.length) rows.append(newRow());
  [...rows.children].forEach((li, i) => (predictions[i] ? writeRow(li, predictions[i], shown) : li.remove()));
  $('.list .note').hidden = !captions || !predictions.some((each, i) => i && each.probability > predictions[i - 1].probability);
  $('.list .knows').textContent = shown.knows;
  words.hidden = !captions;
  if (!captions) return words.replaceChildren();
  const tile = (text, value, index) => {
    const canvas = make('canvas', { 'aria-hidden': true });
    const { naturalWidth: w, naturalHeight: h } = shown.photo.image;
    Object.assign(canvas, { width: 128, height: Math.max(1, Math.min(256, Math.round((128 * h) / w))) });
    draw(canvas, shown, lookOf(shown, index, 'grad-cam'));
    return make('button', { type: 'button', 'data-name': `${index} ${text}`, 'aria-pressed': String(word === index), onclick: () => setWord(index) }, canvas, make('span', { class: 'name' }, text), ' ', make('span', { class: 'value' }, value));
  };
  refill(words,
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

// So does the field: what is typed there is answered above it, and the phone's keyboard goes.
function showAnswer() {
  if ($('.said').getBoundingClientRect().top >= 0) return;
  $('.said').focus({ preventScroll: true });
  $('.said').scrollIntoView({ block: 'start' });
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
  refill(box.lastElementChild,
    ...visit.toReversed().map((result) => {
      result.thumbnail ??= thumbnail(result.photo.image);
      return make('button', { type: 'button', 'data-name': result.key, onclick: () => {
        showResult();
        back(result);
        tellAddress(result);
      } }, result.thumbnail,
        make('span', {}, make('small', {}, result.question ?? ''), result.target, make('small', {}, wayOf(result))));
    }),
  );
}

function thumbnail(image) {
  const canvas = make('canvas', { width: 48, height: 48, 'aria-hidden': true });
  const { naturalWidth: w, naturalHeight: h } = image;
  const side = Math.min(w, h);
  canvas.getContext('2d').drawImage(image, (w - side) / 2, (h - side) / 2, side, side, 0, 0, 48, 48);
  return canvas;
}

// What was chosen in another way than the page begins with.
function wayOf({ task, model, method, layer, layers }) {
  const parts = [
    model !== facts.tasks[task][0].name && infoOf(task, model).title,
    method !== 'grad-cam' && methodNamed(method).title,
    layer !== Object.keys(layers).at(-1) && layer,
  ];
  return parts.filter(Boolean).join(', ');
}

function back(result) {
  stopCamera();
  tab = result.task;
  photo = result.photo;
  Object.assign(state(), { shown: result, second: null, beside: null, word: null, error: '', near: [], again: null, offer: null, stale: false, model: result.model, method: result.method, target: result.target, asked: state().asked + 1, busy: '' });
  if (result.question) state().question = result.question;
  if (lookDone(result)) look.view = 'grad-cam';
  render();
}
