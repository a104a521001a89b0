// What the sections under the result have in common: they are closed, and ask only when told to.

let working = null; // {what, key, lane, stopped}: the only work of these sections at a time

const shownNow = () => (state().shown?.photo === photo && !photo.frame ? state().shown : null); // nothing of what is live

// The request that led to a result, changed.
function requestOf(result, more) {
  const where = result.photo.example ? { example: result.photo.example } : { upload: result.photo.upload };
  const { task, model, layer, method, question, target } = result;
  return { ...where, task, model, layer, method, question: task === 'vqa' ? question : null, target, ...more };
}

// Do some work step by step; `steps` is an async function that is given `ask`, which resolves to
// an answer, or to null as soon as the work was stopped.
async function work(what, steps) {
  const mine = { what, key: shownNow().key, lane: null, stopped: false };
  if (working) return;
  working = mine;
  renderDig();
  try {
    await steps(async (lane, data) => {
      if (mine.stopped) return null;
      mine.lane = lane;
      const reply = await call(lane, data);
      mine.lane = null;
      renderDig();
      if (reply?.stopped) mine.stopped = true;
      return mine.stopped ? null : (reply ?? { error: LOST, lost: true });
    });
  } finally {
    working = null;
    renderDig();
  }
}

function stopWork() {
  if (!working) return;
  working.stopped = true;
  if (working.lane) stop(working.lane);
  renderDig();
}

// A button that starts something, and stops it while it goes on.
function starter(button, what, label, ready = true) {
  const mine = working?.what === what;
  button.textContent = mine ? (working.stopped ? 'Stopping …' : 'Working … Stop') : label;
  button.disabled = mine ? working.stopped : !!working || !ready;
  button.setAttribute('aria-busy', mine);
}

// The photo of a result, or what stands for it, on a canvas of at most `side` pixels.
function fit(canvas, { naturalWidth: w, naturalHeight: h }, side) {
  const scale = Math.min(1, side / Math.max(w, h));
  const [width, height] = [w, h].map((length) => Math.max(1, Math.round(length * scale)));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.style.setProperty('--ratio', width / height);
  return canvas;
}

// A small picture of a map over its photo.
function miniature(result, map, label, side = 320) {
  const canvas = fit(make('canvas', { role: 'img', 'aria-label': label }), result.photo.image, side);
  draw(canvas, result, { ...lookOf(result, null, 'grad-cam'), map, gain: 1 });
  return canvas;
}

function renderDig() {
  const result = shownNow();
  if (working && working.key !== result?.key && !working.stopped) return stopWork();
  $('.dig').hidden = !result;
  if (!result) return;
  $('details.reasons').hidden = !result.reasons; // nobody named the channels of other networks
  for (const [name, show] of Object.entries(DIGS)) if ($(`details.${name}`).open && !$(`details.${name}`).hidden) show(result);
}
for (const details of element.querySelectorAll('.dig > details')) details.addEventListener('toggle', renderDig);
