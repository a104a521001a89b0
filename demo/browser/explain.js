// From what is chosen to a result: what is asked, and what is kept of the answer.

function request(task, more, of = photo) {
  const where = of.example ? { example: of.example } : of.frame ? { frame: of.frame } : { upload: of.upload };
  const { model, layer, method, question } = states[task];
  return { ...where, task, model, layer, method, question: task === 'vqa' ? question : null, ...more };
}

// Ask for what is chosen; a photo that the server has thrown away in the meantime is sent again.
async function inquire(lane, task, more) {
  const of = photo;
  const there = of.example || of.frame || of.upload;
  const reply = there ? await call(lane, request(task, more, of)) : { gone: true };
  if (!reply?.gone) return reply;
  try {
    of.upload = await send(of.file ?? (await fileOf(of)));
  } catch {
    return { error: LOST, lost: true };
  }
  return call(lane, request(task, more, of));
}

async function unpacked(answer, of) {
  return {
    ...answer,
    photo: of,
    map: unpackMap(answer.map),
    counterfactual: unpackMap(answer.counterfactual),
    words: answer.words.map((word) => ({ ...word, map: unpackMap(word.map) })),
    reasons: answer.reasons?.map((reason) => ({ ...reason, map: unpackMap(reason.map) })),
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

// What takes long goes its own way, so that it holds nobody up.
function laneFor(lane, method) {
  return methodNamed(method).slow && lane !== 'download' ? 'long' : lane;
}

// Explain what is chosen: in the first lane, or by downloading the model.
//   target: what was typed or picked; if left out, what was asked last
//   again: the target of what is shown, to be explained in another way
async function explain({ target, again, lane = 'first' } = {}) {
  const task = tab;
  const mine = states[task];
  if (live) return Object.assign(mine, { error: '', near: [], again: null, target: target ?? mine.target });
  const asked = ++mine.asked;
  const of = photo;
  const former = mine.shown?.photo === of ? null : mine.shown?.photo;
  if (target !== undefined) mine.target = target ?? '';
  Object.assign(mine, {
    busy: lane === 'download' ? 'Downloading the model, then explaining …' : 'Explaining …',
    error: '',
    near: [],
    again: null,
    offer: null,
    stale: false,
  });
  if (lanes.long.flying?.data.task === task) stop('long');
  const asking = inquire(laneFor(lane, mine.method), task, {
    target: again ?? (mine.target || null),
    guided: GUIDED.includes(look.view),
    new_picture: !of.image,
    download: lane === 'download',
  });
  keepForReload();
  render();
  const reply = await asking;
  if (reply?.picture && !of.image) of.image = await loaded(reply.picture.url);
  const result = reply?.answer && (await unpacked(reply.answer, of));
  if (asked !== mine.asked) return;
  mine.busy = '';
  if (!reply || of !== photo) return render();
  if (result) {
    const same = mine.shown?.key === result.key;
    result.typed = mine.target;
    if (same && !result.gradient) result.gradient = mine.shown.gradient;
    Object.assign(mine, { shown: result, layer: mine.layer && result.layer, word: same ? mine.word : null });
    if (lookDone(result)) look.view = 'grad-cam';
    remember(result);
    askBeside();
    keepForReload();
    tellAddress(result);
  } else {
    Object.assign(mine, { error: reply.error, near: reply.near ?? [], offer: reply.download ?? null });
    if (reply.lost) mine.again = () => (reply.error === LOST ? anew() : photo === of ? explain({ again, lane }) : newPhoto(of));
    // What cannot be opened does not take the place of what can.
    if (!of.image && former?.image) {
      photo = former;
      mine.stale = true;
    }
    render();
  }
}

// Gradio hears nothing any more of a server that it has lost: the page is loaded anew, as Gradio
// would do after a while, and shows what was kept of the photo.
function anew() {
  fetch('.', { method: 'HEAD' }).then(() => location.reload(), render);
}

// Whether a view was asked for that this network does not have.
function lookDone(result) {
  return GUIDED.includes(look.view) && !result.gradient;
}

async function askBeside(lane = 'second') {
  const task = tab;
  const mine = states[task];
  const { beside, shown } = mine;
  Object.assign(mine, { besideError: '', error: '', near: [], again: null, stale: false });
  if (!beside || !shown) mine.second = null;
  render();
  if (!beside || !shown) return;
  const reply = await inquire(laneFor(lane, mine.method), task, {
    guided: GUIDED.includes(look.view),
    download: lane === 'download',
    ...(beside.model ? { model: beside.model, layer: null, target: shown.target } : { target: beside.target }),
  });
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
}

// The address tells what is shown of an example; and the browser's own way back leads through what
// was shown in this visit.
let told; // the key of the result that the address tells
function tellAddress(result) {
  const query = new URLSearchParams(location.search);
  for (const name of ['example', 'tab', 'target', 'question']) query.delete(name);
  if (result.photo.example) {
    query.set('example', result.photo.example);
    query.set('tab', result.task);
    query.set('target', result.target);
    if (result.question) query.set('question', result.question);
  }
  const address = query.size ? '?' + query : location.pathname;
  if (told === result.key) return;
  history[told ? 'pushState' : 'replaceState']({ ...history.state, gradcam: result.key }, '', address);
  told = result.key;
}
window.addEventListener('popstate', ({ state: kept }) => {
  const result = visit.find(({ key }) => key === kept?.gradcam);
  told = kept?.gradcam;
  if (result) back(result);
  else if (told) location.reload(); // of before the page was loaded
});
