// Asking the server: one request at a time a lane; of those that wait, the last.

const lanes = Object.fromEntries(facts.lanes.map((lane) => [lane, {}]));
let lastId = 0;

function call(lane, data) {
  return new Promise((resolve) => {
    const job = { data, resolve };
    if (lanes[lane].flying) {
      lanes[lane].waiting?.resolve(null);
      lanes[lane].waiting = job;
    } else launch(lane, job);
  });
}

function launch(lane, job) {
  job.data.id = ++lastId;
  lanes[lane].flying = job;
  trigger(lane, job.data);
}

// What a lane does is not wanted any more: it answers {stopped: true} soon.
function stop(lane) {
  if (lanes[lane].flying) trigger('stop', { stop: lanes[lane].flying.data.id });
}

// Send a file; resolves to its path on the server. Gradio's own `upload` does not tell how far it is,
// and a phone's photo may take a minute.
function send(file, tell) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    if (tell) request.upload.addEventListener('progress', ({ loaded, total }) => tell(loaded / total));
    request.addEventListener('load', () => (request.status === 200 ? resolve(JSON.parse(request.response)[0]) : reject(request.status)));
    request.addEventListener('error', reject);
    const form = new FormData();
    form.append('files', file);
    request.open('POST', 'gradio_api/upload');
    request.send(form);
  });
}

// Why there is no answer: too many wait already, or the server is gone.
async function whyNot() {
  try {
    const { queue_size: waiting } = await (await fetch('gradio_api/queue/status')).json();
    return waiting ? `The demo is busy: ${waiting} requests wait already. Please try again in a minute.` : LOST;
  } catch {
    return LOST;
  }
}

document.addEventListener('gradcam-answer', async ({ detail: { lane, answer } }) => {
  const { flying, waiting } = lanes[lane];
  if (!flying || (answer?.id !== undefined && answer.id !== flying.data.id)) return;
  lanes[lane] = {};
  if (waiting) launch(lane, waiting);
  flying.resolve(answer ?? { error: await whyNot(), lost: true });
});

// Gradio says nothing of a server that has gone: ask for it while an answer is awaited.
setInterval(() => {
  if (!Object.values(lanes).some(({ flying }) => flying)) return;
  fetch('.', { method: 'HEAD' }).catch(() => {
    for (const lane of Object.keys(lanes)) document.dispatchEvent(new CustomEvent('gradcam-answer', { detail: { lane, answer: null } }));
  });
}, 4000);
