// The large view, and the small ones to switch it.

const mapOf = (result, view, word) => (view === 'counterfactual' ? result.counterfactual : word == null ? result.map : result.words[word].map);

// Whether all maps are drawn on one scale. Unless the visitor has decided: two targets of one
// network are, since their values can be compared, and those of two networks are not.
function sameScale() {
  return look.same ?? !!(state().second && state().beside?.target);
}

// The largest value of all maps of this photo that were made in the way of those that are shown:
// the end of the shared scale.
function sharedMax() {
  const made = ({ photo, task, model, layer, method }) => [photo.key, task, model, layer, method].join();
  const now = [state().shown, state().second].filter(Boolean);
  const ways = now.map(made);
  const all = [...now, ...visit.filter((each) => ways.includes(made(each)))];
  return Math.max(...all.flatMap((each) => [each.map.max, each.counterfactual.max, ...each.words.map((word) => word.map.max)]));
}

function aboutScale() {
  const { second, beside } = state();
  if (!sameScale() && second && beside?.model) return 'The better of two models looks at the thing itself, not at what is around it (paper, section 5.2). Each map has a scale of its own.';
  if (!sameScale()) return second ? 'Each map has a scale of its own: colours show where, not how much.' : '';
  if (second && beside?.model) return 'One scale for both, but the two networks count in units of their own: compare places, not colours.';
  return second ? 'One scale for both: the same colour is the same evidence, so what has little stays pale.' : 'One scale for all that you see of this photo: the same colour is the same evidence.';
}

// Two frames: the result, and another one beside it.
const frames = [0, 1].map((i) => {
  const canvas = make('canvas', { role: 'img' });
  const handle = make('div', { class: 'handle', role: 'slider', tabindex: 0, 'aria-label': 'Photo on the left, explanation on the right', 'aria-valuemin': 0, 'aria-valuemax': 100 });
  const frame = make('div', { class: 'frame' }, canvas, handle);
  const close = make('button', { type: 'button', class: 'close', 'aria-label': 'Show the first alone', title: 'Show the first alone', onclick: () => {
    frames[0].handle.focus({ preventScroll: true }); // the button goes
    besideTarget(null);
  } }, '×');
  const caption = make('figcaption', {}, make('span'), i && close);
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

// The first view is that of the method, which need not be Grad-CAM.
const otherWay = (view, { method }) => (view === 'grad-cam' && method !== 'grad-cam' ? methodNamed(method) : null);
const titleOf = (view, result) => otherWay(view, result)?.title ?? VIEWS[view][0];
const aboutOf = (view, result) => otherWay(view, result)?.about ?? VIEWS[view][1];

function lookOf(result, word, view = look.view) {
  const map = mapOf(result, view, word);
  return { view, map, table: tables[look.colour], opacity: look.opacity, gain: sameScale() ? map.max / sharedMax() || 0 : 1 };
}

function renderStage() {
  const { shown, second, word, busy } = state();
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
    canvas.setAttribute('aria-label', result.plain ? 'Your photo' : `${titleOf(look.view, result).replace('\u00ad', '')} for ${word == null || i ? result.target : result.words[word].text}`);
    caption.hidden = results.length < 2;
    caption.firstChild.textContent = results.length < 2 ? '' : besideCaption(result);
  });
  $('.stage').classList.toggle('busy', !!busy && !plain);
  $('.stage').classList.toggle('two', results.length > 1);
}

const chosenView = rove($('.views'));

function renderViews() {
  const { shown, word } = state();
  const box = $('.views');
  const fresh = shown && shown.photo === photo;
  for (const part of [box, $('.scale'), $('.about-view'), $('.controls')]) part.hidden = !fresh;
  if (!fresh) return;
  const guided = infoOf(shown.task, shown.model).guided && !shown.remarks.some((remark) => remark.startsWith('No guided'));
  const names = Object.keys(VIEWS).filter((view) => guided || !GUIDED.includes(view));
  if (box.childElementCount !== names.length) {
    box.replaceChildren(...names.map((view) => make('button', { type: 'button', 'data-view': view, onclick: () => setView(view) }, make('canvas', { 'aria-hidden': true }), make('span'))));
  }
  const { naturalWidth: w, naturalHeight: h } = shown.photo.image;
  for (const button of box.children) {
    const { view } = button.dataset;
    const canvas = button.firstChild;
    const width = Math.round(w >= h ? 120 : (120 * w) / h);
    const height = Math.max(1, Math.round((width * h) / w));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    button.lastChild.textContent = titleOf(view, shown);
    const whole = word != null && !['grad-cam', 'spotlight'].includes(view);
    button.disabled = whole;
    button.title = whole ? 'Of a whole caption only' : aboutOf(view, shown);
    button.setAttribute('aria-pressed', view === look.view);
    button.classList.toggle('later', GUIDED.includes(view) && !shown.gradient);
    draw(canvas, shown, lookOf(shown, word, view));
  }
  chosenView();
  const map = mapOf(shown, look.view, word);
  $('.about-view').textContent =
    look.view === 'counterfactual' && !map.max ? `Nothing in this photo speaks against ${shown.target}: there is no map to show.` : aboutOf(look.view, shown);
  const scaled = !GUIDED.includes(look.view) && look.view !== 'spotlight';
  $('.scale').hidden = !scaled;
  $('.opacity').hidden = !scaled;
  const top = sameScale() ? sharedMax() : map.max;
  const apart = state().second && !sameScale();
  $('.same input').checked = sameScale();
  $('.about-scale').textContent = aboutScale();
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
