// The camera: one photo of it, or live.

const LIVE_SIDE = 320; // pixels: the networks see fewer
const video = $('video');
let live = false;
let beforeLive = null; // the photo that was there before

async function openCamera() {
  try {
    // The browser has none for pages that come over plain HTTP from another machine.
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
  } catch {
    const insecure = window.isSecureContext ? '' : ' It needs https, or a page of this very machine.';
    Object.assign(state(), { error: `The browser gives no camera to this page.${insecure}`, near: [], again: null });
    return render();
  }
  const [track] = video.srcObject.getVideoTracks();
  track.addEventListener('ended', () => video.srcObject && closeCamera());
  $('.shooting').hidden = false;
  $('.camera').setAttribute('aria-expanded', 'true');
  await video.play();
}

function stopCamera() {
  setLive(false);
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  $('.shooting').hidden = true;
  $('.camera').setAttribute('aria-expanded', 'false');
}

// Back to the photo that was there before.
function closeCamera() {
  const was = live && beforeLive;
  stopCamera();
  if (was) newPhoto(was);
  $('.camera').focus();
}

async function shoot() {
  const target = live ? state().target : '';
  const blob = await new Promise((resolve) => smaller(video, Infinity).toBlob(resolve, 'image/jpeg', 0.95));
  upload_(new File([blob], 'camera.jpg', { type: 'image/jpeg' }), target);
}

function setLive(on) {
  live = on;
  $('.panel').classList.toggle('live', on);
  $('.said').setAttribute('aria-live', on ? 'off' : 'polite'); // nobody could listen so fast
  $('.go-live').hidden = on;
  $('.shoot').textContent = on ? 'Hold this photo' : 'Take the photo';
  $('.rate').textContent = '';
}

// One frame after the other, each the newest there is: those in between are dropped.
async function watch() {
  beforeLive = photo;
  setLive(true);
  $('.shoot').focus(); // the button goes
  Object.assign(state(), { error: '', near: [], again: null, stale: false });
  let began = performance.now();
  let rate = 0;
  while (live) {
    await new Promise(requestAnimationFrame); // rests while the page is not to be seen
    if (!video.videoWidth) continue;
    const task = tab;
    const mine = states[task];
    const still = smaller(video, LIVE_SIDE);
    Object.assign(still, { naturalWidth: still.width, naturalHeight: still.height }); // as of an image
    const of = { key: 'live', name: 'camera', frame: still.toDataURL('image/jpeg', 0.8).split(',')[1], image: still };
    const target = mine.target;
    const reply = await call('live', request(task, { target: target || null, guided: GUIDED.includes(look.view) }, of));
    const result = reply?.answer && (await unpacked(reply.answer, of));
    if (!live) return;
    if (result) {
      if (task !== tab) continue;
      photo = of;
      if (lookDone(result)) look.view = 'grad-cam';
      Object.assign(mine, { shown: result, second: null, beside: null, word: null, busy: '', stale: false });
      result.typed = target;
    } else {
      Object.assign(mine, { error: reply?.error ?? LOST, near: reply?.near ?? [], offer: reply?.download ?? null });
      if (!target) closeCamera(); // it would only go wrong again
      else if (mine.target === target) mine.target = '';
    }
    const now = performance.now();
    rate = 0.8 * (rate || 1000 / (now - began)) + 0.2 * (1000 / (now - began));
    began = now;
    $('.rate').textContent = `${rate.toFixed(1)} explanations a second; the frames in between are dropped.`;
    render();
  }
}

$('.camera').addEventListener('click', () => (video.srcObject ? closeCamera() : openCamera()));
$('.no-shoot').addEventListener('click', closeCamera);
$('.shoot').addEventListener('click', shoot);
$('.go-live').addEventListener('click', watch);
