"""Figures to order: what is chosen in the page's Download section is in the file."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from pydantic import ValidationError

from demo.handlers import SaveRequest
from tests.support.page import shows

SVG = "{http://www.w3.org/2000/svg}"


def saved(page: Page, kind: str) -> Path:
    with page.expect_download(timeout=180_000) as download:
        page.locator(f"[data-format={kind}]").click()
    return Path(download.value.path())


def pictures(page: Page) -> int:
    """Save a figure as SVG and count its pictures; colour bars are small ones of one row."""
    images = ElementTree.parse(saved(page, "svg")).iter(f"{SVG}image")
    return sum(float(image.get("height", "0")) > 20 for image in images)


@pytest.mark.slow
def test_panels_rows_and_size_are_as_chosen(visit: Callable[..., Page]) -> None:
    page = visit()
    page.locator(".figure-choice summary").click()
    panels = page.locator(".figure-panels input")
    # There are no words here, and all other panels are in the figure unless one is left out.
    expect(page.locator(".figure-panels [value=words]")).to_be_disabled()
    assert pictures(page) == 5
    for name in ("guided_backprop", "guided_grad_cam"):
        page.locator(f".figure-panels [value={name}]").uncheck()
    assert pictures(page) == 3
    page.locator(".figure-rows").select_option("likely")
    assert pictures(page) == 3 * 5
    page.locator(".figure-rows").select_option("models")
    assert pictures(page) == 3 * 2
    page.locator(".figure-rows").select_option("shown")
    page.locator(".figure-size").select_option("slide")
    assert Image.open(saved(page, "png")).size == pytest.approx((1920, 1080), abs=2)
    # The words of a caption, which a class does not have.
    page.get_by_role("tab", name="Captioning").click()
    page.locator(".words button").first.wait_for()
    page.locator(".figure-panels [value=words]").check()
    page.locator(".figure-panels [value=counterfactual]").uncheck()
    # The photo, the map of the caption and those of its words.
    assert pictures(page) == 1 + page.locator(".words button:has(canvas)").count()
    # The choice is that of the visitor, in all tabs.
    page.get_by_role("tab", name="Classification").click()
    shows(page, "moped")
    expect(page.locator(".figure-panels input:checked")).to_have_count(2)
    expect(panels).to_have_count(6)
    # Without any panel there would be no figure.
    for name in ("picture", "grad_cam"):
        page.locator(f".figure-panels [value={name}]").click()
    expect(page.locator(".figure-panels input:checked")).to_have_count(2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"panels": ""},
        {"panels": "app.py"},
        {"panels": "picture  grad_cam"},
        {"panels": ["picture"]},
        {"panels": 3},
        {"rows": "all"},
        {"rows": 10**6},
        {"size": "poster"},
        {"size": 10**6},
    ],
)
def test_a_figure_is_ordered_in_known_terms_only(wrong: dict[str, object]) -> None:
    sent = {"id": 1, "task": "classification", "example": "cat", "format": "png"}
    sent |= {"colour_map": "jet", "opacity": 0.5}
    right = SaveRequest.model_validate(sent | {"panels": "picture words", "rows": "likely"})
    assert right.panels == ["picture", "words"]
    assert SaveRequest.model_validate(sent | {"panels": None}).panels is None
    with pytest.raises(ValidationError):
        SaveRequest.model_validate(sent | wrong)
