// Another photo: an example, a file, or the address of a picture.

import { loadImage } from './dom.js';
import { explain } from './explain.js';
import { sendFile } from './server.js';
import { keepForReload } from './session.js';
import { store } from './store.js';

/** @import { Photo, Problem } from './types.js' */

let uploads = 0;
/** Two uploads of one file are two photos. */
export const uploadKey = () => `upload ${++uploads}`;

/**
 * @param {Photo} photo
 * @param {string} target
 */
export function explainPhoto(photo, target = '') {
  store.choosePhoto(photo);
  return explain({ target });
}

/** @param {string} name */
export const chooseExample = (name) => explainPhoto({ key: name, name, example: name });

/**
 * @param {File} file
 * @param {string} target
 */
export async function upload(file, target = '') {
  const limit = store.facts.max_upload;
  const stale = !!store.current.shown;
  store.setCamera('off');
  if (file.size > limit) {
    return store.showProblem({ code: 'too_large', name: file.name, megabytes: limit / 1e6 }, null, stale);
  }
  /** @type {Photo} */
  const photo = { key: uploadKey(), name: file.name, file };
  const sending = sendFile(file, (share) => store.uploadProgress(photo, share));
  sending.catch(() => {}); // it is awaited below
  // Shown at once where the browser can; the server decodes it for the explanation.
  const local = await loadImage(URL.createObjectURL(file)).catch(() => undefined);
  const former = store.state.photo;
  store.beginUpload(Object.assign(photo, { local }));
  keepForReload();
  try {
    const path = await sending;
    store.completePhoto(photo, { upload: path });
  } catch {
    if (store.state.photo !== photo) return;
    store.restorePhoto(former);
    return store.showProblem({ code: 'not_uploaded', name: file.name }, { code: 'upload', file, target }, stale);
  }
  if (store.state.photo === photo) explainPhoto(photo, target);
}

/**
 * The visitor's browser fetches a picture of another site, where that site allows it.
 * @param {string} address as typed
 * @returns {Promise<boolean>} whether it is a picture, which is then uploaded
 */
export async function fetchPhoto(address) {
  const found = await picture(address);
  if (found instanceof File) upload(found);
  else store.showProblem(found);
  return found instanceof File;
}

/**
 * @param {string} address
 * @returns {Promise<File | Problem>}
 */
async function picture(address) {
  const text = /^[a-z][a-z0-9+.-]*:/i.test(address) ? address : `https://${address}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url) return { code: 'no_address' };
  if (url.protocol !== 'https:') return { code: 'not_https' };
  const host = url.hostname;
  store.beginFetch(host);
  let blob;
  try {
    const signal = AbortSignal.timeout(30_000);
    const answer = await fetch(url, { credentials: 'omit', referrerPolicy: 'no-referrer', signal });
    if (!answer.ok) return { code: 'not_found', host, status: answer.status };
    blob = await answer.blob();
  } catch {
    return { code: 'not_fetched', host };
  }
  if (blob.type.startsWith('text/')) return { code: 'web_page' };
  return new File([blob], fileName(url) || host, { type: blob.type });
}

/** @param {URL} url */
function fileName(url) {
  const name = url.pathname.split('/').pop() ?? '';
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // such as "100%.png"
  }
}
