"""The page in a real browser, for all tests of it."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from gradcam_core.models.classifiers import Classifier

WAIT = 45_000  # milliseconds


@pytest.fixture(scope="module")
def browser(chromium: str, lite0: Classifier) -> Iterator[Browser]:
    """A browser; the model is loaded, so that no page has to wait for that."""
    expect.set_options(timeout=WAIT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Open the page; at the end, nothing may have gone wrong or been asked for elsewhere."""
    contexts: list[BrowserContext] = []
    requested: list[str] = []
    errors: list[str] = []

    def opened(width: int = 1280, query: str = "", said: str = "Why moped?") -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address + query)
        expect(page.locator("#gradcam h2")).to_have_text(said)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []
    assert [url for url in requested if not url.startswith((address, "data:", "blob:"))] == []
