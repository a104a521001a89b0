// A line chart: probability against the share of the photo that was changed.

import { make, svg } from '../dom.js';
import { significant, wholePercent } from '../format.js';

/** @import { Measurement } from '../types.js' */

const CURVES = [
  { name: 'map', title: 'the map’s order', kind: 'curve-map' },
  { name: 'random order', title: 'random order', kind: 'curve-random' },
  { name: 'centre', title: 'centre first', kind: 'curve-centre' },
];
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [300, 162, 38, 130];

/**
 * @param {string} title
 * @param {string} better
 * @param {string} along
 * @param {Measurement} measurement
 */
export function chart(title, better, along, { value, references, curve, reference_curves }) {
  /** @type {Record<string, number[]>} */
  const curves = { map: curve, ...reference_curves };
  /** @type {Record<string, number>} */
  const areas = { map: value, ...references };
  const texts = CURVES.map((each) => `${significant(areas[each.name])} for ${each.title}`);
  const label = `${title}: area under the curve ${texts.join(', ')}`;
  const drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label });
  drawing.append(...axes(Math.max(...Object.values(curves).flat()) || 1, along), ...lines(curves));
  const legend = CURVES.map(({ name, title: curveTitle, kind }) => {
    const line = svg('path', { class: kind, d: 'M0 3H26' });
    const swatch = svg('svg', { class: 'swatch', viewBox: '0 0 26 6', 'aria-hidden': 'true' }, line);
    return make('li', {}, swatch, ` ${curveTitle}: `, make('b', {}, significant(areas[name])));
  });
  const caption = make('figcaption', {}, title, ' ', make('small', {}, `area under the curve; ${better}`));
  return make('figure', {}, caption, drawing, make('ul', { class: 'legend' }, ...legend));
}

/**
 * @param {number} top
 * @param {string} along
 */
function axes(top, along) {
  const text = (
    /** @type {number} */ x,
    /** @type {number} */ y,
    /** @type {string} */ anchor,
    /** @type {string} */ label,
  ) => svg('text', { x, y, 'text-anchor': anchor }, label);
  return [
    svg('path', { class: 'axis', d: `M${LEFT} 6V${BOTTOM}H${WIDTH - 4}` }),
    text(LEFT - 4, 14, 'end', top < 0.01 ? top.toExponential(0) : wholePercent(top)),
    text(LEFT - 4, BOTTOM, 'end', '0'),
    text(LEFT, BOTTOM + 14, 'middle', '0 %'),
    text(WIDTH - 6, BOTTOM + 14, 'end', '100 %'),
    text((LEFT + WIDTH) / 2, BOTTOM + 28, 'middle', along),
  ];
}

/** @param {Record<string, number[]>} curves */
function lines(curves) {
  const top = Math.max(...Object.values(curves).flat()) || 1;
  return CURVES.toReversed().map(({ name, kind }) => {
    const points = curves[name].map((p, i, { length }) => {
      const x = LEFT + ((WIDTH - LEFT - 6) * i) / (length - 1);
      return `${x},${BOTTOM - ((BOTTOM - 8) * p) / top}`;
    });
    return svg('polyline', { class: kind, points: points.join(' ') });
  });
}
