// Weakly supervised localisation: the largest connected part of a map, and the box around it.
// The same as gradcam_core.metrics.segment and bounding_box: a test compares them.

function segment(field, width, height, share) {
  const above = share * field.reduce((a, b) => Math.max(a, b), 0);
  const part = new Int32Array(field.length);
  const sizes = [0];
  const stack = [];
  for (let start = 0; above > 0 && start < field.length; start++) {
    if (part[start] || field[start] < above) continue;
    const number = sizes.push(0) - 1;
    part[start] = number;
    stack.push(start);
    while (stack.length) {
      const cell = stack.pop();
      sizes[number]++;
      const [x, y] = [cell % width, Math.floor(cell / width)];
      for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++)
        for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
          const next = row * width + column;
          if (part[next] || field[next] < above) continue;
          part[next] = number;
          stack.push(next);
        }
    }
  }
  const largest = sizes.indexOf(Math.max(...sizes));
  return part.map((number) => (largest && number === largest ? 1 : 0));
}

// left, top, right, bottom of what is 1; the last two excluded. Null where nothing is.
function boundingBox(mask, width, height) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
  }
  return right ? [left, top, right, bottom] : null;
}

const locateAbove = () => Number($('.share').value);

function partOf(result, width, height) {
  const field = enlarge(mapOf(result, 'grad-cam', state().word), width, height, result.box);
  return segment(field, width, height, locateAbove());
}

// The box of a result in the pixels of the photo as it is shown, and as shares of its sides.
function located(result) {
  const { width, height } = fit(document.createElement('canvas'), result.photo.image, 768);
  const box = boundingBox(partOf(result, width, height), width, height);
  return { picture: { width, height }, box, shares: box && box.map((at, i) => at / (i % 2 ? height : width)) };
}

$('.share').addEventListener('input', () => renderDig());

function renderLocate(result) {
  const canvas = fit($('.locate canvas'), result.photo.image, 768);
  const { width, height } = canvas;
  const mask = partOf(result, width, height);
  const box = boundingBox(mask, width, height);
  const context = canvas.getContext('2d');
  context.drawImage(result.photo.image, 0, 0, width, height);
  context.drawImage(canvasOf(width, height, (data) => mask.forEach((inside, i) => (data[4 * i + 3] = inside ? 0 : 130))), 0, 0);
  if (box) {
    const [left, top, right, bottom] = box;
    for (const [colour, thick] of [['#000', 5], ['#ffd400', 3]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: thick });
      context.strokeRect(left + 1.5, top + 1.5, right - left - 3, bottom - top - 3);
    }
  }
  $('.locate output').textContent = percentOf(locateAbove());
  const share = (at, side) => percentOf(at / side);
  $('.where').textContent = box
    ? `From ${share(box[0], width)} to ${share(box[2], width)} across and from ${share(box[1], height)} to ${share(box[3], height)} down; in pixels of ${width} × ${height}: ${box.join(', ')} (left, top, right, bottom).`
    : 'The map is empty: there is nothing to put a box around.';
}

const DIGS = { reasons: renderReasons, trust: renderTrust, compare: renderCompare, paint: renderPaint, versus: renderVersus, locate: renderLocate };
