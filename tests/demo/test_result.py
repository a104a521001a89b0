"""A result in the page: how strong its map is, what made it, its rank; and its presentation."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image
from playwright.sync_api import Page, expect

import gradcam_core
from demo.examples import example_pictures
from tests.support import hub_cache
from tests.support.axe import serious
from tests.support.page import shows, state


@pytest.fixture
def page(visit: Callable[..., Page]) -> Page:
    return visit()


@pytest.fixture
def unusable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a model that is on this machine, but classifies no pictures."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    folder = hub_cache.snapshot(tmp_path, "texts/only")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return "texts/only"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is downloaded, and none can be."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")


def explain(page: Page, text: str) -> None:
    page.locator("#gc-target").fill(text)
    page.locator("#gc-target").press("Enter")


def example(page: Page, name: str) -> None:
    page.locator(f".examples [data-name='{name}']").click()


def off(page: Page, expected: Image.Image, figure: int = 1) -> float:
    """How many grey levels a large picture is off another one, on average."""
    canvas = page.locator(f".pictures figure:nth-of-type({figure}) canvas")
    url = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    seen = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")
    return float(np.abs(np.asarray(seen).astype(int) - np.asarray(expected)).mean())


def drawn(explanation: gradcam_core.Explanation, raw: np.ndarray, end: float) -> Image.Image:
    """A map over its picture, whose colours end at a value."""
    return gradcam_core.overlay(explanation.picture, explanation.at_picture_size(raw / end))


def open_options(page: Page) -> None:
    if page.locator(".options").get_attribute("open") is None:
        page.locator(".options summary").click()


# ---- How strong a map is ----


def test_a_faint_map_is_drawn_on_the_scale_of_the_first_choice(
    visit: Callable[..., Page],
) -> None:
    page = visit(query="?example=cat&target=zebra", target="zebra", heading="faint")
    zebra = gradcam_core.explain(example_pictures()["cat"], target="zebra")
    assert zebra.faint
    code = page.locator(".about-scale")
    faint = drawn(zebra, zebra.raw, zebra.first_choice_max)
    expect(code).to_have_attribute("data-code", "first_choice")
    assert off(page, faint) < 2
    page.locator("[data-view=spotlight]").click()
    lit = zebra.at_picture_size(zebra.raw / zebra.first_choice_max)[..., None]
    dark = Image.fromarray((np.asarray(zebra.picture) * lit).astype(np.uint8))
    assert off(page, dark) < 2
    page.locator("[data-view=counterfactual]").click()
    against = drawn(zebra, zebra.raw_counterfactual, zebra.first_choice_max)
    assert off(page, against) < 2
    expect(page.locator(".about-view")).to_have_attribute("data-little", "true")
    # Guided Grad-CAM: grey where there is hardly anything.
    page.locator("[data-view=guided-grad-cam]").click()
    expect(page.locator("[data-view=guided-grad-cam]")).not_to_have_class("not-computed")
    assert off(page, Image.new("RGB", zebra.picture.size, (127, 127, 127))) < 1
    page.locator("[data-view=grad-cam]").click()
    # Where little evidence is can still be seen, for this result.
    page.get_by_text("same scale for all").click()
    expect(code).to_have_attribute("data-code", "faint_alone")
    assert off(page, drawn(zebra, zebra.raw, zebra.raw.max())) < 2
    page.locator(".pick").first.click()
    shows(page, "Egyptian cat")
    explain(page, "zebra")
    shows(page, "zebra", "faint")
    expect(code).to_have_attribute("data-code", "first_choice")
    assert off(page, faint) < 2
    # The tile of a method is as pale as the map that it stands for.
    page.locator("details.compare > summary").click()
    page.get_by_role("button", name="Draw all layers").click()
    tile = page.locator(".layers .current canvas")
    reds = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    pixels = np.array(tile.evaluate(reds)).reshape(-1, 4).mean(0)[:3]
    assert np.abs(pixels - np.asarray(faint).reshape(-1, 3).mean(0)).max() < 6


def test_a_faint_answer_is_pale(visit: Callable[..., Page]) -> None:
    page = visit(query="?example=cat+and+motorcycle&tab=vqa", target="cat")
    explain(page, "umbrella")
    shows(page, "umbrella", "faint", question="What is this?")
    picture = example_pictures()["cat and motorcycle"]
    answer = gradcam_core.explain(picture, "vqa", "umbrella", "What is this?")
    assert off(page, drawn(answer, answer.raw, answer.first_choice_max)) < 2


def test_two_maps_share_the_scale_of_these_two(page: Page) -> None:
    picture = example_pictures()["cat and motorcycle"]
    moped, tabby, tiger = (
        gradcam_core.explain(picture, target=name) for name in ("moped", "tabby", "tiger cat")
    )
    end = max(tabby.raw.max(), tiger.raw.max())
    assert end < 0.9 * moped.raw.max()
    page.locator(".pick", has_text="tabby").click()
    shows(page, "tabby")
    page.get_by_role("button", name="Why not tiger cat?").click()
    shows(page, "tabby", "why_not", other="tiger cat")
    assert off(page, drawn(tabby, tabby.raw, end)) < 2
    assert off(page, drawn(tiger, tiger.raw, end), 2) < 2
    assert float(page.locator(".scale").get_attribute("data-max")) == pytest.approx(end, rel=1e-4)


def test_two_faint_maps_are_both_pale(visit: Callable[..., Page]) -> None:
    page = visit(query="?example=cat&target=zebra", target="zebra", heading="faint")
    explain(page, "boxer")
    shows(page, "boxer", "faint")
    page.locator("details.difference > summary").click()
    page.locator(".other-target").select_option("zebra")
    page.get_by_role("button", name="Show the difference").click()
    canvas = page.locator(".difference-map canvas")
    colours = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    pixels = np.array(canvas.evaluate(colours)).reshape(-1, 4)[:, :3]
    assert np.ptp(pixels, axis=1).max() < 40  # all but grey


# ---- What is not usual ----


@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.slow)])
def test_a_map_of_a_strip_is_shown_large_and_named_as_unusual(
    visit: Callable[..., Page], width: int
) -> None:
    page = visit(width)
    expect(page.locator(".unusual")).to_be_hidden()
    page.locator("details.compare > summary").click()
    page.get_by_role("button", name="Draw all layers").click()
    tile = page.locator(".layers .pick-map[data-title='blocks.3']")
    expect(page.get_by_role("button", name="Draw all layers")).to_be_disabled()  # they are
    tile.focus()
    tile.click()
    expect(page.locator(".technical")).to_have_attribute("data-layer", "blocks.3")
    state(page, "explained")
    expect(page.locator("#gradcam h2")).to_be_in_viewport()
    expect(page.locator(".unusual")).to_be_in_viewport()
    example(page, "coffee")
    expect(page.locator(".technical")).to_have_attribute("data-layer", "blocks.3")
    expect(page.locator(".unusual")).to_be_visible()  # for later photos, too
    page.locator(".unusual button").click()
    expect(page.locator(".technical")).to_have_attribute("data-layer", "conv_head")
    expect(page.locator(".unusual")).to_be_hidden()
    open_options(page)
    page.get_by_label("Method", exact=True).select_option("layercam")
    expect(page.locator(".unusual")).to_be_visible()
    page.locator(".unusual button").click()
    expect(page.locator(".technical")).to_have_attribute("data-method", "grad-cam")


def test_a_former_result_is_shown_large_on_a_phone(visit: Callable[..., Page]) -> None:
    page = visit(390)
    page.locator(".pick").nth(1).click()
    shows(page, "tabby")
    former = page.locator(".history button", has_text="moped")
    former.scroll_into_view_if_needed()
    former.click()
    shows(page, "moped")
    expect(page.locator(".frame").first).to_be_in_viewport(ratio=0.5)


# ---- A model that fails ----


def test_a_model_that_fails_is_left(page: Page, unusable: str, cat_file: Path) -> None:
    open_options(page)
    field = page.locator(".hub")
    for wrong in (unusable, "../folder", "no"):
        field.fill(wrong)
        field.press("Enter")
        expect(page.locator("#gradcam .problem")).to_be_visible()
        expect(page.locator(".stale")).to_have_attribute("data-code", "choice")
        shows(page, "moped")  # of the model before
        expect(page.get_by_label("Model", exact=True)).to_have_value("lite0")
        page.locator(".pick").first.click()
        expect(page.locator("#gradcam .problem")).to_be_hidden()
    page.locator("input[type=file]").set_input_files(cat_file)
    shows(page, "Egyptian cat")
    expect(page.locator("#gradcam .problem")).to_be_hidden()
    field.fill(unusable)
    field.press("Enter")
    expect(page.locator("#gradcam .problem")).to_be_visible()
    page.reload()
    shows(page, "Egyptian cat")
    expect(page.locator("#gradcam .problem")).to_be_hidden()


def test_after_a_reload_a_model_that_fails_is_left(page: Page, unusable: str) -> None:
    """The page was loaded again while the model was tried, or it is gone from the server."""
    open_options(page)
    page.get_by_label("Model", exact=True).select_option("lite2")
    expect(page.locator(".technical")).to_have_attribute("data-cells", "9x9")
    for kept, expected in (({"model": unusable}, "lite2"), ({"model": "vgg16"}, "lite2")):
        page.evaluate(
            """(kept) => sessionStorage.setItem('gradcam', JSON.stringify(
                { ...JSON.parse(sessionStorage.getItem('gradcam')), ...kept }))""",
            kept,
        )
        page.reload()
        expect(page.locator(".technical")).to_have_attribute("data-cells", "9x9")
        expect(page.get_by_label("Model", exact=True)).to_have_value(expected)
        assert page.locator("#gradcam .problem, .download-offer").filter(visible=True).count() == 1
        example(page, "coffee")
        shows(page, "espresso")
        expect(page.locator("#gradcam .problem")).to_be_hidden()
        expect(page.locator(".download-offer")).to_be_hidden()
        example(page, "cat and motorcycle")
        expect(page.locator(".result-heading")).not_to_have_attribute("data-target", "espresso")
        state(page, "explained")
    # What worked before is gone, too: then what the page begins with.
    page.evaluate(
        """(gone) => sessionStorage.setItem('gradcam', JSON.stringify(
            { ...JSON.parse(sessionStorage.getItem('gradcam')), model: gone,
              worked: { model: gone, layer: null, method: 'grad-cam' } }))""",
        unusable,
    )
    page.reload()
    shows(page, "moped")
    expect(page.get_by_label("Model", exact=True)).to_have_value("lite0")


def first_choice(example: str, tab: str) -> str:
    question = "What is this?" if tab == "VQA" else None
    picture = example_pictures()[example]
    return gradcam_core.explain(picture, tab.lower(), question=question).target


@pytest.mark.usefixtures("offline")
def test_an_offer_to_download_holds_for_one_photo(page: Page) -> None:
    open_options(page)
    photo = "cat and motorcycle"
    for tab, model, other in (
        ("Classification", "vgg16", "coffee"),
        ("VQA", "blip-vqa-base", "lion"),
        ("Captioning", "blip-base", "cat"),
    ):
        page.get_by_role("tab", name=tab).click()
        target = first_choice(photo, tab)
        shows(page, target)
        page.get_by_label("Model", exact=True).select_option(model)
        expect(page.locator(".download-offer")).to_be_visible()
        shows(page, target)
        photo = other
        example(page, photo)
        shows(page, first_choice(photo, tab))
        expect(page.locator(".download-offer")).to_be_hidden()
    page.get_by_role("tab", name="Classification").click()
    target = first_choice(photo, "Classification")
    shows(page, target)
    page.get_by_label("Model", exact=True).select_option("vgg16")
    for button in ("Download and explain", "Try again"):
        page.get_by_role("button", name=button).click()
        expect(page.locator("#gradcam .problem")).to_be_visible()
        shows(page, target)
        expect(page.get_by_label("Model", exact=True)).to_have_value("lite0")


@pytest.mark.usefixtures("offline")
def test_a_second_model_that_fails_is_left(page: Page) -> None:
    open_options(page)
    second = page.get_by_label("Compare with another model")
    second.select_option("vgg16")
    expect(page.locator(".download-offer")).to_be_visible()
    expect(second).to_have_value("")
    page.get_by_role("button", name="Download and explain").click()
    expect(page.locator("#gradcam .problem")).to_be_visible()
    example(page, "coffee")
    shows(page, "espresso")
    expect(page.locator("#gradcam .problem")).to_be_hidden()
    expect(page.locator(".download-offer")).to_be_hidden()
    second.select_option("lite2")
    captions = page.locator("figcaption:visible")
    expect(captions).to_have_count(2)
    second.select_option("vgg16")
    expect(page.locator(".download-offer")).to_be_visible()
    expect(second).to_have_value("lite2")  # what worked
    expect(captions.nth(1)).to_contain_text("Lite2")


def test_a_method_that_does_not_apply_at_a_layer_is_left(page: Page) -> None:
    open_options(page)
    page.get_by_label("Target layer").select_option("blocks.3")
    expect(page.locator(".technical")).to_have_attribute("data-layer", "blocks.3")
    page.get_by_label("Method", exact=True).select_option("cam")
    expect(page.locator("#gradcam .problem")).to_be_visible()
    expect(page.get_by_label("Method", exact=True)).to_have_value("grad-cam")
    example(page, "coffee")
    shows(page, "espresso")


@pytest.mark.slow
def test_a_lost_connection_is_not_held_against_a_model(page: Page) -> None:
    open_options(page)
    page.route("**/app_id*", lambda route: route.abort())  # else Gradio reloads the page by itself
    page.context.set_offline(True)
    page.get_by_label("Model", exact=True).select_option("lite2")
    state(page, "lost")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".technical")).to_have_attribute("data-cells", "9x9")


def test_the_camera_goes_on_with_the_model_that_worked(page: Page, unusable: str) -> None:
    page.get_by_role("button", name="Camera", exact=True).click()
    page.get_by_role("button", name="Explain live").click()
    expect(page.locator(".live .rate")).not_to_be_empty()
    open_options(page)
    page.locator(".hub").fill(unusable)
    page.locator(".hub").press("Enter")
    expect(page.locator("#gradcam .problem")).to_be_visible()
    expect(page.get_by_label("Model", exact=True)).to_have_value("lite0")
    expect(page.locator(".live .rate")).to_be_visible()
    page.get_by_role("button", name="Close the camera").click()
    shows(page, "moped")


# ---- Ranks ----


def test_the_explained_class_has_its_rank(visit: Callable[..., Page]) -> None:
    picture = example_pictures()["cat"]
    zebra = gradcam_core.explain(picture, target="zebra")
    page = visit(390, "?example=cat&target=zebra", "zebra", "faint")
    row = page.locator(f".rankings .first li[data-rank='{zebra.rank}']")
    expect(row).to_have_attribute("data-text", "zebra")
    expect(row.locator(".pick")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".summary")).to_contain_text(str(zebra.rank))
    page.locator(".pick").first.click()
    shows(page, "Egyptian cat")
    expect(page.locator(".rankings .first li")).to_have_count(5)
    expect(page.locator(".rankings .second")).to_be_hidden()
    # Two models: both rankings, each with the place of what is explained.
    explain(page, "zebra")
    shows(page, "zebra", "faint")
    open_options(page)
    page.get_by_label("Compare with another model").select_option("lite2")
    other = gradcam_core.explain(picture, target="zebra", model="lite2")
    rows = page.locator(".rankings .second li")
    expect(rows).to_have_count(6)
    texts = rows.evaluate_all("rows => rows.map((row) => row.dataset.text)")
    assert texts == [*(each.text for each in other.predictions), "zebra"]
    expect(rows.last).to_have_attribute("data-rank", str(other.rank))
    left, right = (
        page.locator(f".rankings .{each} li").first.get_by_role("button").bounding_box()
        for each in ("first", "second")
    )
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    rows.nth(1).get_by_role("button").click()
    expect(page.locator(".result-heading")).to_have_attribute("data-target", texts[1])
    for theme in ("light", "dark"):
        assert serious(page, theme) == []


# ---- Presentation ----

WITHOUT = "() => { delete Element.prototype.requestFullscreen; }"
REFUSED = "() => { Element.prototype.requestFullscreen = () => Promise.reject(new TypeError()); }"


@pytest.mark.parametrize("fullscreen", ["", WITHOUT, pytest.param(REFUSED, marks=pytest.mark.slow)])
def test_a_result_is_presented(visit: Callable[..., Page], fullscreen: str) -> None:
    page = visit(390 if fullscreen == WITHOUT else 1280)
    page.get_by_role("button", name="Why not tabby?").click()
    shows(page, "moped", "why_not", other="tabby")
    start = page.locator(".fullscreen")
    if fullscreen:
        page.evaluate(fullscreen)
    start.scroll_into_view_if_needed()
    scrolled = page.evaluate("window.scrollY")
    start.click()
    stage = page.get_by_role("dialog")
    leave = stage.get_by_role("button", name="Exit")
    expect(leave).to_be_focused()
    if not fullscreen:
        page.wait_for_function("document.fullscreenElement")
    for part in ("h2", ".summary", ".scale canvas", "figcaption >> nth=0", ".frame >> nth=0"):
        expect(stage.locator(part)).to_be_in_viewport()
    expect(leave).to_be_in_viewport()
    expect(stage.locator(".close")).to_be_hidden()  # it would end the comparison
    expect(stage.locator(".open-made")).to_be_hidden()  # its steps have no room here
    larger = "each => parseFloat(getComputedStyle(each).fontSize)"
    assert stage.locator("h2").evaluate(larger) > 20
    box = stage.bounding_box()
    assert (box["x"], box["width"]) == (0, page.viewport_size["width"])
    for theme in ("light", "dark"):
        assert serious(page, theme) == [], theme
    leave.click()
    expect(stage).to_be_hidden()
    assert not page.evaluate("!!document.fullscreenElement")
    expect(start).to_be_focused()
    assert page.evaluate("window.scrollY") == scrolled
    shows(page, "moped", "why_not", other="tabby")


@pytest.mark.parametrize("fullscreen", ["", WITHOUT])
def test_keys_step_through_a_presentation(page: Page, fullscreen: str) -> None:
    if fullscreen:
        page.evaluate(fullscreen)
    start, stage = page.locator(".fullscreen"), page.locator(".presentation")
    start.press("Enter")
    expect(stage.locator(".exit")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".result-heading")).to_have_attribute("data-target", "tabby")
    page.keyboard.press("PageUp")
    expect(page.locator(".result-heading")).to_have_attribute("data-target", "moped")
    page.keyboard.press("ArrowLeft")  # it is the first
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[data-view=guided]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-view=guided]")).not_to_have_class("not-computed")
    page.keyboard.press("ArrowUp")
    expect(page.locator("[data-view=grad-cam]")).to_have_attribute("aria-pressed", "true")
    # A click on the picture moves the handle; the arrow keys stay with the classes.
    page.locator(".frame").first.click(position={"x": 60, "y": 60})
    expect(page.locator(".handle").first).not_to_have_attribute("aria-valuenow", "0")
    page.locator("[data-key=ArrowRight]").click()
    expect(page.locator(".result-heading")).to_have_attribute("data-target", "tabby")
    if fullscreen:
        page.keyboard.press("Escape")
    else:  # Escape is the browser's
        page.evaluate("document.exitFullscreen()")
    expect(stage).to_be_hidden()
    expect(start).to_be_focused()
    assert page.locator(".work > .result").count() == 1


def test_words_are_presented(page: Page) -> None:
    page.get_by_role("tab", name="Captioning").click()
    expect(page.locator(".words button")).not_to_have_count(0)
    page.locator("[data-view=counterfactual]").click()
    page.locator(".fullscreen").click()
    expect(page.get_by_role("button", name="Exit")).to_be_focused()
    caption = page.locator(".result-heading").get_attribute("data-target")
    first, second, *_ = caption.split()
    for word in (first, second):
        page.keyboard.press("ArrowRight")
        shows(page, caption, "word", word=word)
    page.keyboard.press("ArrowDown")  # of a word there are two views
    expect(page.locator("[data-view=spotlight]")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    shows(page, caption)
