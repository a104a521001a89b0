"""Details of the page that visitors stumbled over."""

import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

import gradcam_core
from demo.examples import QUESTIONS, example_pictures
from tests.demo.conftest import WAIT
from tests.support.page import shows, state

BLANK = "data:text/html,<title>somewhere else</title>"


@pytest.fixture
def page(visit: Callable[..., Page]) -> Page:
    return visit()


@pytest.fixture
def fresh(browser: Browser) -> Iterator[BrowserContext]:
    """Another visitor's browser, which may have permissions of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(WAIT)
    yield context
    context.close()


def explain(page: Page, text: str) -> None:
    page.locator("#gc-target").fill(text)
    page.locator("#gc-target").press("Enter")


# ---- What is asked ----


def test_the_first_example_has_a_clear_first_choice_and_a_second_thing(
    visit: Callable[..., Page],
) -> None:
    first, *others = visit(query="", target="lion").locator(".pick .value").all_text_contents()
    assert int(first.split()[0]) > 40
    assert all(float(other.split()[0]) < 10 for other in others)
    picture = next(iter(example_pictures().values()))
    lion, cup = gradcam_core.explain(picture, target=["lion", "espresso"])
    left, right = (slice(0, 320), slice(320, 640))
    assert lion.heatmap[:, left].mean() > 5 * lion.heatmap[:, right].mean()
    assert cup.heatmap[:, right].mean() > 3 * cup.heatmap[:, left].mean()


def test_each_colour_of_the_four_flowers_has_a_map_on_its_own_flower() -> None:
    picture, question = example_pictures()["four flowers"], "What color is the flower?"
    assert question in QUESTIONS["four flowers"]
    colours = ["red", "yellow", "blue", "white"]
    explained = gradcam_core.explain(picture, "vqa", question=question, target=colours)
    assert set(colours) <= {each.text for each in explained[0].predictions}
    for number, each in enumerate(explained):
        quarters = each.heatmap.reshape(2, 320, 2, 320).mean(axis=(1, 3)).ravel()
        others = np.delete(quarters, number)
        assert quarters[number] > 1.5 * others.max(), each.target


def test_a_name_that_can_only_mean_one_class_is_explained(page: Page) -> None:
    field, options = page.locator("#gc-target"), page.locator("#gc-options li")
    field.click()
    field.press_sequentially("labr")
    expect(options).to_have_count(1)
    field.press("Enter")
    heading = page.locator(".result-heading")
    expect(heading).to_have_attribute("data-target", "Labrador retriever")
    expect(page.locator("#gradcam .problem")).to_be_hidden()
    explain(page, "dalmat")  # typed so fast that no suggestion was there yet
    expect(heading).to_have_attribute("data-target", "dalmatian")
    explain(page, "boxr")  # misspelt: the page asks
    state(page, "server")
    shows(page, "dalmatian", heading.get_attribute("data-heading") or "")
    page.get_by_role("tab", name="VQA").click()
    shows(page, "cat", question="What is this?")
    explain(page, "motorc")
    expect(heading).to_have_attribute("data-target", "motorcycle")


def test_the_first_choice_is_never_asked_why_not(page: Page) -> None:
    strong = page.locator("#gradcam h2 strong")
    page.get_by_role("button", name="Why not tabby?").click()
    shows(page, "moped", "why_not", other="tabby")
    expect(strong).to_have_text(["moped", "tabby"])
    page.locator(".pick", has_text="tabby").click()
    shows(page, "tabby")
    for likelier in ("moped", "Egyptian cat"):  # the first choice, and one that is not
        row = page.locator("#gradcam ol li", has=page.locator(f".name:text-is('{likelier}')"))
        row.locator(".why-not").click()
        shows(page, "tabby", "why_not", other=likelier)
        expected = ["moped", "tabby"] if likelier == "moped" else ["tabby", likelier]
        expect(strong).to_have_text(expected)


def test_captions_come_in_an_order_that_can_be_followed(page: Page) -> None:
    page.get_by_role("tab", name="Captioning").click()
    explained = gradcam_core.explain(example_pictures()["cat and motorcycle"], "captioning")
    shows(page, explained.target)
    first, *others = explained.predictions
    others.sort(key=lambda each: each.probability, reverse=True)
    expect(page.locator(".pick .name")).to_have_text([first.text, *(each.text for each in others)])
    # Beside them is how likely they are, in words that need no logarithm.
    for text in page.locator(".pick .value, .words .value").all_text_contents():
        assert re.fullmatch(r"\d+(\.\d)? %|1 in [\d,]+|under 1 in a billion", text), text


# ---- What is shown ----


def test_a_box_is_drawn_only_where_it_says_something(page: Page, cat_file: Path) -> None:
    page.locator(".locate summary").click()
    text = page.locator(".box-text")
    expect(text).to_have_attribute("data-code", "box")
    page.locator(".threshold").fill("0.05")
    explain(page, "school bus")
    shows(page, "school bus", "faint")
    expect(text).to_have_attribute("data-code", "faint")
    expect(text).to_have_attribute("data-box", "")
    page.locator("input[type=file]").set_input_files(cat_file)  # it fills its photo
    shows(page, "Egyptian cat")
    expect(text).to_have_attribute("data-code", "everywhere")
    expect(text).to_have_attribute("data-box", "")
    plain = page.locator(".locate canvas").evaluate("each => each.toDataURL()")
    page.locator(".threshold").fill("0.6")
    expect(text).to_have_attribute("data-code", "box")
    assert page.locator(".locate canvas").evaluate("each => each.toDataURL()") != plain


def test_colours_are_offered_where_they_change_something(page: Page) -> None:
    colours = page.locator("select.colour")
    for view, visible in (
        ("counterfactual", True),
        ("spotlight", False),
        ("guided", False),
        ("guided-grad-cam", False),
        ("grad-cam", True),
    ):
        page.locator(f"[data-view={view}]").click()
        expect(page.locator(f"[data-view={view}]")).to_have_attribute("aria-pressed", "true")
        expect(colours).to_be_visible(visible=visible)


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_nothing_important_is_hidden(visit: Callable[..., Page], width: int) -> None:
    page = visit(width)
    page.set_viewport_size({"width": width, "height": 800})
    expect(page.locator(".top p")).to_be_in_viewport(ratio=1)
    page.get_by_role("tab", name="VQA").click()
    shows(page, "cat", question="What is this?")
    expect(page.get_by_label("Question", exact=True)).to_be_in_viewport(ratio=1)
    expect(page.locator(".pictures .frame").first).to_be_in_viewport(ratio=1)
    page.locator(".reading summary").click()
    sizes = page.locator(".figure2 text").evaluate_all(
        "texts => texts.filter((t) => t.textContent).map((t) => t.getBoundingClientRect().height)"
    )
    assert min(sizes) > 8
    boxes = page.locator(".figure2 text").evaluate_all(
        "texts => texts.map((t) => t.getBoundingClientRect()).map((r) => [r.left, r.right])"
    )
    assert all(left >= 0 and right <= width for left, right in boxes)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_all_sections_look_alike(page: Page) -> None:
    style = """each => { const { borderTopColor, borderRadius, backgroundColor, paddingLeft } =
        getComputedStyle(each); return [borderTopColor, borderRadius, backgroundColor, paddingLeft,
        getComputedStyle(each.firstElementChild).fontWeight, each.getBoundingClientRect().left] }"""
    last = page.locator("details.reading")
    assert last.evaluate(style) == page.locator("details.evaluate").evaluate(style)
    last.locator("summary").click()
    expect(last.locator("svg")).to_be_visible()
    expect(page.locator("footer")).not_to_contain_text("Settings")


@pytest.mark.parametrize("format_", ["A4", "Letter"])
def test_a_result_is_printed_on_one_page(page: Page, format_: str) -> None:
    for name in ("cat and motorcycle", "rocket", "photographer"):  # wide, portrait, square
        page.locator(f"[data-name='{name}']").first.click()
        expect(page.locator(f".examples [data-name='{name}']")).to_have_attribute(
            "aria-pressed", "true"
        )
        state(page, "explained")
        pdf = page.pdf(format=format_)
        assert len(re.findall(rb"/Type /Page\b", pdf)) == 1, name


# ---- Photos ----


def photo(folder: Path, name: str, size: tuple[int, int], **options: Any) -> Path:
    """A file of more than a megabyte: coarse noise, dark in the left half."""
    noise = np.random.default_rng(0).integers(100, 256, (size[1] // 4, size[0] // 4, 3))
    noise[:, : size[0] // 8] //= 4
    picture = Image.fromarray(noise.astype(np.uint8)).resize(size)
    picture.save(folder / name, **options)
    assert (folder / name).stat().st_size > 1_000_000
    return folder / name


def uploaded(name: str) -> Path:
    """The server's only file of that name."""
    (path,) = Path(os.environ["GRADIO_TEMP_DIR"]).rglob(name)
    return path


def test_large_photos_are_shrunk_before_they_are_sent(page: Page, tmp_path: Path) -> None:
    rotated = Image.Exif()
    rotated[0x0112] = 6  # the left of the file is the top of the photo
    taken = photo(tmp_path, "taken.jpg", (4000, 3000), quality=95, exif=rotated)
    # Browsers cannot decode the first, and would cut the second to 8 bits.
    tiff = photo(tmp_path, "scan.tif", (2400, 600))
    grey = np.random.default_rng(0).integers(0, 4096, (600, 2400), dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    small = tmp_path / "small.jpg"
    Image.open(taken).resize((640, 480)).save(small)
    for number, file in enumerate((taken, tiff, tmp_path / "deep.png", small), 2):
        page.locator("input[type=file]").set_input_files(file)
        expect(page.locator(".history button")).to_have_count(number)
        state(page, "explained")
    for file in (tiff, tmp_path / "deep.png", small):
        assert uploaded(file.name).read_bytes() == file.read_bytes()
    sent = gradcam_core.open_image(uploaded("taken.jpg"))
    assert uploaded("taken.jpg").stat().st_size < taken.stat().st_size / 2
    assert sent.size == (1536, 2048)
    pixels = np.asarray(sent.convert("L"), float)
    assert pixels[:1000].mean() < pixels[1048:].mean() / 2
    expected = np.asarray(gradcam_core.open_image(taken).resize(sent.size).convert("L"), float)
    assert np.abs(pixels - expected).mean() < 5


def test_an_upload_goes_on_in_another_tab(page: Page, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (250, 250, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")  # 190 kB
    line = page.context.new_cdp_session(page)
    rates = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": 100_000}
    line.send("Network.emulateNetworkConditions", {"offline": False, **rates})
    sent: list[str] = []
    page.on("request", lambda request: "upload" in request.url and sent.append(request.url))
    page.locator("input[type=file]").set_input_files(tmp_path / "noise.png")
    state(page, "uploading")
    page.get_by_role("tab", name="VQA").click()
    state(page, "uploading")
    panel = page.locator("#gc-panel")
    expect(panel).to_have_attribute("data-progress", re.compile(r"0\.[1-9]|1"))
    heading = page.locator(".result-heading")
    expect(heading).to_have_attribute("data-question", "What is this?")
    state(page, "explained")
    page.get_by_role("tab", name="Classification").click()
    state(page, "explained")
    expect(page.locator(".history button")).to_have_count(3)
    assert len([url for url in sent if url.endswith("upload")]) == 1


def test_an_upload_that_fails_leaves_no_tab_waiting(page: Page, cat_file: Path) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/gradio_api/upload", hold)
    page.locator("input[type=file]").set_input_files(cat_file)
    state(page, "uploading")
    page.get_by_role("tab", name="VQA").click()
    state(page, "uploading")
    held[0].abort()
    state(page, "not_uploaded")
    page.get_by_role("tab", name="Classification").click()
    shows(page, "moped")
    state(page, "explained")


def test_the_row_for_an_address_closes_with_another_photo(page: Page, cat_file: Path) -> None:
    button, row = page.get_by_role("button", name="Web address"), page.locator(".address")

    def opened() -> None:
        button.click()
        expect(page.get_by_label("Address of a picture")).to_be_focused()
        expect(button).to_have_attribute("aria-expanded", "true")

    def closed() -> None:
        expect(row).to_be_hidden()
        expect(button).to_have_attribute("aria-expanded", "false")

    opened()
    page.locator("input[type=file]").set_input_files(cat_file)
    shows(page, "Egyptian cat")
    closed()
    opened()
    page.locator(".examples [data-name=coffee]").click()
    shows(page, "espresso")
    closed()
    opened()
    page.locator(".history button", has_text="moped").click()
    shows(page, "moped")
    closed()


def test_offline_one_example_is_highlighted(page: Page) -> None:
    page.route("**/app_id*", lambda route: route.abort())  # else Gradio reloads the page by itself
    page.context.set_offline(True)
    page.locator(".examples [data-name=coffee]").click()  # the pointer stays over it
    state(page, "lost")
    colours = page.locator(".examples button").evaluate_all(
        "buttons => buttons.map((each) => getComputedStyle(each).borderTopColor)"
    )
    chosen = page.locator(".examples [aria-pressed=true]")
    expect(chosen).to_have_attribute("data-name", "cat and motorcycle")
    accent = chosen.evaluate("each => getComputedStyle(each).borderTopColor")
    assert colours.count(accent) == 1


def test_a_reload_keeps_what_was_seen_in_this_visit(page: Page, cat_file: Path) -> None:
    history = page.locator(".history button")
    page.locator(".pick", has_text="tabby").click()
    shows(page, "tabby")
    page.get_by_role("tab", name="Captioning").click()
    expect(page.locator(".words button")).not_to_have_count(0)
    page.get_by_role("tab", name="Classification").click()
    page.locator("input[type=file]").set_input_files(cat_file)
    shows(page, "Egyptian cat")
    page.locator(".pick", has_text="tiger cat").click()
    shows(page, "tiger cat")
    expect(history).to_have_count(5)
    seen = history.all_text_contents()
    picture = page.locator(".frame canvas").first
    page.reload()
    shows(page, "tiger cat")
    expect(history).to_have_text(seen)
    drawn = {}
    for number, target in ((3, "tabby"), (1, "Egyptian cat")):
        history.nth(number).click()
        shows(page, target)
        drawn[target] = picture.evaluate("each => each.toDataURL()")
    assert len(set(drawn.values())) == 2
    page.locator("[data-view=guided]").click()  # what was not kept is computed again
    expect(page.locator("[data-view=guided]")).to_have_attribute("aria-pressed", "true")
    state(page, "explained")
    page.goto(BLANK)  # also by way of another page
    page.go_back()
    expect(history).to_have_count(5)


# ---- To take along ----


def test_ways_to_give_a_photo_are_named(page: Page) -> None:
    expect(page.locator(".upload")).to_contain_text(re.compile("drop.*paste", re.DOTALL))


@pytest.mark.slow
def test_picture_and_link_are_copied(fresh: BrowserContext, address: str, cat_file: Path) -> None:
    fresh.grant_permissions(["clipboard-read", "clipboard-write"])
    page = fresh.new_page()
    page.goto(f"{address}?example=cat+and+motorcycle&target=tabby")
    shows(page, "tabby")
    copied = page.locator(".copied")
    page.get_by_role("button", name="Copy link").click()
    expect(copied).to_have_attribute("data-code", "link")
    link = page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Why not Egyptian cat?").click()
    shows(page, "tabby", "why_not", other="Egyptian cat")
    expect(copied).to_be_empty()
    page.get_by_role("button", name="Copy picture").click()
    expect(copied).to_have_attribute("data-code", "picture")
    png = page.evaluate("""async () => {
        const [item] = await navigator.clipboard.read();
        return [...new Uint8Array(await (await item.getType('image/png')).arrayBuffer())];
    }""")
    with Image.open(io.BytesIO(bytes(png))) as picture:
        assert picture.height == 320
        assert picture.width > 2 * 640  # both
    page.locator("input[type=file]").set_input_files(cat_file)
    shows(page, "Egyptian cat")
    expect(page.get_by_role("button", name="Copy link")).to_be_hidden()  # it has no address
    other = fresh.new_page()
    other.goto(link)
    shows(other, "tabby")


def test_a_browser_that_does_not_copy_is_answered(fresh: BrowserContext, address: str) -> None:
    fresh.add_init_script("delete Navigator.prototype.clipboard; delete window.ClipboardItem;")
    page = fresh.new_page()
    page.goto(address)
    shows(page, "lion")
    for name, code in (("Copy picture", "no_picture"), ("Copy link", "no_link")):
        page.get_by_role("button", name=name).click()
        expect(page.locator(".copied")).to_have_attribute("data-code", code)
        expect(page.locator(".copied")).not_to_be_empty()
