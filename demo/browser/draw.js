// Numbers -> pixels. What is drawn here is what gradcam_core.overlay and gradient_picture draw:
// a test compares the two.

function bytes(text) {
  const raw = atob(text);
  return Uint8Array.from(raw, (letter) => letter.charCodeAt(0));
}

// A map as the server packs it -> {h, w, max, values in [0, 1]}.
function unpackMap({ h, w, max, data }) {
  const steps = new DataView(bytes(data).buffer);
  const values = new Float32Array(h * w);
  for (let i = 0; i < values.length; i++) values[i] = steps.getUint16(2 * i, true) / 65535;
  return { h, w, max, values };
}

// A signed gradient -> {h, w, values (h, w, 3)}.
async function unpackGradient({ h, w, max, data }) {
  const stream = new Blob([bytes(data)]).stream().pipeThrough(new DecompressionStream('deflate'));
  const roots = new Int8Array(await new Response(stream).arrayBuffer());
  const values = Float32Array.from(roots, (root) => Math.sign(root) * (root / 40) ** 2 * max);
  return { h, w, values };
}

// Where a box, given as shares of the sides, lies in a picture; rounded as Python rounds.
function inPixels(box, width, height) {
  const round = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
  const [left, top, right, bottom] = box.map((share, i) => round(share * (i % 2 ? height : width)));
  return [left, top, Math.max(right, left + 1), Math.max(bottom, top + 1)];
}

// Stretch a map bilinearly over its box in a picture, pixel centres on pixel centres
// (align_corners=False); zero outside of the box.
function enlarge({ h, w, values }, width, height, box) {
  const [left, top, right, bottom] = inPixels(box, width, height);
  const [x0, x1] = [Math.max(0, left), Math.min(width, right)];
  // Sideways first: the few rows of cells at full width.
  const rows = new Float32Array(h * width);
  for (let x = x0; x < x1; x++) {
    const [low, high, share] = between(right - left, w, x - left);
    for (let y = 0; y < h; y++) rows[y * width + x] = values[y * w + low] * (1 - share) + values[y * w + high] * share;
  }
  const field = new Float32Array(width * height);
  for (let y = Math.max(0, top); y < Math.min(height, bottom); y++) {
    const [low, high, share] = between(bottom - top, h, y - top);
    for (let x = x0; x < x1; x++) field[y * width + x] = rows[low * width + x] * (1 - share) + rows[high * width + x] * share;
  }
  return field;
}

// Of n pixels over some cells: the two cells that pixel `at` lies between, and the share of the second.
function between(n, cells, at) {
  const place = Math.max(0, ((at + 0.5) * cells) / n - 0.5);
  const low = Math.min(Math.floor(place), cells - 1);
  return [low, Math.min(low + 1, cells - 1), place - low];
}

function canvasOf(width, height, paint) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  const image = context.createImageData(width, height);
  paint(image.data);
  context.putImageData(image, 0, 0);
  return canvas;
}

// A field in [0, 1] through a table of 256 colours.
function coloured(field, width, height, table, gain) {
  const colours = Uint8Array.from({ length: 1024 }, (_, i) => (i % 4 === 3 ? 255 : table[3 * (i >> 2) + (i % 4)]));
  const pixels = new Uint32Array(colours.buffer);
  return canvasOf(width, height, (data) => {
    const painted = new Uint32Array(data.buffer);
    for (let i = 0; i < painted.length; i++) painted[i] = pixels[Math.round(Math.min(1, field[i] * gain) * 255)];
  });
}

// A signed gradient (h, w, 3) as colours around grey, on the scale of its 99.5th percentile.
function gradientCanvas({ h, w, values }) {
  const sizes = values.map(Math.abs).sort();
  const place = 0.995 * (sizes.length - 1);
  const low = sizes[Math.floor(place)];
  const high = sizes[Math.ceil(place)];
  const scale = low + (high - low) * (place % 1) || sizes[sizes.length - 1] || 1;
  return canvasOf(w, h, (data) => {
    for (let i = 0; i < w * h; i++) {
      for (let c = 0; c < 3; c++)
        data[4 * i + c] = Math.max(-1, Math.min(1, values[3 * i + c] / scale)) * 127.5 + 127.5;
      data[4 * i + 3] = 255;
    }
  });
}

// Guided Grad-CAM: the gradient times the map, at the network's own size.
function product({ h, w, values }, map) {
  const field = enlarge(map, w, h, [0, 0, 1, 1]);
  return { h, w, values: values.map((value, i) => value * field[Math.floor(i / 3)]) };
}

// Draw one view of a result over its photo, on a canvas of any size.
//   result: an answer with unpacked maps, and `photo` {image}
//   look: {view, map, colours (a table), opacity, gain}
//   from: the share of the width, from the left, that stays photo
function draw(canvas, result, look, from = 0) {
  const { width, height } = canvas;
  const context = canvas.getContext('2d');
  context.globalAlpha = 1;
  context.globalCompositeOperation = 'source-over';
  context.drawImage(result.photo.image, 0, 0, width, height);
  const over = overlayOf(canvas, result, look);
  if (!over) return;
  context.save();
  context.beginPath();
  context.rect(from * width, 0, width, height);
  context.clip();
  if (look.view === 'spotlight') {
    context.globalCompositeOperation = 'multiply';
    context.drawImage(over, 0, 0);
  } else if (look.view === 'guided' || look.view === 'guided-grad-cam') {
    context.fillStyle = 'rgb(128 128 128)';
    context.fillRect(0, 0, width, height);
    const [left, top, right, bottom] = inPixels(result.box, width, height);
    context.imageSmoothingQuality = 'high';
    context.drawImage(over, left, top, right - left, bottom - top);
  } else {
    context.globalAlpha = look.opacity;
    context.drawImage(over, 0, 0);
  }
  context.restore();
}

const GREYS = Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));

// What lies over the photo, kept until something of it changes: opacity and handle do not.
const overlays = new WeakMap();
function overlayOf(canvas, result, look) {
  const { view, map } = look;
  const { width, height } = canvas;
  const kept = overlays.get(canvas);
  const made = { result, view, map, table: look.table, gain: look.gain, width, height, gradient: result.gradient };
  if (kept && Object.keys(made).every((key) => made[key] === kept.made[key])) return kept.over;
  let over = null;
  if (view === 'guided') over = result.gradient && gradientCanvas(result.gradient);
  else if (!map.max && view !== 'spotlight') over = null; // nothing is no colour
  else if (view === 'guided-grad-cam') over = result.gradient && gradientCanvas(product(result.gradient, map));
  else {
    const field = enlarge(map, width, height, result.box);
    const table = view === 'spotlight' ? GREYS : look.table;
    over = coloured(field, width, height, table, look.gain);
  }
  overlays.set(canvas, { made, over });
  return over;
}
