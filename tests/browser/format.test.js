// Texts for people, and names.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileName } from '../../demo/browser/format.js';

test('files of any address get a name', () => {
  for (const [path, name] of [
    ['a/cat.png?x=1#y', 'cat.png'],
    ['my%20cat.png', 'my cat.png'],
    ['100%.png', '100%.png'],
    ['%E0%A4%A.png', '%E0%A4%A.png'],
    ['%ff', '%ff'],
    ['a/', ''],
    ['', ''],
  ]) {
    assert.equal(fileName(new URL(`https://example.org/${path}`)), name);
  }
});
