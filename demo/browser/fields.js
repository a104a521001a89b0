// Tabs, question, options and downloads.

function renderFields() {
  const mine = state();
  const info = infoOf(tab, mine.model);
  $('.field.question').hidden = tab !== 'vqa';
  $('.field.target label').textContent = { classification: 'Class', captioning: 'Caption', vqa: 'Answer' }[tab];
  $('#gc-target').placeholder = { classification: 'Any class; empty: its first choice', captioning: 'Your own; empty: the network’s', vqa: 'Any answer; empty: the network’s' }[tab];
  if (document.activeElement !== $('#gc-target')) $('#gc-target').value = mine.target;
  if (document.activeElement !== $('#gc-question')) $('#gc-question').value = mine.question;
  $('.tries').hidden = tab !== 'vqa';
  const questions = facts.questions[photo?.example] ?? facts.questions[''];
  $('.tries').replaceChildren(...questions.map((text) => make('button', { type: 'button', onclick: () => ask(text) }, text)));
  for (const button of element.querySelectorAll('[role=tab]')) {
    const chosen = button.dataset.task === tab;
    button.setAttribute('aria-selected', chosen);
    button.tabIndex = chosen ? 0 : -1;
    if (chosen) $('#gc-panel').setAttribute('aria-labelledby', button.id);
  }
  for (const button of $('.examples').children) button.setAttribute('aria-pressed', button.dataset.name === photo?.example);
  const option = (value, text, chosen) => make('option', { value, selected: chosen }, text);
  const models = facts.tasks[tab];
  const named = (each) => `${each.title}${each.year ? `, ${each.year}` : ''} · ${each.megabytes ? `${each.megabytes.toLocaleString('en')} MB` : 'built in'} (${each.name})`;
  const custom = models.some((each) => each.name === mine.model) ? [] : [option(mine.model, mine.model, true)];
  $('.model').replaceChildren(...custom, ...models.map((each) => option(each.name, named(each), each.name === mine.model)));
  $('.beside').replaceChildren(option('', 'none', !mine.beside?.model), ...models.map((each) => option(each.name, named(each), each.name === mine.beside?.model)));
  $('.by-id').hidden = $('.hub').hidden = tab !== 'classification';
  const layers = Object.entries(mine.shown?.layers ?? {});
  $('.layer').replaceChildren(option('', 'the last', !mine.layer), ...layers.map(([name, size]) => option(name, `${name} (${size})`, name === mine.layer)));
  $('.method').replaceChildren(...facts.methods.map((each) => option(each.name, each.title, each.name === mine.method)));
  const method = facts.methods.find((each) => each.name === mine.method);
  $('.about-method').textContent = `${method.title}: ${method.about} (${method.paper})`;
  $('.options summary').textContent = `Options: ${info.title}, ${mine.layer ?? 'last layer'}, ${method.title}`;
  const fresh = mine.shown && mine.shown.photo === photo;
  $('.details').textContent = fresh ? details(mine.shown) : '';
  $('.keep').hidden = !fresh;
}

function choose(task) {
  tab = task;
  closeOptions();
  if (states[task].shown?.photo !== photo && !states[task].busy) explain();
  else {
    if (states[task].shown && lookDone(states[task].shown)) look.view = 'grad-cam';
    render();
  }
}

function ask(question) {
  state().question = question;
  $('#gc-question').value = question;
  $('#gc-target').value = '';
  state().beside = state().beside?.model ? state().beside : null;
  explain({ target: '' });
}

for (const button of element.querySelectorAll('[role=tab]')) {
  button.addEventListener('click', () => choose(button.dataset.task));
  button.addEventListener('keydown', ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: 2 }[key];
    if (!step) return;
    const next = TASKS[(TASKS.indexOf(tab) + step) % 3];
    choose(next);
    $(`[data-task=${next}]`).focus();
  });
}

$('.ask').addEventListener('submit', (event) => {
  event.preventDefault();
  closeOptions();
  settled = true;
  const question = $('#gc-question').value.trim();
  const target = $('#gc-target').value.trim();
  // To another question the answer to the last one need not fit.
  const same = tab !== 'vqa' || question === state().question || target !== state().target;
  state().question = question;
  if (!same) $('#gc-target').value = '';
  explain({ target: same ? target : '' });
});
$('.offer button').addEventListener('click', () => {
  if (state().offer?.beside) {
    state().offer = null;
    askBeside('download');
  } else explain({ lane: 'download' });
});

$('.colour').append(...Object.keys(tables).map((name) => make('option', { value: name, selected: name === look.colour }, name)));
$('.colour').addEventListener('change', ({ target }) => {
  look.colour = target.value;
  render();
});
$('.opacity input').value = look.opacity;
$('.opacity input').addEventListener('input', ({ target }) => {
  look.opacity = Number(target.value);
  renderStage();
  renderViews();
});
$('.same input').addEventListener('change', ({ target }) => {
  look.same = target.checked;
  render();
});
$('.full').addEventListener('click', () => (document.fullscreenElement ? document.exitFullscreen() : $('.stage').requestFullscreen()));

function choice(selector, change) {
  $(selector).addEventListener('change', ({ target }) => {
    change(target.value.trim());
  });
}
choice('.model', (name) => pickModel(name));
choice('.hub', (name) => name && pickModel(name));
choice('.layer', (name) => {
  state().layer = name || null;
  explain();
});
choice('.method', (name) => {
  state().method = name;
  explain();
});
choice('.beside', (name) => {
  state().beside = name ? { model: name } : null;
  askBeside();
});
function pickModel(name) {
  Object.assign(state(), { model: name, layer: null });
  explain();
}

for (const button of element.querySelectorAll('.keep button'))
  button.addEventListener('click', async () => {
    const { shown } = state();
    button.disabled = true;
    const reply = await call('keep', request(tab, { target: shown.target, format: button.dataset.format, colour_map: look.colour, opacity: look.opacity }));
    button.disabled = false;
    state().error = reply?.error ?? '';
    render();
  });
