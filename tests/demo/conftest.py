"""The page in a real browser, for all tests of it; and a network that is quick to run."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import transformers
from huggingface_hub import constants
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from torch import nn

from gradcam_core.models.classifiers import Classifier
from tests.support import hub_cache
from tests.support.page import CHROMIUM_OPTIONS, shows

WAIT = 45_000  # milliseconds
PAIR = "?example=cat+and+motorcycle"  # two things that are nearly as likely


@pytest.fixture(scope="module")
def browser(chromium: str, lite0: Classifier) -> Iterator[Browser]:
    """A browser; the model is loaded, so that no page has to wait for that."""
    expect.set_options(timeout=WAIT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                *CHROMIUM_OPTIONS,
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for all pages, so that Gradio's own scripts are fetched only once.

    What the page keeps it keeps for one page of the browser: `sessionStorage`.
    """
    context = browser.new_context()
    context.set_default_timeout(WAIT)
    yield context
    context.close()


@pytest.fixture(scope="module")
def new_page(context: BrowserContext, address: str) -> Callable[[], Page]:
    """Give an empty page, in the browser's one process for all of them.

    A page that another one opens needs no process of its own, in which Gradio's scripts would be
    compiled anew: it opens in half the time.
    """
    opener = context.new_page()
    opener.goto(f"{address}robots.txt")

    def opened() -> Page:
        with opener.expect_popup() as popup:
            opener.evaluate("() => void window.open()")
        return popup.value

    return opened


@pytest.fixture
def visit(
    context: BrowserContext, new_page: Callable[[], Page], address: str
) -> Iterator[Callable[..., Page]]:
    """Open the page; at the end, there may be no error and no request to another site."""
    pages: list[Page] = []
    requested: list[str] = []
    errors: list[str] = []

    def opened(
        width: int = 1280, query: str = PAIR, target: str | None = "moped", heading: str = "why"
    ) -> Page:
        page = new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 900})
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address + query)
        if target is not None:
            shows(page, target, heading)
        return page

    yield opened
    for page in pages:
        page.close()
    context.set_offline(False)
    assert errors == []
    assert [url for url in requested if not url.startswith((address, "data:", "blob:"))] == []


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a small network, of which hundreds of passes take a second."""
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], id2label={0: "boxer", 1: "tabby", 2: "moped"}
    )
    network = transformers.ResNetForImageClassification(config)
    nn.init.normal_(network.classifier[1].weight)  # else all classes are nearly as likely
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = hub_cache.snapshot(tmp_path, "small/resnet")
    network.save_pretrained(snapshot)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 128}).save_pretrained(snapshot)
    return "small/resnet"
