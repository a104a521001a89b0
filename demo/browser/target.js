// The field for a class, caption or answer, and what it suggests: what is typed is what is meant,
// unless one of the suggestions is chosen.

const field = $('#gc-target');
const options = $('#gc-options');
let active = -1;
let typing;
function closeOptions() {
  clearTimeout(typing);
  options.hidden = true;
  active = -1;
  field.setAttribute('aria-expanded', 'false');
  field.removeAttribute('aria-activedescendant');
}
async function openOptions() {
  if (tab === 'captioning' || !photo?.image || live) return;
  const text = field.value;
  const reply = await inquire('suggest', tab, { text, layer: undefined, method: undefined });
  if (!reply?.labels?.length || document.activeElement !== field || field.value !== text) return closeOptions();
  active = -1;
  options.replaceChildren(...reply.labels.map((label, i) =>
    make('li', { role: 'option', id: `gc-option-${i}`, 'aria-selected': 'false', onmousedown: (event) => {
      event.preventDefault();
      take(label.text);
    } }, make('span', {}, label.text), make('small', {}, percent(label.probability)))));
  options.hidden = false;
  field.setAttribute('aria-expanded', 'true');
}
function take(text) {
  field.value = text;
  settled = true;
  closeOptions();
  showAnswer();
  explain({ target: text });
}
// What was explained is replaced by what is typed next: the first click selects it.
let settled = true;
field.addEventListener('focus', () => field.select());
field.addEventListener('click', () => {
  if (settled) field.select();
  settled = false;
});
field.addEventListener('input', () => {
  settled = false;
  clearTimeout(typing);
  typing = setTimeout(openOptions, 150);
});
field.addEventListener('blur', closeOptions);
field.addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === 'Escape') closeOptions();
  else if (event.key === 'Enter' && active >= 0) {
    event.preventDefault();
    take(options.children[active].firstChild.textContent);
  } else if (step) {
    event.preventDefault();
    if (options.hidden) return openOptions();
    options.children[active]?.setAttribute('aria-selected', 'false');
    active = (active + step + options.childElementCount) % options.childElementCount;
    options.children[active].setAttribute('aria-selected', 'true');
    field.setAttribute('aria-activedescendant', options.children[active].id);
  }
});
