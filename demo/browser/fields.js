// Tabs, question, options and downloads.

// Written anew only where something else is offered: one that is open would close.
const offered = {};
function offer(selector, options, chosen) {
  const now = JSON.stringify(options);
  if (offered[selector] !== now) $(selector).replaceChildren(...options.map(([value, text]) => make('option', { value }, text)));
  offered[selector] = now;
  $(selector).value = chosen;
}

function renderFields() {
  const mine = state();
  const info = infoOf(tab, mine.model);
  $('.field.question').hidden = tab !== 'vqa';
  $('.field.target label').textContent = { classification: 'Class', captioning: 'Caption', vqa: 'Answer' }[tab];
  $('#gc-target').placeholder = { classification: 'Any class', captioning: 'Your own', vqa: 'Any answer' }[tab];
  $('#gc-target').title = 'Empty: what the network itself says first';
  if (document.activeElement !== $('#gc-target')) $('#gc-target').value = mine.target;
  if (document.activeElement !== $('#gc-question')) $('#gc-question').value = mine.question;
  $('.tries').hidden = tab !== 'vqa';
  const questions = facts.questions[photo?.example] ?? facts.questions[''];
  refill($('.tries'), ...questions.map((text) => make('button', { type: 'button', 'data-name': text, onclick: () => ask(text) }, text)));
  for (const button of element.querySelectorAll('[role=tab]')) {
    const chosen = button.dataset.task === tab;
    button.setAttribute('aria-selected', chosen);
    button.tabIndex = chosen ? 0 : -1;
    if (chosen) $('#gc-panel').setAttribute('aria-labelledby', button.id);
  }
  for (const button of $('.examples').children) button.setAttribute('aria-pressed', !!photo?.example && button.dataset.name === photo.example);
  chosenExample();
  const models = facts.tasks[tab];
  const named = (each) => `${each.title}${each.year ? `, ${each.year}` : ''} · ${each.megabytes ? `${each.megabytes.toLocaleString('en')} MB` : 'built in'} (${each.name})`;
  const custom = models.some((each) => each.name === mine.model) ? [] : [[mine.model, mine.model]];
  offer('.model', [...custom, ...models.map((each) => [each.name, named(each)])], mine.model);
  offer('.beside', [['', 'none'], ...models.map((each) => [each.name, named(each)])], mine.beside?.model ?? '');
  $('.by-id').hidden = $('.hub').hidden = tab !== 'classification';
  const layers = Object.entries(mine.shown?.layers ?? {});
  offer('.layer', [['', 'the last'], ...layers.map(([name, size]) => [name, `${name} (${size})`])], mine.layer ?? '');
  offer('.method', methodsOf(info).map((each) => [each.name, each.title]), mine.method);
  const method = methodNamed(mine.method);
  $('.about-method').textContent = `${method.title}: ${method.about} (${method.paper})`;
  $('.options summary').textContent = `Options, other models: ${info.title}, ${mine.layer ?? 'last layer'}, ${method.title}`;
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
  showAnswer();
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
  showAnswer();
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
  const mine = state();
  Object.assign(mine, { model: name, layer: null });
  if (!methodsOf(infoOf(tab, name)).some((each) => each.name === mine.method)) mine.method = 'grad-cam';
  explain();
}

for (const button of element.querySelectorAll('.keep button'))
  button.addEventListener('click', async () => {
    const { shown, second, beside } = state();
    const said = button.textContent;
    if (button.getAttribute('aria-disabled')) return;
    button.setAttribute('aria-disabled', 'true'); // a disabled one would lose the focus
    button.textContent = 'Writing …';
    const reply = await inquire('keep', tab, {
      target: shown.target,
      beside_target: second && beside?.target ? second.target : null,
      beside_model: second && beside?.model ? second.model : null,
      highest: sameScale() ? sharedMax() : null,
      format: button.dataset.format,
      colour_map: look.colour,
      opacity: look.opacity,
      evidence: button.dataset.format === 'zip' ? measuredOf(shown) : null,
      beside_evidence: button.dataset.format === 'zip' && second ? measuredOf(second) : null,
    });
    button.removeAttribute('aria-disabled');
    button.textContent = said;
    Object.assign(state(), { error: reply?.error ?? '', near: [], again: reply?.lost ? () => button.click() : null });
    render();
  });
