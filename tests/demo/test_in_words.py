"""The reasons in words: a sentence under the result, and each name's own map."""

from collections.abc import Callable

import numpy as np
from playwright.sync_api import Page, expect

import gradcam_core
from demo.examples import example_pictures

# How much redder than blue the drawn map is, on a grid of 7 x 7: the colour map goes from blue
# to red.
REDNESS = """canvas => {
  const side = 7;
  const small = Object.assign(document.createElement('canvas'), {width: side, height: side});
  const context = small.getContext('2d');
  context.drawImage(canvas, 0, 0, side, side);
  const {data} = context.getImageData(0, 0, side, side);
  return Array.from({length: side * side}, (_, i) => data[4 * i] - data[4 * i + 2]);
}"""


def test_a_name_leads_to_its_map_and_says_how_good_it_is(visit: Callable[..., Page]) -> None:
    explanation = gradcam_core.explain(example_pictures()["cat and motorcycle"], target="moped")
    concept = explanation.concepts[0]
    page = visit()
    sentence = page.locator("#gradcam .concept-sentence")
    names = sentence.get_by_role("button")
    expect(names).to_have_text([each.name for each in explanation.concepts])
    for each in explanation.concepts:
        expect(sentence).to_contain_text(f"{each.name} {100 * abs(each.share):.0f} %")
    expect(page.locator("details.concepts")).not_to_have_attribute("open", "")
    sentence.get_by_role("button", name=concept.name, exact=True).click()
    figure = page.locator(f"details.concepts figure[data-name='{concept.name}']")
    expect(figure).to_be_in_viewport()
    expect(figure).to_be_focused()
    expect(figure).to_contain_text(f"{100 * concept.share:.0f} %")
    expect(figure).to_contain_text(f"{concept.top10_correct} have it")
    red = np.array(figure.locator("canvas").evaluate(REDNESS))
    assert np.corrcoef(red, concept.raw.ravel())[0, 1] > 0.5


def test_networks_without_concepts_show_none(visit: Callable[..., Page]) -> None:
    page = visit()
    page.get_by_role("tab", name="Captioning").click()
    expect(page.locator(".words button")).not_to_have_count(0)
    expect(page.locator("#gradcam .concept-sentence")).to_be_hidden()
    expect(page.locator("details.concepts")).to_be_hidden()
