// Where a photo comes from: an example, a file, the clipboard, a web address.

import { $, all, arrowKeys, button, focusHeading, make, onChange, onClick } from '../dom.js';
import { chooseExample, fetchPhoto, isZip, upload } from '../photos.js';
import { store } from '../store.js';
import { addPhotos } from './several.js';

export function mountPhotos() {
  mountExamples();
  onChange('input[type=file]', (_, field) => {
    take([...(field.files ?? [])]);
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
  onClick('.from-web', () => {
    const open = !!$('.address').hidden;
    showAddress(open);
    if (open) $('#gc-address').focus();
  });
  onClick('.address .cancel', () => {
    showAddress(false);
    $('.from-web').focus();
  });
  $('.address').addEventListener('submit', (event) => {
    event.preventDefault();
    if (addressField().value.trim()) fetchPhoto(addressField().value.trim());
  });
  let shown = store.state.photo;
  store.subscribe(['photo'], () => {
    if (shown !== store.state.photo && store.state.camera !== 'live') showAddress(false);
    shown = store.state.photo;
  });
}

const addressField = () => /** @type {HTMLInputElement} */ ($('#gc-address'));

function mountExamples() {
  const { examples } = store.facts;
  const random = () => {
    const others = examples.filter(({ name }) => name !== store.state.photo?.example);
    chooseExample(others[Math.floor(Math.random() * others.length)].name);
  };
  const title = 'Any of the examples';
  const buttons = examples.map(({ name, thumbnail }) => {
    const image = make('img', { src: thumbnail, alt: name, width: 52, height: 52 });
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
  const files = [...(transfer?.files ?? [])];
  const text = (transfer?.getData('text/uri-list') || transfer?.getData('text/plain') || '').trim();
  if (files.length) take(files);
  else if (/^https:\/\/\S+$/.test(text) && !(/** @type {Element} */ (target).closest('input'))) fetchPhoto(text);
}

/** @param {File[]} files */
function take(files) {
  if (files.length > 1 || files.some(isZip) || store.state.several.open) addPhotos(files);
  else if (files.length) upload(files[0]);
}

/** @param {boolean} shown */
function showAddress(shown) {
  const inside = $('.address').contains(document.activeElement);
  $('.address').hidden = !shown;
  $('.from-web').setAttribute('aria-expanded', String(shown));
  if (shown) return;
  addressField().value = '';
  if (inside) focusHeading(); // the field disappears
}
