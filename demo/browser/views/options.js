// Model, layer and method; and the small print of the result.

import { $, fillSelect, onChange } from '../dom.js';
import { explain, explainSecond } from '../explain.js';
import { modelOption, technicalDetails } from '../messages.js';
import { freshResult, methodInfo, methodsFor, modelInfo } from '../selectors.js';
import { store } from '../store.js';

export function mountOptions() {
  onChange('.model', chooseModel);
  onChange('.hub', (name) => name && chooseModel(name));
  onChange('.layer', (name) => {
    store.choose({ layer: name || null });
    explain();
  });
  onChange('.method', (method) => {
    store.choose({ method });
    explain();
  });
  onChange('.second-model', (model) => {
    store.compareWith(model ? { model } : null);
    explainSecond();
  });
  store.subscribe(['tab', 'photo', 'tasks', 'history'], render);
}

/** @param {string} model */
function chooseModel(model) {
  const applies = methodsFor(store.state.tab, model).some(({ name }) => name === store.current.method);
  store.choose({ model, layer: null, ...(applies ? {} : { method: 'grad-cam' }) });
  explain();
}

function render() {
  const { tab } = store.state;
  const { model, layer, method, compared, shown } = store.current;
  const models = store.facts.tasks[tab];
  /** @type {[string, string][]} */
  const offered = models.map((each) => [each.name, modelOption(each)]);
  const listed = models.some(({ name }) => name === model);
  fillSelect('.model', listed ? offered : [[model, model], ...offered], model);
  fillSelect('.second-model', [['', 'none'], ...offered], compared?.model ?? '');
  $('.by-id').hidden = $('.hub').hidden = tab !== 'classification';
  const layers = Object.entries(shown?.layers ?? {});
  const sizes = layers.map(([name, size]) => /** @type {[string, string]} */ ([name, `${name} (${size})`]));
  fillSelect('.layer', [['', 'the usual'], ...sizes], layer ?? '');
  fillSelect(
    '.method',
    methodsFor(tab, model).map(({ name, title }) => [name, title]),
    method,
  );
  const { title, about, paper } = methodInfo(method);
  $('.about-method').textContent = `${title}: ${about} (${paper})`;
  const settings = [modelInfo(tab, model).title, layer ?? 'usual layer', title].join(', ');
  $('.options summary').textContent = `Options, other models: ${settings}`;
  renderTechnical();
}

function renderTechnical() {
  const result = freshResult();
  $('.technical').textContent = result ? technicalDetails(result, modelInfo(result.task, result.model)) : '';
  const data = result && { layer: result.layer, method: result.method, cells: `${result.raw.w}x${result.raw.h}` };
  Object.assign($('.technical').dataset, data ?? { layer: '', method: '', cells: '' });
}
