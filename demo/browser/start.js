// The start: what the address names, or the first example.

function render() {
  renderSaid();
  renderStage();
  renderViews();
  renderList();
  renderFields();
  renderVisit();
  renderDig();
  renderHow();
}

const query = new URLSearchParams(location.search);
const named = facts.examples.find(({ name }) => name === query.get('example'));
if (TASKS.includes(query.get('tab'))) tab = query.get('tab');
if (query.get('question')) state().question = query.get('question').slice(0, 300);
const { name: first } = named ?? facts.examples[0];
photo = { key: first, name: first, example: first };
// An address that somebody gave away counts, unless the page is only loaded anew.
const again = performance.getEntriesByType('navigation')[0]?.type === 'reload';
(named && !again ? Promise.resolve(false) : restore(named?.name)).then((restored) => restored || explain({ target: (query.get('target') ?? '').slice(0, 300) }));
