// Why in words (section 7 of the paper): what is seen that speaks for the target, and against it.

// The sentence under the heading; each name leads to its own map. Where there is hardly any evidence
// nothing is because of what is seen.
function inWords({ reasons, hardly }) {
  const part = (word, of) => (of.length ? [`${word}: `, ...of.flatMap(({ name }, i) => [i ? ', ' : '', make('button', { type: 'button', class: 'word', onclick: () => showReason(name) }, name)])] : []);
  const [because, despite] = [reasons.filter(({ share }) => share > 0 && !hardly), reasons.filter(({ share }) => share < 0)];
  return [...part('Because', because), because.length && despite.length ? '; ' : '', ...part(because.length ? 'despite' : 'Despite', despite)];
}

function showReason(name) {
  $('details.reasons').open = true;
  renderDig();
  const figure = [...$('.reasons .strip').children].find((each) => each.dataset.name === name);
  figure.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  figure.focus({ preventScroll: true });
}

let drawnReasons = null; // of which result, in which look: drawn again only if it is another

function renderReasons(result) {
  const made = JSON.stringify([result.key, look]);
  if (drawnReasons === made) return;
  drawnReasons = made;
  const said = result.reasons.reduce((sum, { share }) => sum + Math.max(0, share), 0);
  $('.reasons .rest').textContent = result.reasons.length
    ? `Together ${percentOf(said)} for ${result.target}. Shares are of all that speaks for it, or against it where that is more; the rest has no name.`
    : `Nothing that has a name is seen here and counts for ${result.target}, or against it.`;
  $('.reasons .strip').replaceChildren(...result.reasons.map(({ name, share, of_ten, map }) => {
    const speaks = share > 0 ? 'for it' : 'against it';
    return make('figure', { tabindex: -1, 'data-name': name },
      miniature(result, map, `Where ${name} speaks ${speaks}`, 220),
      make('figcaption', {}, make('b', {}, name), make('small', {}, `${percentOf(Math.abs(share))} ${speaks}. Of the 10 photos where it was strongest, ${of_ten} have it.`)));
  }));
}
