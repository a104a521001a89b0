// ZIP files, read in the browser: one photo at a time, and never more of it than a photo may have.

/** @typedef {{ name: string, at: number, packed: number, size: number, method: number }} Entry */

const END = 0x06054b50; // signatures, PKWARE's APPNOTE 4.3
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const STORED = 0;
const DEFLATED = 8;
const LONGEST_END = 22 + 0xffff; // the last record, with the longest comment
const LARGEST_LIST = 4_000_000; // bytes of the list of files
const PHOTO = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|heic|heif|ppm)$/i;

/** With code "zip_unreadable", "zip_encrypted" or "damaged". */
export class ZipError extends Error {
  /** @param {'zip_unreadable' | 'zip_encrypted' | 'damaged'} code */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/**
 * The photos in a ZIP file, in its order.
 * @param {Blob} file
 * @returns {Promise<Entry[]>}
 * @throws {ZipError}
 */
export async function photosIn(file) {
  const list = await listOf(file);
  /** @type {Entry[]} */
  const found = [];
  for (let at = 0; at + 46 <= list.byteLength && list.getUint32(at, true) === CENTRAL; ) {
    const [flags, method] = [list.getUint16(at + 8, true), list.getUint16(at + 10, true)];
    const [packed, size] = [list.getUint32(at + 20, true), list.getUint32(at + 24, true)];
    const length = list.getUint16(at + 28, true);
    const next = at + 46 + length + list.getUint16(at + 30, true) + list.getUint16(at + 32, true);
    if (next > list.byteLength) throw new ZipError('zip_unreadable');
    const path = new TextDecoder().decode(new Uint8Array(list.buffer, list.byteOffset + at + 46, length));
    const name = path.split(/[/\\]/).pop() ?? '';
    if (PHOTO.test(name) && !name.startsWith('.') && !path.startsWith('__MACOSX/')) {
      if (flags & 1) throw new ZipError('zip_encrypted');
      found.push({ name, at: list.getUint32(at + 42, true), packed, size, method });
    }
    at = next;
  }
  return found;
}

/**
 * The list of files at the end of a ZIP file.
 * @param {Blob} file
 */
async function listOf(file) {
  const start = Math.max(0, file.size - LONGEST_END);
  const end = await viewOf(file.slice(start));
  let at = end.byteLength - 22;
  while (at >= 0 && end.getUint32(at, true) !== END) at--;
  if (at < 0) throw new ZipError('zip_unreadable');
  const [size, offset] = [end.getUint32(at + 12, true), end.getUint32(at + 16, true)];
  // Larger ones, also those of the format's 64-bit extension, have no place here.
  if (size > LARGEST_LIST || offset + size > start + at) throw new ZipError('zip_unreadable');
  return viewOf(file.slice(offset, offset + size));
}

/** @param {Blob} part */
const viewOf = async (part) => new DataView(await part.arrayBuffer());

/**
 * One file of a ZIP file.
 * @param {Blob} file
 * @param {Entry} entry
 * @param {number} most bytes that it may have; what the ZIP file says is not believed
 * @returns {Promise<Blob | null>} null: it has more
 * @throws {ZipError}
 */
export async function unzip(file, { at, packed, size, method }, most) {
  if (size > most) return null;
  const head = await viewOf(file.slice(at, at + 30));
  if (head.byteLength < 30 || head.getUint32(0, true) !== LOCAL) throw new ZipError('damaged');
  const start = at + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const content = file.slice(start, start + packed);
  if (method === STORED) return bounded(content.stream(), most);
  if (method !== DEFLATED) throw new ZipError('damaged');
  return bounded(content.stream().pipeThrough(new DecompressionStream('deflate-raw')), most);
}

/**
 * What a stream has, unless that is too much: then the rest is never made.
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} stream
 * @param {number} most
 */
async function bounded(stream, most) {
  const reader = stream.getReader();
  const parts = [];
  let size = 0;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      size += part.value.length;
      if (size > most) {
        await reader.cancel();
        return null;
      }
      parts.push(part.value);
    }
  } catch {
    throw new ZipError('damaged');
  }
  return new Blob(parts);
}
