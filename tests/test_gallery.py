"""The code of the gallery runs, and each page that it makes draws a map."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.support.page import CHROMIUM_OPTIONS

_DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.slow
def test_every_page_of_the_gallery_draws(chromium: str, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("gallery", _DOCS / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    markdown, pages = module.gallery((_DOCS / "gallery.md").read_text("utf-8"))
    assert len(pages) >= 12
    assert re.findall(r'<iframe src="([^"]+)"', markdown) == list(pages)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        page = browser.new_context(offline=True).new_page()
        for name, html in pages.items():
            assert len(html) < 1_000_000, name
            data = json.loads(re.search(r'id="gradcam-data">(.*?)</script>', html, re.DOTALL)[1])
            assert data["explanations"][0]["raw"]["max"] > 0, name
            file = tmp_path / name
            file.write_text(html, encoding="utf-8")
            page.goto(file.as_uri())
            heading = page.locator(".result-heading")
            expect(heading).to_have_attribute("data-heading", "why", timeout=45_000)
        browser.close()
