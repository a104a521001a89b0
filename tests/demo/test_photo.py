"""Where a photo may come from: an address, the camera, what was there before a reload; keyboard."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.page import shows, state

SITE = "https://photos.invalid"


@pytest.fixture
def page(visit: Callable[..., Page]) -> Page:
    return visit()


def test_an_image_address_is_fetched_by_the_browser(
    browser: Browser, address: str, cat_file: Path
) -> None:
    page = browser.new_page()
    asked: list[str] = []

    def site(route: Route) -> None:
        asked.append(route.request.url)
        assert "referer" not in route.request.headers
        anybody = {"Access-Control-Allow-Origin": "*"}
        if route.request.url.endswith("closed.png"):
            route.abort()  # what the page hears of where it is not allowed, or where nobody is
        elif route.request.url.endswith(".html"):
            route.fulfill(headers=anybody, content_type="text/html", body="<p>a page</p>")
        elif route.request.url.endswith("gone.png"):
            route.fulfill(status=404, headers=anybody)
        else:
            route.fulfill(headers=anybody, content_type="image/png", body=cat_file.read_bytes())

    page.route(f"{SITE}/**", site)
    page.goto(address)
    shows(page, "lion")
    page.get_by_role("button", name="Web address").click()
    for path, code in (
        ("closed.png", "not_fetched"),
        ("page.html", "web_page"),
        ("gone.png", "not_found"),
    ):
        page.keyboard.type(f"{SITE}/{path}")
        page.keyboard.press("Enter")
        state(page, code)
        page.get_by_label("Address of a picture").fill("")
    page.keyboard.type("http://photos.invalid/cat.png")
    page.keyboard.press("Enter")
    state(page, "not_https")
    page.get_by_label("Address of a picture").fill(f"{SITE}/cat.png")
    page.keyboard.press("Enter")
    shows(page, "Egyptian cat")
    expect(page.locator("#gradcam .problem")).to_be_hidden()
    expect(page.get_by_role("button", name="Web address")).to_have_attribute(
        "aria-expanded", "false"
    )
    page.close()
    assert [url.removeprefix(SITE) for url in asked] == [
        *("/closed.png", "/page.html", "/gone.png", "/cat.png")
    ]


def test_in_live_mode_the_newest_frame_is_explained(page: Page) -> None:
    """The fake camera of Chromium shows a clock and a turning disc."""
    assert "camera=(self)" in httpx.get(page.url).headers["permissions-policy"]
    page.get_by_role("button", name="Camera", exact=True).click()
    page.get_by_role("button", name="Explain live").click()
    expect(page.locator(".rate")).to_contain_text(re.compile(r"^\d+\.\d "))
    sent: list[str] = []
    page.on("request", lambda request: '"frame"' in (request.post_data or "") and sent.append(""))
    page.evaluate("""document.addEventListener('gradcam-answer', ({ detail }) => {
        window.answered = (window.answered ?? 0) + (detail.lane === 'live' && !!detail.answer);
    })""")
    seen = {page.locator(".frame canvas").first.evaluate("each => each.toDataURL()")}
    for _ in range(3):  # what is drawn changes by itself
        page.wait_for_function(
            "was => !was.includes(document.querySelector('.frame canvas').toDataURL())", arg=[*seen]
        )
        seen.add(page.locator(".frame canvas").first.evaluate("each => each.toDataURL()"))
        on_the_way = len(sent)
        assert on_the_way <= page.evaluate("window.answered ?? 0") + 1
    assert sent
    page.locator("#gc-target").fill("spyder")
    page.locator("#gc-target").press("Enter")
    page.locator(".suggestions").get_by_role("button", name="barn spider").click()
    heading = page.locator(".result-heading")
    expect(heading).to_have_attribute("data-target", "barn spider")
    page.get_by_role("button", name="Keep this photo").click()
    expect(page.locator("video")).to_be_hidden()
    expect(page.locator(".downloads")).to_be_visible()  # it is an ordinary photo now
    expect(heading).to_have_attribute("data-target", "barn spider")


def test_a_reload_or_a_restart_of_the_server_loses_no_photo(page: Page, cat_file: Path) -> None:
    """Gradio reloads the page by itself when a lost server is there again."""
    page.locator("input[type=file]").set_input_files(cat_file)
    shows(page, "Egyptian cat")
    page.locator(".pick", has_text="tiger cat").click()
    shows(page, "tiger cat")
    page.reload()
    shows(page, "tiger cat")
    # The server has thrown its copy away: it is sent again.
    for upload in Path(os.environ["GRADIO_TEMP_DIR"]).rglob(cat_file.name):
        upload.unlink()
    page.locator(".pick", has_text="tabby").click()
    shows(page, "tabby")
    expect(page.locator("#gradcam .problem")).to_be_hidden()


def test_by_keyboard_from_end_to_end(page: Page, cat_file: Path) -> None:
    def tabs_to(selector: str) -> int:
        """Press Tab until that has the focus; say how often."""
        for pressed in range(1, 30):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return pressed
        raise AssertionError(selector)

    page.on("filechooser", lambda chooser: chooser.set_files(cat_file))
    page.wait_for_timeout(500)  # the browser is told to ask the test, but nobody waits for that
    tabs_to("input[type=file]")
    page.keyboard.press("Enter")
    shows(page, "Egyptian cat")
    assert tabs_to("#gc-target") <= 5
    page.keyboard.type("tabby")
    page.keyboard.press("Enter")
    shows(page, "tabby")
    tabs_to(".views button")
    page.keyboard.press("ArrowRight")  # within the row of views
    page.keyboard.press("Enter")
    expect(page.locator("[data-view=guided]")).to_have_attribute("aria-pressed", "true")
    tabs_to(".why-not")
    page.keyboard.press("Enter")
    shows(page, "tabby", "why_not", other="Egyptian cat")
    assert page.evaluate("document.activeElement.matches('.why-not')")  # one goes on from there
    tabs_to("[data-format=png]")
    with page.expect_download(timeout=180_000) as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "grad-cam-tabby-egyptian-cat.png"
    assert page.evaluate("document.activeElement.matches('[data-format=png]')")
    for _ in range(40):  # and back up
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.matches('[role=tab]')"):
            break
    page.keyboard.press("ArrowRight")
    expect(page.locator(".words button")).not_to_have_count(0)
    expect(page.get_by_role("tab", name="Captioning")).to_be_focused()
    tabs_to(".examples button")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("[data-name=flower]")).to_have_attribute("aria-pressed", "true")
    state(page, "explained")
