"""The page in a real browser."""

import base64
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

import gradcam_core
from demo.examples import example_pictures
from demo.page import address_of
from gradcam_core.image.geometry import enlarge
from tests.support.axe import serious
from tests.support.page import shows, state


@pytest.fixture
def page(visit: Callable[..., Page]) -> Page:
    return visit()


def upload(page: Page, file: Path) -> None:
    page.locator("input[type=file]").set_input_files(file)


def pixels(page: Page, selector: str = "figure:not([hidden]) canvas") -> np.ndarray:
    """What a canvas shows, (H, W, 3)."""
    url = page.locator(selector).first.evaluate("canvas => canvas.toDataURL('image/png')")
    png = base64.b64decode(url.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def difference(page: Page, picture: Image.Image) -> float:
    """How many grey levels the large view is off a picture, on average."""
    seen = pixels(page)
    assert seen.shape[:2] == (picture.height, picture.width)
    return float(np.abs(seen - np.asarray(picture.convert("RGB"))).mean())


def sent_requests(page: Page) -> list[str]:
    """Collect the requests that the page sends from now on."""
    urls: list[str] = []
    page.on("request", lambda request: request.method == "POST" and urls.append(request.url))
    return urls


def explain(page: Page, text: str) -> None:
    page.locator("#gc-target").fill(text)
    page.locator("#gc-target").press("Enter")


@pytest.mark.parametrize("width", [1280, 390])
def test_a_visitor_sees_an_explanation_at_once(visit: Callable[..., Page], width: int) -> None:
    page = visit(width)
    frame = page.locator(".frame").first.bounding_box()
    assert frame["y"] + frame["height"] < 900  # without scrolling
    assert len({pixels(page, f"[data-view={v}] canvas").sum() for v in VIEWS}) == len(VIEWS)
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out
    assert page.locator("h1").count() == 1


VIEWS = ("grad-cam", "counterfactual", "spotlight")
SHAPES = {"3:1": (720, 240), "16:9": (640, 360), "4:3": (640, 480), "1:1": (400, 400)}
SHAPES |= {"3:4": (480, 640), "1:3": (240, 720)}


@pytest.mark.parametrize("width", [1280, 390])
def test_photo_and_map_are_the_same_pixels_at_every_shape(
    visit: Callable[..., Page], width: int, tmp_path: Path
) -> None:
    page = visit(width)
    for name, (w, h) in SHAPES.items():
        ramp = np.linspace(0, 255, w)[None, :, None] * np.ones((h, 1, 3))
        ramp[..., 1] = np.linspace(0, 255, h)[:, None]
        file = tmp_path / f"{name.replace(':', '-')}.png"
        Image.fromarray(ramp.astype(np.uint8)).save(file)
        visited = page.locator(".history button").count()
        upload(page, file)
        expect(page.locator(".history button")).to_have_count(max(2, visited + 1))
        for full in (False, True):
            if full:
                page.get_by_role("button", name="Fullscreen").click()
                page.wait_for_function("document.fullscreenElement")
            box = page.locator(".frame").first.bounding_box()
            canvas = page.locator(".frame canvas").first.bounding_box()
            assert canvas == pytest.approx(box), name
            assert canvas["width"] / canvas["height"] == pytest.approx(w / h, rel=0.02), name
            assert 0 <= canvas["x"] <= canvas["x"] + canvas["width"] <= width
            assert canvas["height"] <= 900
            if full:
                page.evaluate("document.exitFullscreen()")
                page.wait_for_function("!document.fullscreenElement")
        # On the left of the handle the whole photo, as it is; on the right the map over it.
        handle = page.locator(".handle").first
        handle.press("End")
        assert difference(page, Image.open(file)) < 2, name
        handle.press("Home")
        assert difference(page, Image.open(file)) > 10, name


def test_the_browser_draws_what_the_core_draws(page: Page, cat_file: Path) -> None:
    upload(page, cat_file)
    shows(page, "Egyptian cat")
    explain(page, "tabby")
    shows(page, "tabby")
    expected = gradcam_core.explain(cat_file, target="tabby", guided=True)
    drawn = expected.panels("viridis", 0.8)
    page.locator("select.colour").select_option("viridis")
    page.locator(".opacity input").fill("0.8")
    assert difference(page, drawn["grad_cam"]) < 3
    page.locator("[data-view=guided]").click()
    expect(page.locator("[data-view=guided]")).not_to_have_class("not-computed")
    assert difference(page, drawn["guided_backprop"]) < 3
    page.locator("[data-view=guided-grad-cam]").click()
    assert difference(page, drawn["guided_grad_cam"]) < 3
    page.locator("[data-view=spotlight]").click()
    lit = np.asarray(expected.picture) * expected.heatmap[..., None]
    assert np.abs(pixels(page) - lit).mean() < 3

    explain(page, "school bus")
    shows(page, "school bus", "faint")
    expected = gradcam_core.explain(cat_file, target="school bus")
    page.locator("[data-view=counterfactual]").click()
    drawn = expected.panels("viridis", 0.8, expected.first_choice_max)  # it is faint
    assert difference(page, drawn["counterfactual"]) < 3


def test_a_part_of_the_photo_is_mapped_where_it_is(visit: Callable[..., Page]) -> None:
    """The browser's `enlarge` against the core's, with a box inside, outside and across."""
    page = visit()
    rng = np.random.default_rng(0)
    values = rng.random((5, 3), dtype=np.float32)
    for box in ((0, 0, 1, 1), (0.1, 0, 0.9, 1), (-0.25, 0, 1.25, 1), (0.5, 0.25, 1.5, 0.75)):
        argument = {"h": 5, "w": 3, "values": values.ravel().tolist()}
        seen = page.evaluate(
            """async ([module, map, box]) => {
                const { enlarge } = await import(new URL(module, document.baseURI));
                return [...enlarge(map, 40, 30, box)];
            }""",
            [address_of("gradcam_core/viewer/maps.js"), argument, list(box)],
        )
        expected = enlarge(values, (30, 40), box)
        assert np.array(seen).reshape(30, 40) == pytest.approx(expected, abs=1e-5), box


def test_changes_of_the_look_send_no_request(page: Page) -> None:
    page.get_by_role("tab", name="Captioning").click()
    expect(page.locator(".words button")).not_to_have_count(0)
    urls = sent_requests(page)
    seen = [pixels(page)]

    def changed() -> None:
        seen.append(pixels(page))
        assert not np.array_equal(seen[-1], seen[-2])

    page.locator(".opacity input").fill("0.9")
    changed()
    page.locator("select.colour").select_option("inferno")
    changed()
    page.locator(".words button").nth(2).click()
    changed()
    page.get_by_text("same scale for all").click()
    changed()
    page.locator("[data-view=spotlight]").click()
    changed()
    handle = page.get_by_role("slider", name="Photo on the left, explanation on the right")
    handle.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expect(handle).to_have_attribute("aria-valuenow", "50")
    changed()
    assert urls == []


def test_one_photo_for_all_three_tabs(page: Page, cat_file: Path) -> None:
    assert page.locator("input[type=file]").count() == 1
    upload(page, cat_file)
    shows(page, "Egyptian cat")
    urls = sent_requests(page)
    page.get_by_role("tab", name="Captioning").click()
    expected = gradcam_core.explain(cat_file, "captioning")
    shows(page, expected.target)
    page.get_by_role("tab", name="VQA").click()
    shows(page, "cat", question="What is this?")
    expect(page.get_by_role("tabpanel", name="VQA")).to_be_visible()
    assert not [url for url in urls if "upload" in url]
    page.get_by_role("tab", name="VQA").press("ArrowRight")  # a tab that was left is as it was
    shows(page, "Egyptian cat")


def test_a_note_says_why_likelier_captions_may_come_later(page: Page) -> None:
    note, examples = page.locator(".predictions .note"), ("cat and motorcycle", "lion and coffee")
    expect(note).to_be_hidden()  # classes come likeliest first
    page.get_by_role("tab", name="Captioning").click()
    for example, likelier in zip(examples, (False, True), strict=True):
        first, *others = gradcam_core.explain(example_pictures()[example], "captioning").predictions
        assert any(other.probability > first.probability for other in others) == likelier
        page.locator(f".examples [data-name='{example}']").click()
        shows(page, first.text)
        expect(note).to_be_visible(visible=likelier)


def test_a_click_on_a_word_changes_all_that_is_under_its_heading(page: Page) -> None:
    page.get_by_role("tab", name="Captioning").click()
    expect(page.locator(".words button")).not_to_have_count(0)
    explain(page, "A cat looks at the motorcycle!")
    shows(page, "a cat looks at the motorcycle")
    assert page.locator(".words button").count() == 7  # the whole, and six words
    expected = gradcam_core.explain(
        example_pictures()["cat and motorcycle"], "captioning", "a cat looks at the motorcycle"
    )
    for index, word in ((1, "cat"), (5, "motorcycle")):
        before = [pixels(page, f"[data-view={view}] canvas") for view in ("grad-cam", "spotlight")]
        page.locator(".words").get_by_role("button", name=word).click()
        shows(page, "a cat looks at the motorcycle", "word", word=word)
        map_of_word = gradcam_core.overlay(expected.picture, expected.word_heatmap(index))
        assert difference(page, map_of_word) < 3
        after = [pixels(page, f"[data-view={view}] canvas") for view in ("grad-cam", "spotlight")]
        assert not any(map(np.array_equal, before, after))
        # Of one word there is nothing else to be seen.
        expect(page.locator("[data-view=counterfactual]")).to_be_disabled()
    page.locator(".words").get_by_role("button", name="all").click()
    shows(page, "a cat looks at the motorcycle")
    page.locator("h2").get_by_role("button", name="looks").click()  # a word of the heading
    shows(page, "a cat looks at the motorcycle", "word", word="looks")
    page.locator(".predictions .pick").nth(1).click()
    heading = page.locator(".result-heading")
    expect(heading).not_to_have_attribute("data-target", "a cat looks at the motorcycle")


def test_errors_stay_until_the_next_try_and_lose_nothing(
    page: Page, tmp_path: Path, cat_file: Path
) -> None:
    before = pixels(page)
    explain(page, "boxr")
    error = page.locator("#gradcam .problem")
    expect(error).to_contain_text("boxr")
    state(page, "server")
    shows(page, "moped")
    expect(page.locator(".summary")).not_to_contain_text("boxr")
    assert np.array_equal(pixels(page), before)
    error.get_by_role("button", name="boxer", exact=True).click()  # did you mean it?
    shows(page, "boxer", "faint")
    boxer = gradcam_core.explain(example_pictures()["cat and motorcycle"], target="boxer")
    named = page.locator(".concept-sentence button")  # none that speaks for it
    expect(named).to_have_count(sum(each.share < 0 for each in boxer.concepts))
    page.locator(".pick").first.click()
    shows(page, "moped")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photo")
    upload(page, broken)
    expect(error).to_contain_text("broken.png")
    expect(page.locator(".stale")).to_have_attribute("data-code", "photo")
    expect(page.locator(".stale")).to_be_visible()
    assert np.array_equal(pixels(page), before)
    upload(page, cat_file)
    shows(page, "Egyptian cat")
    expect(error).to_be_hidden()
    expect(page.locator(".stale")).to_be_hidden()


def test_another_photo_takes_one_step(page: Page, cat_file: Path) -> None:
    page.on("filechooser", lambda chooser: chooser.set_files(cat_file))
    page.wait_for_timeout(500)  # the browser is told to ask the test, but nobody waits for that
    page.get_by_label("Choose a photo").focus()
    page.keyboard.press("Enter")
    shows(page, "Egyptian cat")
    data = base64.b64encode(example_pictures()["coffee"].read_bytes()).decode()
    give = """([data, type]) => {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], 'coffee.jpg', { type: 'image/jpeg' }));
        const Kind = type === 'drop' ? DragEvent : ClipboardEvent;
        const more = type === 'drop' ? { dataTransfer: transfer } : { clipboardData: transfer };
        document.body.dispatchEvent(new Kind(type, { bubbles: true, cancelable: true, ...more }));
    }"""
    page.evaluate("document.dispatchEvent(new DragEvent('dragover', { cancelable: true }))")
    expect(page.locator(".dropping .upload")).to_be_visible()
    page.evaluate(give, [data, "drop"])
    expect(page.locator(".dropping")).to_have_count(0)
    shows(page, "espresso")
    page.locator("[data-name='cat and motorcycle']").first.click()
    shows(page, "moped")
    page.evaluate(give, [data, "paste"])
    shows(page, "espresso")
    page.get_by_role("button", name="Camera").click()
    page.get_by_role("button", name="Take the photo").click()
    expect(page.locator(".result-heading")).not_to_have_attribute("data-target", "espresso")
    state(page, "explained")
    expect(page.locator("#gradcam .problem")).to_be_hidden()


def test_while_a_photo_is_explained_the_old_result_is_not_shown(page: Page, cat_file: Path) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/queue/join*", hold)
    page.locator(".examples [data-name]").nth(3).click()
    state(page, "explaining")
    expect(page.locator(".pictures")).to_have_class("pictures busy")
    upload(page, cat_file)
    expect(page.locator(".predictions")).to_be_hidden()
    # The new photo is there before its explanation is.
    page.wait_for_function("document.querySelector('.frame canvas').width === 451")
    state(page, "explaining")
    for route in held:
        route.continue_()
    page.unroute("**/queue/join*")
    shows(page, "Egyptian cat")
    expect(page.locator(".pictures")).to_have_class("pictures")


def test_the_progress_of_an_upload_is_shown(page: Page, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (250, 250, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")  # 190 kB
    line = page.context.new_cdp_session(page)
    rates = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    line.send("Network.emulateNetworkConditions", {"offline": False, **rates})
    page.evaluate("""() => {
        window.seen = [];
        const panel = document.querySelector('#gc-panel');
        const { dataset } = panel;
        new MutationObserver(() => dataset.progress && seen.push(Number(dataset.progress)))
            .observe(panel, { attributeFilter: ['data-progress'] });
    }""")
    upload(page, tmp_path / "noise.png")
    expect(page.locator(".history button")).to_have_count(2)  # it is explained
    shares = page.evaluate("seen")
    assert shares == sorted(shares)
    assert any(0 < share < 1 for share in shares)


def test_a_lost_server_is_reported(page: Page) -> None:
    page.route("**/app_id*", lambda route: route.abort())  # else Gradio reloads the page by itself
    page.context.set_offline(True)
    page.locator(".pick").nth(1).click()
    state(page, "lost")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    shows(page, "tabby")  # the request that was lost
    expect(page.locator("#gradcam .problem")).to_be_hidden()


def test_everything_is_downloaded_as_it_is_shown(page: Page) -> None:
    page.locator("select.colour").select_option("viridis")
    page.locator(".opacity input").fill("0.9")
    with page.expect_download(timeout=180_000) as download:
        page.get_by_role("button", name="Everything (ZIP)").click()
    assert download.value.suggested_filename == "grad-cam-moped.zip"
    with zipfile.ZipFile(Path(download.value.path())) as archive:
        assert {"raw.npy", "guided_grad_cam.png"} <= set(archive.namelist())
        assert json.loads(archive.read("explanation.json"))["target"] == "moped"
        saved = np.asarray(Image.open(io.BytesIO(archive.read("grad_cam.png")))).astype(int)
    assert saved.shape == (320, 640, 3)
    assert np.abs(saved - pixels(page)).mean() < 3
    for name, begins in (("Figure: PDF", b"%PDF"), ("SVG", b"<?xml"), ("PNG", b"\x89PNG")):
        with page.expect_download(timeout=180_000) as download:
            page.get_by_role("button", name=name).click()
        assert Path(download.value.path()).read_bytes().startswith(begins)


def test_an_empty_counterfactual_is_reported(page: Page, cat_file: Path) -> None:
    upload(page, cat_file)
    shows(page, "Egyptian cat")
    assert not gradcam_core.explain(cat_file).raw_counterfactual.any()
    page.locator("[data-view=counterfactual]").click()
    expect(page.locator(".about-view")).to_have_attribute("data-empty", "true")
    assert difference(page, Image.open(cat_file)) < 3  # the photo, not a blue picture
    explain(page, "school bus")
    expect(page.locator(".about-view")).to_have_attribute("data-empty", "false")


def test_axe_finds_nothing_serious(page: Page) -> None:
    page.get_by_role("button", name="Web address").click()
    page.get_by_role("button", name="Camera", exact=True).click()
    for tab in ("Classification", "Captioning", "VQA"):
        page.get_by_role("tab", name=tab).click()
        state(page, "explained")
        if not page.locator(".options").get_attribute("open"):
            page.locator(".options summary").click()
        page.locator(".why-not:visible").first.click()
        expect(page.locator("figcaption:visible")).to_have_count(2)
        explain(page, "boxr")
        expect(page.locator("#gradcam .problem")).to_be_visible()
        for theme in ("light", "dark"):
            assert serious(page, theme) == [], (tab, theme)


def test_a_typed_target_is_explained(page: Page) -> None:
    field = page.locator("#gc-target")
    field.click()
    field.press_sequentially("cat")
    expect(page.locator("#gc-options li").first).to_contain_text("tabby")  # likeliest in the photo
    field.press("Enter")
    shows(page, "tabby")
    field.click()  # what is typed now replaces what stands there
    field.press_sequentially("boxer")
    expect(field).to_have_value("boxer")
    expect(page.locator("#gc-options li")).to_have_count(1)
    field.press("Escape")
    expect(page.locator("#gc-options")).to_be_hidden()
    field.click()
    field.fill("scooter")
    expect(page.locator("#gc-options li").first).to_contain_text("motor scooter")
    field.press("ArrowDown")
    field.press("Enter")
    shows(page, "motor scooter")


def test_formats_that_browsers_cannot_show_are_shown(
    page: Page, cat_file: Path, tmp_path: Path
) -> None:
    for suffix in ("tif", "ppm"):
        file = tmp_path / f"cat.{suffix}"
        Image.open(cat_file).convert("RGB").resize((300, 200)).save(file)
        upload(page, file)
        shows(page, "Egyptian cat")
        page.locator(".handle").first.press("End")
        assert difference(page, Image.open(file)) < 3
        page.locator("[data-name='cat and motorcycle']").first.click()
        shows(page, "moped")


def test_why_this_and_why_not_that(page: Page) -> None:
    page.get_by_role("button", name="Why not tabby?").click()
    shows(page, "moped", "why_not", other="tabby")
    captions = page.locator("figcaption:visible")
    assert [text.partition(":")[0] for text in captions.all_inner_texts()] == ["moped", "tabby"]
    # On one scale, unless it is said otherwise: the weaker one is paler.
    expected = gradcam_core.explain(example_pictures()["cat and motorcycle"], target="tabby")
    highest = max(expected.raw.max(), gradcam_core.explain(expected.picture).raw.max())
    drawn = gradcam_core.overlay(expected.picture, expected.heatmap * expected.raw.max() / highest)
    seen = pixels(page, "figure:nth-of-type(2) canvas")
    assert np.abs(seen - np.asarray(drawn)).mean() < 3
    expect(page.locator(".about-scale")).to_have_attribute("data-code", "targets_same")
    page.get_by_text("same scale for all").click()
    expect(page.locator(".about-scale")).to_have_attribute("data-code", "apart")
    drawn = gradcam_core.overlay(expected.picture, expected.heatmap)
    seen = pixels(page, "figure:nth-of-type(2) canvas")
    assert np.abs(seen - np.asarray(drawn)).mean() < 3
    # What is shown is what is downloaded.
    with page.expect_download(timeout=180_000) as download:
        page.get_by_role("button", name="Everything (ZIP)").click()
    with zipfile.ZipFile(Path(download.value.path())) as archive:
        for folder in ("1-moped", "2-tabby"):
            numbers = json.loads(archive.read(f"{folder}/explanation.json"))
            assert numbers["target"] == folder[2:]
    page.get_by_role("button", name="Show only the first").click()
    expect(captions).to_have_count(0)
    shows(page, "moped")


def test_two_models_side_by_side(page: Page) -> None:
    page.locator(".pick", has_text="tabby").click()
    shows(page, "tabby")
    page.locator(".options summary").click()
    page.get_by_label("Compare with another model").select_option("lite2")
    captions = page.locator("figcaption:visible")
    expect(captions).to_have_count(2)
    expect(captions.nth(1)).to_contain_text("EfficientNet-Lite2")
    expect(captions.nth(1)).to_contain_text("Egyptian cat")
    page.locator(".pick", has_text="tiger cat").click()  # both follow
    expect(captions.nth(1)).to_contain_text("tiger cat")
    page.get_by_label("Model", exact=True).select_option("lite2")
    expect(page.locator(".technical")).to_have_attribute("data-cells", "9x9")
    page.get_by_label("Target layer").select_option("blocks.3")
    expect(page.locator(".technical")).to_have_attribute("data-layer", "blocks.3")
    page.get_by_label("Method", exact=True).select_option("layercam")
    expect(page.locator(".options summary")).to_contain_text("LayerCAM")


def test_a_download_is_announced_and_its_failure_reported(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    page.locator(".options summary").click()
    page.get_by_label("Model", exact=True).select_option("vgg16")
    expect(page.locator(".download-offer")).to_contain_text(re.compile("528 MB.*BSD-3-Clause"))
    shows(page, "moped")  # nothing happened yet
    page.get_by_role("button", name="Download and explain").click()
    state(page, "server")
    expect(page.locator(".problem")).to_be_visible()
    expect(page.locator(".download-offer")).to_be_hidden()
    page.get_by_label("Model", exact=True).select_option("lite2")
    expect(page.locator(".technical")).to_have_attribute("data-cells", "9x9")


def test_typed_markup_is_shown_as_text(page: Page) -> None:
    """The fixture fails the test if the page asks for these addresses."""
    page.get_by_role("tab", name="VQA").click()
    shows(page, "cat", question="What is this?")
    for typed in ("![is it](http://x.invalid/y)", "<img src='http://x.invalid/z'>"):
        page.get_by_label("Question", exact=True).fill(typed)
        page.get_by_label("Question", exact=True).press("Enter")
        expect(page.locator("#gradcam h2")).to_contain_text(typed)
    expect(page.locator(".summary")).not_to_have_attribute("data-unknown", "")


def test_questions_and_another_answer(page: Page) -> None:
    page.get_by_role("tab", name="VQA").click()
    shows(page, "cat", question="What is this?")
    page.locator(".example-questions").get_by_text("What animal is this?").click()
    shows(page, "cat", question="What animal is this?")
    explain(page, "dog")
    expect(page.locator(".result-heading")).to_have_attribute("data-target", "dog")
    # To another question the answer to the last one need not fit.
    page.get_by_label("Question", exact=True).fill("Is there a cat?")
    page.get_by_label("Question", exact=True).press("Enter")
    shows(page, "yes", question="Is there a cat?")
    # However sure it is: it has not understood the question.
    page.get_by_label("Question", exact=True).fill("Is there a unicorn?")
    page.get_by_label("Question", exact=True).press("Enter")
    expect(page.locator(".summary")).to_have_attribute("data-unknown", "unicorn")
    expect(page.locator(".summary")).to_have_attribute("data-guess", "true")
    expect(page.locator(".summary")).to_contain_text(re.compile(r"[5-9]\d %"))


def test_the_drawing_highlights_what_was_used(page: Page) -> None:
    page.get_by_text("How to read the pictures").click()

    def lit() -> set[str]:
        names = page.locator(".figure2 g.lit[class*=how-]").evaluate_all(
            "groups => groups.map((group) => group.classList[0])"
        )
        return {name.removeprefix("how-") for name in names} - {"score-box", "heat"}

    score = gradcam_core.explain(example_pictures()["cat and motorcycle"]).score
    expect(page.locator(".how-score")).to_have_text(f"score y = {score:.2f}")
    expect(page.locator(".how-map")).to_have_text("conv_head, 7 × 7 cells")
    expect(page.locator(".how-classification .how-output")).to_have_text("“moped”")
    assert lit() == {"classification", "gradient"}
    page.locator("[data-view=guided]").click()
    expect(page.locator(".figure2 g.how-pixels")).to_have_class(re.compile("lit"))
    assert lit() == {"classification", "gradient", "pixels", "product"}
    page.locator(".options summary").click()
    page.get_by_label("Method", exact=True).select_option("cam")
    expect(page.locator(".how-path")).to_contain_text("by CAM")
    assert "gradient" not in lit()
    page.get_by_role("tab", name="VQA").click()
    expect(page.locator(".how-vqa .how-output")).to_have_text("“cat”")
    expect(page.locator(".how-classification .how-output")).to_have_text("a class")
    assert {"vqa", "classification"} & lit() == {"vqa"}


def test_a_guess_is_marked(visit: Callable[..., Page]) -> None:
    question = "What is the man holding?"
    guessed = gradcam_core.explain(example_pictures()["photographer"], "vqa", question=question)
    assert guessed.unsure
    query = f"?example=photographer&tab=vqa&question={question}"
    page = visit(query=query, target=guessed.target)
    expect(page.locator(".summary")).to_have_attribute("data-guess", "true")
    page.get_by_label("Question", exact=True).fill("What is this?")
    page.get_by_label("Question", exact=True).press("Enter")
    shows(page, "tripod", question="What is this?")
    expect(page.locator(".summary")).to_have_attribute("data-guess", "false")


def test_an_address_restores_what_was_shown(visit: Callable[..., Page]) -> None:
    page = visit()
    page.locator(".examples [data-name]", has=page.get_by_alt_text("coffee", exact=True)).click()
    shows(page, "espresso")
    page.locator(".pick").nth(1).click()
    heading = page.locator(".result-heading")
    expect(heading).not_to_have_attribute("data-target", "espresso")
    expect(page.locator(".pick").nth(1)).to_have_attribute("aria-pressed", "true")
    target = heading.get_attribute("data-target")
    query = page.evaluate("location.search")
    visit(query=query, target=target)
    # And what was seen in this visit can be gone back to.
    page.locator(".history button", has_text="moped").click()
    shows(page, "moped")


def test_the_back_button_restores_earlier_results(page: Page) -> None:
    page.locator(".pick").nth(1).click()
    shows(page, "tabby")
    page.get_by_role("button", name="Why moped, and why not tabby?").click()  # no step
    shows(page, "tabby", "why_not", other="moped")
    page.get_by_role("tab", name="VQA").click()
    shows(page, "cat", question="What is this?")
    page.go_back()
    shows(page, "tabby")
    page.go_back()
    shows(page, "moped")
    assert "target=moped" in page.url
    page.go_forward()
    shows(page, "tabby")


def test_results_are_visible_in_print_and_in_forced_colours(page: Page) -> None:
    page.emulate_media(media="print")
    expect(page.locator(".frame").first).to_be_visible()
    expect(page.locator(".predictions")).to_be_visible()
    for control in (".photos", ".query", ".options", ".downloads", ".why-not"):
        expect(page.locator(control).last).to_be_hidden()
    page.emulate_media(media="screen", forced_colors="active")
    seen = "each => getComputedStyle(each).outlineStyle"
    assert page.locator(".pick").first.evaluate(seen) == "solid"
    assert page.locator(".pick").last.evaluate(seen) == "none"
    bar, row = (
        page.locator(name).first.evaluate("each => getComputedStyle(each).backgroundColor")
        for name in (".pick .bar", ".pick")
    )
    assert bar != row


def test_the_model_is_described(page: Page) -> None:
    capabilities = page.locator(".capabilities")
    for tab, name, vocabulary in (
        ("Classification", "lite0", "1,000 classes"),
        ("Captioning", "lite0-caption", "3,112 words"),
        ("VQA", "lite0-vqa", "1,554 answers"),
    ):
        page.get_by_role("tab", name=tab).click()
        expect(capabilities).to_contain_text(vocabulary)
        expect(capabilities).to_contain_text(gradcam_core.describe(name)[0].limits)
    page.locator(".options summary").click()
    page.get_by_label("Model", exact=True).select_option("blip-vqa-base")
    limits = gradcam_core.describe("blip-vqa-base")[0].limits
    expect(page.locator(".download-offer")).to_contain_text(limits)  # before it is downloaded


def test_faint_evidence_is_reported_whatever_was_shown_before(visit: Callable[..., Page]) -> None:
    """The server compares with its first choice: the page need not have shown that."""
    page = visit(query="?example=cat&target=school+bus", target="school bus", heading="faint")
    assert page.locator(".history button").count() == 1  # nothing else was seen
    page.get_by_role("tab", name="Captioning").click()
    expect(page.locator(".words button")).not_to_have_count(0)
    explain(page, "a cat on a train")
    expect(page.locator(".summary")).to_have_attribute("data-unlikely", "on train")
    page.locator(".words").get_by_role("button", name="train").click()
    shows(page, "a cat on a train", "word", word="train")


def test_the_page_may_load_nothing_from_elsewhere(browser: Browser, address: str) -> None:
    """But the data of a picture whose address is given, which the page fetches over https."""
    page = browser.new_page()
    page.goto(address)
    reached: list[str] = []
    page.route("**/*.invalid/**", lambda route: (reached.append(route.request.url), route.abort()))
    blocked: list[Any] = page.evaluate("""async () => {
        const blocked = [];
        document.addEventListener('securitypolicyviolation', (e) => blocked.push(e.blockedURI));
        await fetch('http://a.invalid/').catch(() => {});
        const image = new Image();
        image.src = 'https://b.invalid/x.png';
        const script = document.createElement('script');
        script.src = 'https://c.invalid/x.js';
        const style = document.createElement('link');
        Object.assign(style, { rel: 'stylesheet', href: 'https://d.invalid/x.css' });
        const frame = document.createElement('iframe');
        frame.src = 'https://e.invalid/';
        document.body.append(image, script, style, frame);
        await new Promise((resolve) => setTimeout(resolve, 500));
        return blocked;
    }""")
    page.close()
    assert {url.partition("//")[2][0] for url in blocked} == set("abcde")
    assert reached == []


def test_a_name_that_is_read_as_another_is_reported(page: Page, cat_file: Path) -> None:
    upload(page, cat_file)
    shows(page, "Egyptian cat")
    explain(page, "dog")
    expected = gradcam_core.explain(cat_file, target="dog")
    expect(page.locator(".summary")).to_have_attribute("data-replaced", "true")
    expect(page.locator(".summary")).to_contain_text(expected.target)
    explain(page, "boxerish thing")
    expect(page.locator("#gradcam .problem")).to_contain_text("boxerish thing")
    expect(page.locator(".stale")).to_have_attribute("data-code", "target")
    expect(page.locator(".stale")).to_contain_text(expected.target)


def test_on_a_phone_a_choice_scrolls_to_the_picture(visit: Callable[..., Page]) -> None:
    page = visit(390)
    last = page.locator(".pick").last
    last.scroll_into_view_if_needed()
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    last.click()
    expect(page.locator(".pictures")).to_be_in_viewport(ratio=0.5)


def test_on_a_phone_a_typed_target_scrolls_to_the_result(visit: Callable[..., Page]) -> None:
    page = visit(390)
    page.set_viewport_size({"width": 390, "height": 280})  # what the keyboard of a phone leaves
    field, error = page.locator("#gc-target"), page.locator("#gradcam .problem")
    for typed, answer in (("tabby", page.locator(".frame").first), ("boxr", error)):
        field.evaluate("each => each.scrollIntoView()")
        explain(page, typed)
        expect(field).not_to_be_focused()
        expect(page.locator("#gradcam h2")).to_be_in_viewport()
        shows(page, "tabby")
        expect(answer).to_be_in_viewport(ratio=1)
    # An error goes with the next answer.
    page.locator(".why-not").first.click()
    expect(page.locator("figcaption").last).to_be_visible()
    expect(error).to_be_hidden()


def test_the_box_for_the_same_scale_stays_a_box(page: Page) -> None:
    box = page.locator(".same-scale input")
    before = box.bounding_box()
    box.click()
    assert box.is_checked()
    assert box.bounding_box() == before
    assert box.evaluate("each => getComputedStyle(each).appearance") == "auto"
