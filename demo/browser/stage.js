// The large view, and the small ones to switch it.

const mapOf = (result, view, word) => (view === 'counterfactual' ? result.counterfactual : word == null ? result.map : result.words[word].map);

// The largest value of all maps that were shown of this photo: the end of the shared scale.
function sharedMax(result) {
  const all = visit.filter((each) => each.photo === result.photo && each.task === result.task);
  return Math.max(...[...all, result].flatMap((each) => [each.map.max, each.counterfactual.max, ...each.words.map((word) => word.map.max)]));
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
