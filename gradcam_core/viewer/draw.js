// From arrays to pixels. Tests compare it with gradcam_core.overlay and gradient_picture.

import { colourBytes, enlarge, gradientBytes, guidedGradCam, inPixels } from './maps.js';

/** @import { Box, Drawable, Drawn, Gradient, HeatMap, Style } from './types.js' */

const GREYS = Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));

/** @param {HTMLCanvasElement} canvas */
export const contextOf = (canvas) => /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));

/**
 * @param {Drawable} image
 * @returns {[width: number, height: number]}
 */
export function sizeOf(image) {
  if (image instanceof HTMLImageElement) return [image.naturalWidth, image.naturalHeight];
  if (image instanceof HTMLVideoElement) return [image.videoWidth, image.videoHeight];
  return [image.width, image.height];
}

/**
 * Resize a canvas if it has another size; that empties it.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 */
export function resize(canvas, width, height) {
  const [w, h] = [Math.max(1, Math.round(width)), Math.max(1, Math.round(height))];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  canvas.style.setProperty('--ratio', String(w / h));
  return canvas;
}

/**
 * Give a canvas the shape of a picture, at most `side` pixels long.
 * @param {HTMLCanvasElement} canvas
 * @param {Drawable} image
 * @param {number} side
 */
export function fit(canvas, image, side) {
  const [w, h] = sizeOf(image);
  const scale = Math.min(1, side / Math.max(w, h));
  return resize(canvas, w * scale, h * scale);
}

/**
 * A copy of a picture on a new canvas.
 * @param {Drawable} image
 * @param {number} side
 */
export function copyOf(image, side = Number.POSITIVE_INFINITY) {
  const canvas = fit(document.createElement('canvas'), image, side);
  contextOf(canvas).drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/**
 * @param {number} width
 * @param {number} height
 * @param {Uint8ClampedArray<ArrayBuffer>} pixels RGBA
 */
export function canvasOf(width, height, pixels) {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  contextOf(canvas).putImageData(new ImageData(pixels, width, height), 0, 0);
  return canvas;
}

/**
 * @param {Gradient} gradient
 * @param {number} [gain]
 */
export const gradientCanvas = (gradient, gain) => canvasOf(gradient.w, gradient.h, gradientBytes(gradient, gain));

/**
 * The colours of a colour map from left to right.
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} table
 */
export function drawScale(canvas, table) {
  const ramp = Float32Array.from({ length: 256 }, (_, i) => i / 255);
  contextOf(canvas).drawImage(canvasOf(256, 1, colourBytes(ramp, table, 1)), 0, 0);
}

/**
 * Multiply what is on a canvas by a map.
 * @param {HTMLCanvasElement} canvas
 * @param {HeatMap} map
 * @param {Box} box
 */
export function spotlight(canvas, map, box) {
  const { width, height } = canvas;
  const context = contextOf(canvas);
  context.globalCompositeOperation = 'multiply';
  context.drawImage(canvasOf(width, height, colourBytes(enlarge(map, width, height, box), GREYS, 1)), 0, 0);
}

/**
 * Draw one view of a result over its photo, on a canvas of any size.
 * @param {HTMLCanvasElement} canvas
 * @param {Drawn} result
 * @param {Style} style
 * @param {number} [from] the share of the width, from the left, that stays photo
 */
export function draw(canvas, result, style, from = 0) {
  const { width, height } = canvas;
  const context = contextOf(canvas);
  context.globalAlpha = 1;
  context.globalCompositeOperation = 'source-over';
  context.drawImage(result.photo.image, 0, 0, width, height);
  const over = overlayOf(canvas, result, style);
  if (!over) return;
  context.save();
  context.beginPath();
  context.rect(from * width, 0, width, height);
  context.clip();
  if (style.view === 'guided' || style.view === 'guided-grad-cam') {
    context.fillStyle = 'rgb(128 128 128)';
    context.fillRect(0, 0, width, height);
    const [left, top, right, bottom] = inPixels(result.box, width, height);
    context.imageSmoothingQuality = 'high';
    context.drawImage(over, left, top, right - left, bottom - top);
  } else {
    if (style.view === 'spotlight') context.globalCompositeOperation = 'multiply';
    else context.globalAlpha = style.opacity;
    context.drawImage(over, 0, 0);
  }
  context.restore();
}

/** @type {WeakMap<HTMLCanvasElement, { made: unknown[], over: HTMLCanvasElement | null }>} */
const overlays = new WeakMap();

/**
 * The overlay of the photo, cached: opacity and handle do not change it.
 * @param {HTMLCanvasElement} canvas
 * @param {Drawn} result
 * @param {Style} style
 */
function overlayOf(canvas, result, style) {
  const { width, height } = canvas;
  const made = [result, style.view, style.map, style.table, style.gain, width, height, result.gradient];
  const kept = overlays.get(canvas);
  if (kept && made.every((each, i) => each === kept.made[i])) return kept.over;
  const over = newOverlay(width, height, result, style);
  overlays.set(canvas, { made, over });
  return over;
}

/**
 * @param {number} width
 * @param {number} height
 * @param {Drawn} result
 * @param {Style} style
 */
function newOverlay(width, height, { gradient, box }, { view, map, table, gain }) {
  if (view === 'guided') return gradient && gradientCanvas(gradient);
  if (!map.max && view !== 'spotlight') return null; // an empty map has no colours
  if (view === 'guided-grad-cam') return gradient && gradientCanvas(guidedGradCam(gradient, map), gain);
  const colours = view === 'spotlight' ? GREYS : table;
  return canvasOf(width, height, colourBytes(enlarge(map, width, height, box), colours, gain));
}
