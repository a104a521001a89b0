// Requests to the server: one at a time in each lane; only the last waiting one is sent.

/** @import { Lane, Problem, Reply } from './types.js' */

/** @typedef {Record<string, unknown>} Data */
/** @typedef {{ data: Data, resolve: (reply: Reply | null) => void }} Job */

/** @type {Partial<Record<string, { sent?: Job, waiting?: Job }>>} */
const lanes = {};
let lastId = 0;
/** @type {(event: string, data: Data) => void} */
let trigger;

/** @param {Problem | undefined | null} problem */
export const isLost = (problem) => problem?.code === 'lost' || problem?.code === 'busy';

/** @param {typeof trigger} send how a component of Gradio sends an event */
export function connect(send) {
  trigger = send;
  document.addEventListener('gradcam-answer', (event) => {
    const { lane, answer } = /** @type {CustomEvent<{ lane: Lane, answer: Reply | null }>} */ (event).detail;
    receive(lane, answer);
  });
  // Gradio does not notice that a server is gone, so check while waiting for an answer.
  setInterval(() => {
    const busy = Object.keys(lanes).filter((lane) => lanes[lane]?.sent);
    if (busy.length) {
      fetch('.', { method: 'HEAD' }).catch(() => {
        for (const lane of busy) receive(lane, null);
      });
    }
  }, 4000);
}

/**
 * @param {string} lane
 * @param {Data} data
 * @returns {Promise<Reply | null>} null: another request took its place before it was sent
 */
export function call(lane, data) {
  return new Promise((resolve) => {
    const job = { data, resolve };
    const { sent, waiting } = lanes[lane] ?? {};
    if (!sent) return send(lane, job);
    waiting?.resolve(null);
    lanes[lane] = { sent, waiting: job };
  });
}

/** @param {Lane} lane to cancel; it soon answers with code "cancelled" */
export function stop(lane) {
  const sent = lanes[lane]?.sent;
  if (sent) trigger('stop', { stop: sent.data.id });
}

/**
 * The request that a lane is working on.
 * @param {Lane} lane
 */
export const sentIn = (lane) => lanes[lane]?.sent?.data;

/**
 * @param {string} lane
 * @param {Job} job
 */
function send(lane, job) {
  job.data.id = ++lastId;
  lanes[lane] = { sent: job };
  trigger(lane, job.data);
}

/**
 * @param {string} lane
 * @param {Reply | null} reply null: it failed
 */
async function receive(lane, reply) {
  const { sent, waiting } = lanes[lane] ?? {};
  if (!sent || (reply?.id !== undefined && reply.id !== sent.data.id)) return;
  lanes[lane] = {};
  if (waiting) send(lane, waiting);
  if (!reply) return sent.resolve({ problem: await whyNoAnswer() });
  sent.resolve(reply.error === undefined ? reply : { ...reply, problem: { code: 'server', text: reply.error } });
}

/**
 * Too many wait already, or the server is gone.
 * @returns {Promise<Problem>}
 */
async function whyNoAnswer() {
  try {
    const { queue_size: waiting } = await (await fetch('gradio_api/queue/status')).json();
    return waiting ? { code: 'busy', waiting } : { code: 'lost' };
  } catch {
    return { code: 'lost' };
  }
}

/**
 * Gradio's own `upload` does not report its progress, and a photo from a phone may take a minute.
 * @param {File} file
 * @param {(share: number) => void} [progress]
 * @returns {Promise<string>} the path on the server
 */
export function sendFile(file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    if (progress) request.upload.addEventListener('progress', ({ loaded, total }) => progress(loaded / total));
    request.addEventListener('load', () =>
      request.status === 200 ? resolve(JSON.parse(request.response)[0]) : reject(request.status),
    );
    request.addEventListener('error', reject);
    const form = new FormData();
    form.append('files', file);
    request.open('POST', 'gradio_api/upload');
    request.send(form);
  });
}
