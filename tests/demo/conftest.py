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


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for all pages, so that Gradio's own scripts are fetched and compiled only once.

    What the page keeps it keeps for one page of the browser: `sessionStorage`.
    """
    context = browser.new_context()
    context.set_default_timeout(WAIT)
    yield context
    context.close()


@pytest.fixture
def visit(context: BrowserContext, address: str) -> Iterator[Callable[..., Page]]:
    """Open the page; at the end, nothing may have gone wrong or been asked for elsewhere."""
    pages: list[Page] = []
    requested: list[str] = []
    errors: list[str] = []

    def opened(width: int = 1280, query: str = "", said: str = "Why moped?") -> Page:
        page = context.new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 900})
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address + query)
        expect(page.locator("#gradcam h2")).to_have_text(said)
        return page

    yield opened
    for page in pages:
        page.close()
    context.set_offline(False)
    assert errors == []
    assert [url for url in requested if not url.startswith((address, "data:", "blob:"))] == []
