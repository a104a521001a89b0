// Where a photo comes from: an example, a file, the clipboard, a web address.

import { $, all, arrowKeys, button, make, onChange, onClick } from '../dom.js';
import { chooseExample, fetchPhoto, upload } from '../photos.js';
import { store } from '../store.js';

export function mountPhotos() {
  mountExamples();
  onChange('input[type=file]', (_, field) => {
    const file = field.files?.[0];
    if (file) upload(file);
    field.value = ''; // so that the same file can be chosen again
  });
  document.addEventListener('paste', ({ clipboardData, target }) => receive(clipboardData, target));
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    $('.panel').classList.add('dropping');
  });
  document.addEventListener('dragleave', ({ relatedTarget }) => {
    if (!relatedTarget) $('.panel').classList.remove('dropping');
  });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    $('.panel').classList.remove('dropping');
    receive(event.dataTransfer, document.body);
  });
  onClick('.from-web', () => showAddress(!!$('.address').hidden));
  onClick('.address .cancel', () => showAddress(false));
  $('.address').addEventListener('submit', async (event) => {
    event.preventDefault();
    const address = /** @type {HTMLInputElement} */ ($('#gc-address')).value.trim();
    if (address && (await fetchPhoto(address))) $('.address').hidden = true;
  });
}

function mountExamples() {
  const { examples } = store.facts;
  const random = () => {
    const others = examples.filter(({ name }) => name !== store.state.photo?.example);
    chooseExample(others[Math.floor(Math.random() * others.length)].name);
  };
  const title = 'Any of the examples';
  const buttons = examples.map(({ name, thumbnail }) => {
    const image = make('img', { src: thumbnail, alt: name, width: 56, height: 56 });
    return button({ 'data-name': name, title: name, onclick: () => chooseExample(name) }, image);
  });
  $('.examples').append(button({ class: 'random', title, onclick: random }, 'Random'), ...buttons);
  const markStop = arrowKeys($('.examples'));
  store.subscribe(['photo'], () => {
    const chosen = store.state.photo?.example;
    for (const each of all('.examples button')) {
      each.setAttribute('aria-pressed', String(!!chosen && each.dataset.name === chosen));
    }
    markStop();
  });
}

/**
 * A file, or the address of a picture, pasted or dropped anywhere but into a field.
 * @param {DataTransfer | null} transfer
 * @param {EventTarget | null} target
 */
function receive(transfer, target) {
  const file = transfer?.files[0];
  const text = (transfer?.getData('text/uri-list') || transfer?.getData('text/plain') || '').trim();
  if (file) upload(file);
  else if (/^https:\/\/\S+$/.test(text) && !(/** @type {Element} */ (target).closest('input'))) fetchPhoto(text);
}

/** @param {boolean} shown */
function showAddress(shown) {
  $('.address').hidden = !shown;
  $('.from-web').setAttribute('aria-expanded', String(shown));
  $(shown ? '#gc-address' : '.from-web').focus();
}
