// "Ask it yourself": a part of the photo is painted over, and the network asked again.

const GRID = 128; // cells of the longer side that are covered or not
const canvasToPaint = $('.easel canvas');
const easel = { photo: null, rows: 0, columns: 0, mask: null, x: 0.5, y: 0.5, focused: false, reply: null, asked: null };
// asked: the photo as the server painted it, until it is painted anew here

function newEasel(result) {
  const { naturalWidth: w, naturalHeight: h } = result.photo.image;
  const scale = GRID / Math.max(w, h);
  const [columns, rows] = [w, h].map((side) => Math.max(1, Math.round(side * scale)));
  Object.assign(easel, { photo: result.photo, rows, columns, mask: new Uint8Array(rows * columns), x: 0.5, y: 0.5, reply: null, asked: null });
  fit(canvasToPaint, result.photo.image, 640);
}

// Cover the cells under the brush; x and y are shares of the sides.
function dab(x, y) {
  easel.asked = null;
  const { rows, columns, mask } = easel;
  const radius = Math.max(0.7, Number($('.brush').value) * Math.min(rows, columns));
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      if (Math.hypot(column + 0.5 - x * columns, row + 0.5 - y * rows) <= radius) mask[row * columns + column] = 1;
}

function stroke(fromX, fromY, toX, toY) {
  const steps = Math.max(1, Math.ceil(Math.hypot((toX - fromX) * easel.columns, (toY - fromY) * easel.rows)));
  for (let i = 1; i <= steps; i++) dab(fromX + ((toX - fromX) * i) / steps, fromY + ((toY - fromY) * i) / steps);
}

function setMask(covered) {
  easel.asked = null;
  const { rows, columns, mask } = easel;
  for (let i = 0; i < rows * columns; i++) mask[i] = covered(i) ? 1 : 0;
  drawEasel();
}

// What it is painted with; the server makes its own. (What is around it: the mean colour until asked.)
function paintOf(image, filling) {
  const small = document.createElement('canvas');
  const { naturalWidth: w, naturalHeight: h } = image;
  const side = filling === 'blur' ? 16 / Math.max(w, h) : 0;
  Object.assign(small, { width: Math.max(1, Math.round(w * side)), height: Math.max(1, Math.round(h * side)) });
  const context = small.getContext('2d');
  context.imageSmoothingQuality = 'high';
  if (filling === 'grey') {
    context.fillStyle = 'rgb(128 128 128)';
    context.fillRect(0, 0, 1, 1);
  } else context.drawImage(image, 0, 0, small.width, small.height);
  return small;
}

function drawEasel() {
  if (!easel.photo) return;
  const { image } = easel.photo;
  const { width, height } = canvasToPaint;
  const context = canvasToPaint.getContext('2d');
  context.drawImage(easel.asked ?? image, 0, 0, width, height);
  if (!easel.asked) paintMask(context, image, width, height);
  if (!easel.focused) return;
  context.beginPath();
  context.arc(easel.x * width, easel.y * height, Number($('.brush').value) * Math.min(width, height), 0, 7);
  for (const [colour, thick] of [['#000', 4], ['#fff', 2]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: thick });
    context.stroke();
  }
}

function paintMask(context, image, width, height) {
  const stencil = canvasOf(easel.columns, easel.rows, (data) => easel.mask.forEach((covered, i) => (data[4 * i + 3] = 255 * covered)));
  const painted = document.createElement('canvas');
  Object.assign(painted, { width, height });
  const over = painted.getContext('2d');
  over.imageSmoothingEnabled = false;
  over.drawImage(stencil, 0, 0, width, height);
  over.imageSmoothingEnabled = true;
  over.globalCompositeOperation = 'source-in';
  over.drawImage(paintOf(image, $('.filling').value), 0, 0, width, height);
  context.drawImage(painted, 0, 0);
}

canvasToPaint.addEventListener('pointerdown', (event) => {
  canvasToPaint.setPointerCapture(event.pointerId);
  easel.x = easel.y = null;
  paintTo(event);
});
canvasToPaint.addEventListener('pointermove', (event) => canvasToPaint.hasPointerCapture(event.pointerId) && paintTo(event));
function paintTo(event) {
  const { left, top, width, height } = canvasToPaint.getBoundingClientRect();
  const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height];
  stroke(easel.x ?? x, easel.y ?? y, x, y);
  Object.assign(easel, { x, y });
  drawEasel();
}
canvasToPaint.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], ' ': [0, 0] }[event.key];
  if (!step) return;
  event.preventDefault();
  easel.x = Math.max(0, Math.min(1, easel.x + 0.04 * step[0]));
  easel.y = Math.max(0, Math.min(1, easel.y + 0.04 * step[1]));
  if (event.key === ' ') dab(easel.x, easel.y);
  drawEasel();
});
for (const [event, focused] of [['focus', true], ['blur', false]])
  canvasToPaint.addEventListener(event, () => {
    easel.focused = focused && canvasToPaint.matches(':focus-visible');
    drawEasel();
  });
$('.brush').addEventListener('input', drawEasel);
$('.filling').addEventListener('input', () => {
  easel.asked = null;
  drawEasel();
});

// What lies above half of the map's maximum, in cells of the mask.
function marked(result) {
  const field = enlarge(mapOf(result, 'grad-cam', state().word), easel.columns, easel.rows, result.box);
  return (i) => field[i] >= 0.5;
}
$('.cover-marked').addEventListener('click', () => setMask(marked(shownNow())));
$('.cover-rest').addEventListener('click', () => {
  const inside = marked(shownNow());
  setMask((i) => !inside(i));
});
$('.uncover').addEventListener('click', () => setMask(() => false));

$('.ask-again').addEventListener('click', () => {
  if (working) return stopWork();
  const result = shownNow();
  if (!easel.mask.some(Boolean)) {
    easel.reply = { error: 'Paint over a part of the photo first.' };
    return renderDig();
  }
  const packed = new Uint8Array(Math.ceil(easel.mask.length / 8));
  easel.mask.forEach((covered, i) => (packed[i >> 3] |= covered << (i & 7)));
  const covered = easel.mask.reduce((sum, each) => sum + each, 0) / easel.mask.length;
  work('paint', async (ask) => {
    const { columns, rows, photo: of } = easel;
    const [mask, filling] = [easel.mask.slice(), $('.filling').value];
    const reply = await ask('paint', requestOf(result, { columns, rows, mask: btoa(String.fromCharCode(...packed)), filling }));
    if (!reply || easel.photo !== of) return;
    if (!reply.answer) return (easel.reply = reply);
    const image = await loaded(reply.picture.url);
    easel.reply = { before: result, covered, after: await unpacked(reply.answer, { key: `${of.key} painted`, image }) };
    if (easel.mask.every((each, i) => each === mask[i]) && $('.filling').value === filling) easel.asked = image;
  });
});

function renderPaint(result) {
  if (easel.photo !== result.photo) newEasel(result);
  starter($('.ask-again'), 'paint', 'Ask again');
  drawEasel();
  const { reply } = easel;
  const wrong = $('.paint .wrong');
  wrong.hidden = !reply?.error;
  wrong.textContent = reply?.error ?? '';
  const current = reply?.after && reply.before.key === result.key ? reply : null;
  $('.painted').replaceChildren(...(current ? foundPainted(current) : []));
}

function foundPainted({ before, after, covered }) {
  const caption = before.task === 'captioning';
  const said = (result) => (caption ? `log-probability ${result.score.toFixed(1)}` : percent(result.probability));
  const [first, then] = [before, after].map(({ predictions }) => predictions[0].text);
  const own = first === then ? `It still says “${then}” first.` : `It now says “${then}” instead of “${first}”.`;
  const values = (result) => new Map([...result.predictions.map(({ text, probability }) => [text, probability]), [result.target, caption ? Math.exp(result.score) : result.probability]]);
  const [old, now] = [values(before), values(after)];
  const shown = (value) => (value === undefined ? '–' : caption ? logOf(value) : percent(value));
  const rows = [...new Set([...old.keys(), ...now.keys()])].map((text) => make('tr', { class: text === before.target ? 'current' : '' }, make('th', { scope: 'row' }, text), make('td', {}, shown(old.get(text))), make('td', {}, shown(now.get(text)))));
  const words = before.words.map((word, i) => make('tr', {}, make('th', { scope: 'row' }, word.text), make('td', {}, word.log_prob.toFixed(1)), make('td', {}, after.words[i].log_prob.toFixed(1))));
  const table = (title, body) => make('table', {}, make('thead', {}, make('tr', {}, make('th', { scope: 'col' }, title), make('th', { scope: 'col' }, 'before'), make('th', { scope: 'col' }, 'after'))), make('tbody', {}, ...body));
  // The score of a caption is compared on one scale, and so are the maps.
  const top = Math.max(before.map.max, after.map.max) || 1;
  const view = (result, title) => {
    const canvas = fit(make('canvas', { role: 'img', 'aria-label': `${title}: the map for ${result.target}` }), result.photo.image, 480);
    draw(canvas, result, { ...lookOf(result, null, 'grad-cam'), map: result.map, gain: result.map.max / top });
    return pair(`${title}: ${said(result)}`, canvas);
  };
  return [
    make('p', { class: 'verdict' }, `“${before.target}”: ${said(before)} before, ${said(after).replace('log-probability ', '')} with ${percentOf(covered)} of the photo covered. ${own}`),
    make('div', { class: 'pairs' }, view(before, 'Before'), view(after, 'After')),
    make('p', {}, 'Both maps are on one scale.'),
    make('div', { class: 'tables' }, ...(words.length ? [table('Word', words)] : []), table(caption ? 'Its own captions' : 'It says', rows)),
    make('p', {}, caption ? 'Log-probabilities. –: not among its own captions then.' : '–: not among its five best then.'),
  ];
}
