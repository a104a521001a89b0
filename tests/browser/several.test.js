// Several photos at once: ZIP files, the order of the grid, the mean map, and the table.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { arranged, FAILED, firstChoices, named, tileKey, tilesOf, UNSURE } from '../../demo/browser/several/arrange.js';
import { meanMap } from '../../demo/browser/several/mean.js';
import { table } from '../../demo/browser/several/table.js';
import { photosIn, unzip, ZipError } from '../../demo/browser/several/zip.js';

/** @import { Asked, Explained, Result, Tile } from '../../demo/browser/types.js' */

/**
 * @typedef {{ name: string, content: Buffer, method?: number, flags?: number, size?: number, packed?: Buffer }} Packed
 */

/**
 * A ZIP file, as APPNOTE.TXT describes it.
 * @param {Packed[]} files
 * @param {string} [comment]
 */
function zip(files, comment = '') {
  /** @type {Buffer[]} */
  const parts = [];
  /** @type {Buffer[]} */
  const list = [];
  let at = 0;
  for (const { name, content, method = 8, flags = 0, size = content.length, ...more } of files) {
    const packed = more.packed ?? (method === 8 ? deflateRawSync(content) : content);
    const path = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(method, 8);
    local.writeUInt16LE(path.length, 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(flags, 8);
    central.writeUInt16LE(method, 10);
    central.writeUInt32LE(packed.length, 20);
    central.writeUInt32LE(size, 24);
    central.writeUInt16LE(path.length, 28);
    central.writeUInt32LE(at, 42);
    parts.push(local, path, packed);
    list.push(central, path);
    at += 30 + path.length + packed.length;
  }
  const end = Buffer.alloc(22);
  const central = Buffer.concat(list);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(at, 16);
  end.writeUInt16LE(comment.length, 20);
  return new Blob([.../** @type {any[]} */ (parts), central, end, comment]);
}

/** @param {Blob | null} blob */
const read = async (blob) => blob && Buffer.from(await blob.arrayBuffer());

test('photos of a ZIP file, packed and stored, in folders; nothing else', async () => {
  const [one, other] = [Buffer.from('a photo '.repeat(5000)), Buffer.from('another')];
  const file = zip(
    [
      ...[
        { name: 'trip/', content: Buffer.alloc(0) },
        { name: 'trip/Katze ü.JPG', content: one },
      ],
      ...[
        { name: 'notes.txt', content: other },
        { name: '__MACOSX/trip/._a.jpg', content: other },
      ],
      ...[
        { name: '.hidden.png', content: other },
        { name: 'b.png', content: other, method: 0 },
      ],
    ],
    'a comment with PK\u0005\u0006',
  );
  const entries = await photosIn(file);
  assert.deepEqual(
    entries.map(({ name }) => name),
    ['Katze ü.JPG', 'b.png'],
  );
  assert.deepEqual(await read(await unzip(file, entries[0], 1e6)), one);
  assert.deepEqual(await read(await unzip(file, entries[1], 1e6)), other);
});

test('a photo that unpacks to more than it may is not unpacked, whatever the file says', async () => {
  const bomb = Buffer.alloc(50_000_000);
  for (const size of [bomb.length, 10, 0]) {
    for (const method of [8, 0]) {
      const file = zip([{ name: 'a.jpg', content: bomb, size, method }]);
      const [entry] = await photosIn(file);
      assert.equal(await unzip(file, entry, 1_000_000), null);
    }
  }
});

test('what is no ZIP file, encrypted, cut off or damaged has its own error', async () => {
  const code = (/** @type {string} */ expected) => (/** @type {unknown} */ error) =>
    error instanceof ZipError && error.code === expected;
  const content = Buffer.from('a photo '.repeat(100));
  await assert.rejects(photosIn(new Blob(['no ZIP file'])), code('zip_unreadable'));
  await assert.rejects(photosIn(new Blob([])), code('zip_unreadable'));
  await assert.rejects(photosIn(zip([{ name: 'a.jpg', content, flags: 1 }])), code('zip_encrypted'));
  const whole = Buffer.from(await zip([{ name: 'a.jpg', content }]).arrayBuffer());
  await assert.rejects(photosIn(new Blob([whole.subarray(0, -10)])), code('zip_unreadable'));
  for (const [at, value] of [
    [whole.length - 22 + 12, 0xffffffff], // the list's size and place
    [whole.length - 22 + 16, 0xfffffff0],
  ]) {
    const damaged = Buffer.from(whole);
    damaged.writeUInt32LE(value, at);
    await assert.rejects(photosIn(new Blob([damaged])), code('zip_unreadable'));
  }
  const unknown = zip([{ name: 'a.jpg', content, method: 99 }]);
  await assert.rejects(unzip(unknown, (await photosIn(unknown))[0], 1e6), code('damaged'));
  for (const packed of [Buffer.from([255, 255, 255]), deflateRawSync(content).subarray(0, 5)]) {
    const file = zip([{ name: 'a.jpg', content, packed }]);
    await assert.rejects(unzip(file, (await photosIn(file))[0], 1e6), code('damaged'));
  }
});

/** @type {Asked} */
const asked = {
  ...{ task: 'classification', question: null, target: '' },
  ...{ model: 'lite0', layer: null, method: 'grad-cam' },
};

/**
 * @param {string} name
 * @param {Partial<Result> | null} result
 * @returns {Tile}
 */
function tile(name, result) {
  const first = result?.predictions?.[0] ?? { text: 'cat', probability: 0.5 };
  const whole = /** @type {any} */ ({
    ...{ ...asked, layer: 'top', target: first.text, probability: first.probability, predictions: [first], rank: 1 },
    ...{ score: -2.5, unsure: false, faint: false, unknown_words: [] },
    ...{ raw: { h: 1, w: 1, max: 2, values: new Float32Array([1]) }, box: [0, 0, 1, 1], ...result },
  });
  return { photo: { key: name, name }, found: result && whole };
}
/** @param {string} text */
const said = (text, probability = 0.5) => ({ predictions: [{ text, probability }] });
/** @param {Tile[]} tiles */
const names = (tiles) => tiles.map(({ photo }) => photo.name);
/** @type {Tile} */
const broken = {
  photo: { key: 'e', name: 'e' },
  found: { problem: { code: 'server', text: 'It is "broken", really.' } },
};
const tiles = [
  ...[tile('a', said('dog', 0.2)), tile('b', said('cat', 0.9)), tile('c', null)],
  ...[tile('d', { ...said('dog', 0.6), unsure: true }), broken],
];

test('the grid is sorted and filtered by first choice, likelihood, guesses and failures', () => {
  assert.deepEqual(names(arranged(tiles, 'added', '')), ['a', 'b', 'c', 'd', 'e']);
  assert.deepEqual(names(arranged(tiles, 'likely', '')), ['b', 'd', 'a', 'c', 'e']);
  assert.deepEqual(names(arranged(tiles, 'unlikely', '')), ['a', 'd', 'b', 'c', 'e']);
  assert.deepEqual(names(arranged(tiles, 'name', '')), ['b', 'd', 'a', 'c', 'e']);
  assert.deepEqual(names(arranged(tiles, 'added', named('dog'))), ['a', 'd']);
  assert.deepEqual(names(arranged(tiles, 'added', UNSURE)), ['d']);
  assert.deepEqual(names(arranged(tiles, 'added', FAILED)), ['e']);
  assert.deepEqual(firstChoices(tiles), [
    ['dog', 2],
    ['cat', 1],
  ]);
});

test('a photo has an explanation for each thing that was asked', () => {
  const [one, other] = [tile('a', said('dog')), tile('b', said('cat'))];
  const cats = { ...asked, target: 'cat' };
  const explained = new Map([
    [tileKey(one.photo, asked), /** @type {Explained} */ (one.found)],
    [tileKey(other.photo, cats), /** @type {Explained} */ (other.found)],
  ]);
  const several = { photos: [one.photo, other.photo], asked, explained };
  const found = (/** @type {Parameters<typeof tilesOf>[0]} */ state) => tilesOf(state).map((each) => each.found);
  assert.deepEqual(found(several), [one.found, null]);
  assert.deepEqual(found({ ...several, asked: cats }), [null, other.found]);
  assert.deepEqual(found({ ...several, asked: null }), [null, null]);
});

test('the mean map is the mean of maps in shares of their scales', () => {
  const left = { h: 1, w: 2, max: 8, values: new Float32Array([1, 0]) };
  const right = { h: 1, w: 2, max: 0.5, values: new Float32Array([0, 1]) };
  const box = /** @type {[number, number, number, number]} */ ([0, 0, 1, 1]);
  const one = { raw: left, box, first_choice_max: 8 };
  const other = { raw: right, box, first_choice_max: 0.5 };
  const alone = meanMap([one], 0.3);
  const { w } = alone;
  assert.equal(alone.max, 1);
  assert.equal(alone.values[0], 1);
  assert.equal(alone.values[w - 1], 0);
  const both = meanMap([one, other, other, other], 0.3);
  assert.ok(Math.abs(both.max - 0.75) < 1e-6);
  assert.ok(Math.abs(both.values[0] * both.max - 0.25) < 1e-6);
  const faint = meanMap([one, { ...other, first_choice_max: 5 }], 0.3);
  assert.ok(Math.abs(faint.values[w - 1] * faint.max - 0.05) < 1e-6);
  const empty = meanMap([{ ...one, raw: { ...left, max: 0, values: new Float32Array(2) } }], 0.3);
  assert.equal(empty.max, 0);
  assert.ok(empty.values.every((value) => value === 0));
});

/**
 * The fields of a CSV file, as RFC 4180 says.
 * @param {string} text
 */
function parsed(text) {
  const rows = text.match(/(?:"(?:[^"]|"")*"|[^",\r\n]*)(?:,|\r\n)/g) ?? [];
  /** @type {string[][]} */
  const lines = [[]];
  for (const part of rows) {
    const field = part.replace(/(,|\r\n)$/, '');
    lines.at(-1)?.push(field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field);
    if (part.endsWith('\n')) lines.push([]);
  }
  return lines.slice(0, -1);
}

test('no text of the table is run as a formula, and all of it can be read back', () => {
  const bad = ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', ' =1', '\n=1', '＝1+1', '=HYPERLINK("a","b")'];
  const rows = parsed(table([...bad.map((name) => tile(name, said(name))), broken], asked, () => 'It "fails", so'));
  const [columns, ...lines] = rows;
  assert.equal(lines.length, bad.length + 1);
  assert.ok(rows.every((row) => row.length === columns.length));
  for (const [i, name] of bad.entries()) {
    for (const column of ['photo', 'target', 'first_choice']) {
      const text = lines[i][columns.indexOf(column)];
      assert.equal(text, `'${name}`);
    }
    assert.equal(lines[i][columns.indexOf('score')], '-2.5'); // a number is none
  }
  assert.equal(lines.at(-1)?.[columns.indexOf('error')], 'It "fails", so');
  assert.equal(lines.at(-1)?.[columns.indexOf('probability')], '');
});
