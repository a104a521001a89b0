// Another photo: uploaded, dropped, pasted, taken, or an example.

function newPhoto(next) {
  photo = next;
  for (const task of TASKS)
    Object.assign(states[task], { target: '', beside: states[task].beside?.model ? states[task].beside : null, second: null, busy: '', asked: states[task].asked + 1 });
  explain();
}

async function upload_(file) {
  const mine = state();
  if (file.size > facts.max_upload) {
    Object.assign(mine, { error: `${file.name} is too large: at most ${facts.max_upload / 1e6} MB, please.`, stale: !!mine.shown });
    return render();
  }
  const next = { key: `upload ${++lastId}`, name: file.name };
  // Shown at once where the browser can; what counts is what the server decodes.
  next.local = await loaded(URL.createObjectURL(file)).catch(() => null);
  const asked = ++mine.asked;
  const former = photo;
  photo = next;
  Object.assign(mine, { busy: 'Uploading …', error: '', offer: null, stale: false });
  render();
  try {
    next.upload = (await upload(file)).path;
  } catch {
    if (photo !== next) return;
    photo = former;
    Object.assign(mine, { busy: '', error: `${file.name} could not be uploaded. ${LOST}`, stale: !!mine.shown });
    return render();
  }
  if (photo === next && asked === mine.asked) newPhoto(next);
  else if (photo === next) newPhoto(next);
}

$('.examples').append(...facts.examples.map(({ name, thumbnail }) =>
  make('button', { type: 'button', 'data-name': name, title: name, 'aria-pressed': 'false', onclick: () => newPhoto({ key: name, name, example: name }) },
    make('img', { src: thumbnail, alt: name, width: 56, height: 56 }))));

$('input[type=file]').addEventListener('change', ({ target }) => {
  const [file] = target.files;
  if (file) upload_(file);
  target.value = ''; // the same file may be chosen again
});
document.addEventListener('paste', ({ clipboardData }) => {
  const [file] = clipboardData?.files ?? [];
  if (file) upload_(file);
});
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer?.files ?? [];
  if (file) upload_(file);
});

// The camera: one picture of it.
const video = $('video');
$('.camera').addEventListener('click', async () => {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
    $('.shooting').hidden = false;
    await video.play();
  } catch {
    state().error = 'The browser gives no camera to this page.';
    render();
  }
});
function stopCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  $('.shooting').hidden = true;
}
$('.no-shoot').addEventListener('click', stopCamera);
$('.shoot').addEventListener('click', () => {
  const canvas = make('canvas', { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  stopCamera();
  canvas.toBlob((blob) => upload_(new File([blob], 'camera.jpg', { type: 'image/jpeg' })), 'image/jpeg', 0.95);
});
