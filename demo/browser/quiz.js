// Ten questions in random order, each made by the server when it is its turn.

const $ = (selector) => element.querySelector(selector);
const SIDE = 420;
const KINDS = ['guided', 'guided-grad-cam', 'networks'];
const VERDICT = {
  guided: 'Guided Backprop shows edges that matter to the network, whatever it is asked about.',
  'guided-grad-cam': 'Guided Grad-CAM keeps of them what speaks for the one thing.',
  networks: 'The better one is EfficientNet-Lite2: it is right more often on photos of a thousand classes.',
};

function shuffled(n) {
  const rest = Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: n }, () => rest.splice(Math.floor(Math.random() * rest.length), 1)[0]);
}

let questions, at, scores;
function begin() {
  const [pairs, photos] = [shuffled(2 * props.facts.pairs), shuffled(props.facts.things)];
  const kinds = ['guided', 'guided', 'guided', 'guided', ...Array(4).fill('guided-grad-cam'), 'networks', 'networks'];
  questions = shuffled(8).concat(8, 9).map((i) => ({
    kind: kinds[i],
    number: kinds[i] === 'networks' ? 2 * photos.pop() + Math.round(Math.random()) : pairs.pop(),
  }));
  at = 0;
  scores = Object.fromEntries(KINDS.map((kind) => [kind, { right: 0, of: 0 }]));
  $('.score').hidden = true;
  ask();
}

let lastId = 0;
let heard = null;
document.addEventListener('gradcam-answer', ({ detail: { answer } }) => heard?.(answer));
function made({ kind, number }) {
  return new Promise((resolve) => {
    heard = resolve;
    trigger('quiz', { id: ++lastId, kind: kind === 'networks' ? 'which network' : 'what', number });
  });
}

async function ask() {
  const { kind } = questions[at];
  $('.place').textContent = `Question ${at + 1} of ${questions.length}`;
  $('h2').textContent = 'One moment …';
  $('.drawn').replaceChildren();
  $('.choices').replaceChildren();
  $('.verdict').textContent = '';
  $('.next').hidden = true;
  const reply = await made(questions[at]);
  if (!reply?.answers) {
    $('h2').textContent = reply?.error ?? 'The server does not answer.';
    $('.next').textContent = 'Try again';
    $('.next').hidden = false;
    return;
  }
  const answers = await Promise.all(
    reply.answers.map(async (each) => ({ ...each, map: unpackMap(each.map), gradient: await unpackGradient(each.gradient) })),
  );
  const { width, height } = reply.picture;
  $('.drawn').replaceChildren(
    ...answers.map(({ map, gradient }) =>
      sized(width, height, (context, w, h) => context.drawImage(gradientCanvas(kind === 'guided' ? gradient : product(gradient, map)), 0, 0, w, h)),
    ),
  );
  $('h2').textContent =
    kind === 'networks'
      ? `Guided Grad-CAM for “${answers[0].target}”, of two networks. Which is the better network?`
      : 'Strokes that matter to the network in a photo of two things. Which of them is it asked about?';
  $('.choices').replaceChildren(
    ...reply.choices.map((choice, i) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = choice;
      button.onclick = () => told(kind, i, reply, answers);
      return button;
    }),
  );
  $('.choices button').focus({ preventScroll: true });
}

async function told(kind, chosen, { right, choices, picture }, answers) {
  scores[kind].of += 1;
  scores[kind].right += chosen === right;
  [...$('.choices').children].forEach((button, i) => {
    button.disabled = true;
    button.setAttribute('aria-pressed', i === right);
    if (i === right) button.append(' ✓');
  });
  $('.verdict').textContent = `${chosen === right ? 'Right' : `No: ${choices[right]}`}. ${VERDICT[kind]}`;
  $('.next').textContent = at + 1 < questions.length ? 'Next' : 'How did I do?';
  $('.next').hidden = false;
  $('.next').focus({ preventScroll: true });
  const image = new Image();
  image.src = picture.url;
  await image.decode();
  $('.drawn').append(sized(picture.width, picture.height, (context, w, h) => {
    context.drawImage(image, 0, 0, w, h);
    if (kind === 'networks') return;
    context.globalCompositeOperation = 'multiply';
    context.drawImage(coloured(enlarge(answers[0].map, w, h, answers[0].box), w, h, GREYS, 1), 0, 0);
  }, kind === 'networks' ? 'The photo' : `The photo, as bright as the evidence for ${answers[0].target}`));
}

function sized(width, height, paint, label = 'What is to be guessed') {
  const canvas = document.createElement('canvas');
  const scale = SIDE / Math.max(width, height);
  Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', label);
  paint(canvas.getContext('2d'), canvas.width, canvas.height);
  return canvas;
}

function finish() {
  $('.place').textContent = $('h2').textContent = $('.verdict').textContent = '';
  $('.drawn').replaceChildren();
  $('.choices').replaceChildren();
  KINDS.forEach((kind, i) => {
    $(`tbody tr:nth-child(${i + 1}) td`).textContent = `${scores[kind].right} of ${scores[kind].of}`;
  });
  $('.score').hidden = false;
  $('.next').textContent = 'Once more';
}

$('.next').onclick = () => {
  if (!questions) return begin();
  const answered = $('.choices').childElementCount > 0;
  if (!answered && $('.score').hidden) return ask();
  if (!answered) return begin();
  at += 1;
  if (at < questions.length) ask();
  else finish();
};
