// Another photo: uploaded, dropped, pasted, fetched from an address, or an example.

function newPhoto(next, target = '') {
  stopCamera();
  photo = next;
  for (const task of TASKS)
    Object.assign(states[task], { target: '', beside: states[task].beside?.model ? states[task].beside : null, second: null, busy: '', asked: states[task].asked + 1 });
  explain({ target });
}

async function upload_(file, target = '') {
  stopCamera();
  const mine = state();
  const refuse = (error, again = null) => {
    Object.assign(mine, { busy: '', error, near: [], again, stale: !!mine.shown });
    render();
  };
  if (file.size > facts.max_upload) return refuse(`${file.name} is too large: at most ${facts.max_upload / 1e6} MB, please.`);
  const next = { key: `upload ${++lastId}`, name: file.name, file };
  const sending = send(file, (share) => {
    if (photo !== next || !mine.busy.startsWith('Uploading')) return;
    mine.busy = `Uploading … ${10 * Math.floor(10 * share)} %`;
    renderSaid();
  });
  sending.catch(() => {}); // it is awaited below
  // Shown at once where the browser can; what counts is what the server decodes.
  next.local = await loaded(URL.createObjectURL(file)).catch(() => null);
  ++mine.asked;
  const former = photo;
  photo = next;
  Object.assign(mine, { busy: 'Uploading …', error: '', near: [], again: null, offer: null, stale: false });
  keepForReload();
  render();
  try {
    next.upload = await sending;
  } catch {
    if (photo !== next) return;
    photo = former;
    return refuse(`${file.name} could not be uploaded. ${LOST}`, () => upload_(file, target));
  }
  if (photo === next) newPhoto(next, target);
}

// The address as it is typed, of a picture on another site: the browser asks for it, as any page
// may, and only where that site allows it.
async function fetchPhoto(address) {
  const refuse = (error) => {
    Object.assign(state(), { busy: '', error, near: [], again: null });
    render();
  };
  let url;
  try {
    url = new URL(/^[a-z][a-z0-9+.-]*:/i.test(address) ? address : `https://${address}`);
  } catch {
    return refuse('That is no web address.');
  }
  if (url.protocol !== 'https:') return refuse('Only addresses that begin with https:// can be fetched.');
  Object.assign(state(), { busy: `Fetching it from ${url.hostname} …`, error: '', near: [], again: null });
  render();
  let blob;
  try {
    const answer = await fetch(url, { credentials: 'omit', referrerPolicy: 'no-referrer', signal: AbortSignal.timeout(30_000) });
    if (!answer.ok) return refuse(`${url.hostname} has no picture at that address (it answers ${answer.status}).`);
    blob = await answer.blob();
  } catch {
    return refuse(`${url.hostname} cannot be reached, or does not let other pages fetch its pictures. Save the picture, and choose the file.`);
  }
  if (blob.type.startsWith('text/')) return refuse('That is the address of a page, not of a picture. Open the picture by itself, and copy its address.');
  $('.address').hidden = true;
  const name = decodeURIComponent(url.pathname.split('/').pop()) || url.hostname;
  upload_(new File([blob], name, { type: blob.type }));
}

// ---- What is kept of a photo in this tab of the browser, for when the page is loaded anew ----

const KEPT_SIDE = 1280;

function keepForReload() {
  const image = photo.image ?? photo.local;
  try {
    if (!photo.example && image) photo.kept ??= smaller(image, KEPT_SIDE).toDataURL('image/jpeg', 0.9);
    const { name, example, upload, kept } = photo;
    const { model, question, target } = state();
    sessionStorage.setItem('gradcam', JSON.stringify({ name, example, upload, kept, tab, model, question, target }));
  } catch {
    // No room, or not allowed: then a photo is chosen again.
  }
}

// What was kept is shown again; true if there was something.
//   example: the one that the address names, if it does
async function restore(example) {
  let was;
  try {
    was = JSON.parse(sessionStorage.getItem('gradcam'));
  } catch {
    return false;
  }
  if (!was || was.example !== example) return false;
  const { name, upload, kept, model, question, target } = was;
  const image = example ? undefined : await loaded(kept).catch(() => null);
  if (image === null) return false;
  tab = was.tab;
  Object.assign(state(), { model, question });
  newPhoto(example ? { key: name, name, example } : { key: `upload ${++lastId}`, name, upload, kept, image }, target);
  return true;
}

function smaller(image, side) {
  const [w, h] = [image.naturalWidth || image.videoWidth, image.naturalHeight || image.videoHeight];
  const scale = Math.min(1, side / Math.max(w, h));
  const canvas = make('canvas', { width: Math.max(1, Math.round(w * scale)), height: Math.max(1, Math.round(h * scale)) });
  canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

async function fileOf({ name, image }) {
  const blob = await new Promise((resolve) => smaller(image, Infinity).toBlob(resolve, 'image/jpeg', 0.95));
  return new File([blob], name.replace(/\.\w+$/, '') + '.jpg', { type: 'image/jpeg' });
}

// ---- What visitors do ----

const random = make('button', { type: 'button', class: 'random', title: 'Any of the examples', 'aria-pressed': 'false', onclick: () => {
  const others = facts.examples.filter(({ name }) => name !== photo?.example);
  choose_(others[Math.floor(Math.random() * others.length)].name);
} }, 'Random');
$('.examples').append(random, ...facts.examples.map(({ name, thumbnail }) =>
  make('button', { type: 'button', 'data-name': name, title: name, 'aria-pressed': 'false', onclick: () => choose_(name) },
    make('img', { src: thumbnail, alt: name, width: 56, height: 56 }))));
const chosenExample = rove($('.examples'));
function choose_(name) {
  newPhoto({ key: name, name, example: name });
}

$('input[type=file]').addEventListener('change', ({ target }) => {
  const [file] = target.files;
  if (file) upload_(file);
  target.value = ''; // the same file may be chosen again
});
// A file, or the address of a picture, pasted or dropped anywhere but into a field.
function given(transfer, into) {
  const [file] = transfer?.files ?? [];
  const text = (transfer?.getData('text/uri-list') || transfer?.getData('text/plain') || '').trim();
  if (file) upload_(file);
  else if (/^https:\/\/\S+$/.test(text) && !into.closest?.('input')) fetchPhoto(text);
}
document.addEventListener('paste', ({ clipboardData, target }) => given(clipboardData, target));
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  $('.panel').classList.add('dropping');
});
document.addEventListener('dragleave', ({ relatedTarget }) => relatedTarget || $('.panel').classList.remove('dropping'));
document.addEventListener('drop', (event) => {
  event.preventDefault();
  $('.panel').classList.remove('dropping');
  given(event.dataTransfer, document.body);
});

function showAddress(shown) {
  $('.address').hidden = !shown;
  $('.from-web').setAttribute('aria-expanded', shown);
  (shown ? $('#gc-address') : $('.from-web')).focus();
}
$('.from-web').addEventListener('click', () => showAddress($('.address').hidden));
$('.no-address').addEventListener('click', () => showAddress(false));
$('.address').addEventListener('submit', (event) => {
  event.preventDefault();
  const address = $('#gc-address').value.trim();
  if (address) fetchPhoto(address);
});
