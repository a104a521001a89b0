// The way to several photos at once, and back to them. Their modules are fetched when there are some.

import { $, onClick } from '../dom.js';
import { store } from '../store.js';

export function mountSeveral() {
  onClick('.back-to-several', () => open(({ comeBack }) => comeBack()));
  store.subscribe(['several'], () => {
    const { open: shown, photos } = store.state.several;
    $('.several').hidden = !shown;
    $('.work').hidden = shown;
    $('.back-to-several').hidden = shown || !photos.length;
    $('.back-to-several').textContent = `Back to the ${photos.length} photos`;
  });
}

/** @param {File[]} files */
export const addPhotos = (files) => open(({ add }) => add(files));

/** @param {(grid: typeof import('../several/grid.js')) => void} use */
async function open(use) {
  const grid = await import('../several/grid.js').catch(() => null);
  if (grid) use(grid);
  else store.showProblem({ code: 'lost' }, { code: 'reload' });
}
