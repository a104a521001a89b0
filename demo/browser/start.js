// The start: what the address names, or the first example.

function render() {
  renderSaid();
  renderStage();
  renderViews();
  renderList();
  renderFields();
  renderVisit();
}

const query = new URLSearchParams(location.search);
if (TASKS.includes(query.get('tab'))) tab = query.get('tab');
if (query.get('question')) state().question = query.get('question').slice(0, 300);
const named = facts.examples.find(({ name }) => name === query.get('example')) ?? facts.examples[0];
photo = { key: named.name, name: named.name, example: named.name };
explain({ target: (query.get('target') ?? '').slice(0, 300) });
