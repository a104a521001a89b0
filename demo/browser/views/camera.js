// The camera: one photo, or live.

import { copyOf } from '../../../gradcam_core/viewer/draw.js';
import { $, onClick } from '../dom.js';
import { fallBackLive, jpegFile, request, unpack } from '../explain.js';
import { liveRate } from '../messages.js';
import { explainPhoto, upload } from '../photos.js';
import { call } from '../server.js';
import { isGuided, store } from '../store.js';

/** @import { Photo, Reply, Task } from '../types.js' */

const LIVE_SIDE = 320; // pixels: the networks see fewer
const video = () => /** @type {HTMLVideoElement} */ ($('video'));
/** @type {Photo | null} the photo that was there before */
let former = null;

export function mountCamera() {
  onClick('.open-camera', () => (store.state.camera === 'off' ? open() : close()));
  onClick('.close-camera', close);
  onClick('.take-photo', takePhoto);
  onClick('.go-live', explainLive);
  store.subscribe(['camera', 'rate'], render);
}

function render() {
  const { camera, rate } = store.state;
  const live = camera === 'live';
  if (camera === 'off') release();
  $('.panel').classList.toggle('live', live);
  $('.camera').hidden = camera === 'off';
  $('.open-camera').setAttribute('aria-expanded', String(camera !== 'off'));
  $('.go-live').hidden = live;
  $('.take-photo').textContent = live ? 'Keep this photo' : 'Take the photo';
  $('.rate').textContent = liveRate(rate);
}

async function open() {
  try {
    video().srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
  } catch {
    // Browsers offer no camera to pages that come over plain HTTP from another machine.
    return store.showProblem({ code: window.isSecureContext ? 'no_camera' : 'insecure_camera' });
  }
  const [track] = /** @type {MediaStream} */ (video().srcObject).getVideoTracks();
  track.addEventListener('ended', () => video().srcObject && close());
  store.setCamera('open');
  await video().play();
}

function release() {
  const stream = /** @type {MediaStream | null} */ (video().srcObject);
  for (const track of stream?.getTracks() ?? []) track.stop();
  video().srcObject = null;
}

/** Return to the photo that was there before. */
function close() {
  const live = store.state.camera === 'live';
  store.setCamera('off');
  if (live && former) explainPhoto(former);
  $('.open-camera').focus({ preventScroll: true }); // also if the camera was unplugged, while something else is read
}

async function takePhoto() {
  const target = store.state.camera === 'live' ? store.current.target : '';
  upload(await jpegFile(copyOf(video()), 'camera.jpg'), target);
}

/** Explain one frame after the other, always the newest; those in between are skipped. */
async function explainLive() {
  former = store.state.photo;
  store.setCamera('live');
  $('.take-photo').focus({ preventScroll: true }); // the other button disappears
  let began = performance.now();
  let rate = 0;
  while (store.state.camera === 'live') {
    await new Promise(requestAnimationFrame); // pauses while the page is hidden
    if (!video().videoWidth) continue;
    const done = await explainFrame(rate);
    const current = 1000 / (performance.now() - began);
    rate = done ? 0.8 * (rate || current) + 0.2 * current : rate;
    began = performance.now();
  }
}

/**
 * @param {number} rate
 * @returns {Promise<boolean>} whether it is shown
 */
async function explainFrame(rate) {
  const { tab: task, look } = store.state;
  const image = copyOf(video(), LIVE_SIDE);
  const photo = { key: 'live', name: 'camera', frame: image.toDataURL('image/jpeg', 0.8).split(',')[1], image };
  const { target } = store.current;
  const reply = await call('live', request(task, { target: target || null, guided: isGuided(look.view) }, photo));
  const result = reply?.answer && (await unpack(reply.answer, photo, target));
  if (store.state.camera !== 'live') return false;
  if (!result) showFailure(task, reply, target);
  else if (task === store.state.tab) store.showFrame(result, rate);
  return !!result;
}

/**
 * @param {Task} task
 * @param {Reply | null} reply
 * @param {string} target
 */
function showFailure(task, reply, target) {
  store.frameFailed(task, reply ?? { problem: { code: 'lost' } }, target);
  if (reply && fallBackLive(task, reply)) return;
  if (!target) close(); // it would only fail again
}
