import { $ } from '../dom.js';
export function begin() {
  $('.tour').hidden = false;
}
