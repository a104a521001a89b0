"""The interactive page to download shows what the visit has shown, without a server."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.page import shows


def _pixels(canvas: Locator) -> np.ndarray:
    url = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    png = base64.b64decode(url.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_visit_to_take_along(
    visit: Callable[..., Page], browser: Browser, cat_file: Path, tmp_path: Path
) -> None:
    page = visit()
    page.locator("input[type=file]").set_input_files(cat_file)
    shows(page, "Egyptian cat")
    large = "figure:not([hidden]) canvas"
    seen = {"Egyptian cat": _pixels(page.locator(large).first)}
    page.locator("#gc-target").fill("tabby")
    page.locator("#gc-target").press("Enter")
    shows(page, "tabby")
    page.locator("[data-view=guided-grad-cam]").click()
    expect(page.locator("[data-view=guided-grad-cam]")).not_to_have_class("not-computed")
    guided = _pixels(page.locator(large).first)
    page.locator("[data-view=grad-cam]").click()
    page.locator("select.colour").select_option("viridis")
    seen["tabby"] = _pixels(page.locator(large).first)
    page.get_by_role("tab", name="Captioning").click()
    expect(page.locator(".words button")).not_to_have_count(0)
    caption = page.locator(".result-heading").get_attribute("data-target")
    page.locator(".words button").nth(2).click()
    word = _pixels(page.locator(large).first)

    with page.expect_download() as download:
        page.get_by_role("button", name="Interactive page").click()
    assert download.value.suggested_filename.endswith(".html")
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.stat().st_size < 1_000_000

    alone = browser.new_context(offline=True)
    mine = alone.new_page()
    mine.goto(file.as_uri())
    canvas = mine.locator(".frame canvas")
    expect(mine.locator(".result-heading")).to_have_attribute("data-target", caption)
    mine.locator(".words button").nth(2).click()
    assert np.abs(_pixels(canvas) - word).max() == 0
    mine.locator(".lists button").nth(1).click()
    mine.locator("[data-text=tabby]").click()
    assert np.abs(_pixels(canvas) - seen["tabby"]).max() == 0
    mine.locator("[data-view=guided-grad-cam]").click()
    assert np.abs(_pixels(canvas) - guided).max() <= 1
    mine.locator("[data-text='Egyptian cat']").click()
    mine.locator(".colours select").select_option("jet")
    assert np.abs(_pixels(canvas) - seen["Egyptian cat"]).max() == 0
    assert mine.locator(".lists button").count() == 2  # of this photo only
    alone.close()
