"""The page in a real browser."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from demo.examples import example_pictures


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(params=[1280, 390], ids=["desktop", "phone"])
def page(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    requested: list[str] = []
    errors: list[str] = []
    page.on("request", lambda r: requested.append(r.url))
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(address)
    expect(page.locator("#classify-summary")).to_contain_text("Why moped?")
    yield page
    context.close()
    assert errors == []
    local = (address, "data:", "blob:")
    assert [url for url in requested if not url.startswith(local)] == []


def sources(page: Page) -> list[str]:
    """The addresses of the four panels' pictures; each has the hash of what it shows."""
    names = ["guided-backprop", "grad-cam", "guided-grad-cam", "counterfactual"]
    return [page.locator(f"#classify-{name} img").get_attribute("src") for name in names]


def test_a_visitor_sees_an_explanation_at_once(page: Page) -> None:
    assert len(set(sources(page))) == 4
    expect(page.locator("#classify-slider img").first).to_be_visible()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]  # nothing sticks out


def test_upload_click_a_class_type_a_class(page: Page, cat_file: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(cat_file)
    summary = page.locator("#classify-summary")
    expect(summary).to_contain_text("Why Egyptian cat?")
    expect(page.locator("#classify-labels")).to_contain_text("tiger cat")
    first = sources(page)

    page.locator("#classify-labels").get_by_text("tiger cat").click()
    expect(summary).to_contain_text("Why tiger cat?")
    expect(page.get_by_label("Class (optional)")).to_have_value("tiger cat")
    assert sources(page)[1] != first[1]

    page.get_by_role("tab", name="Captioning").click()
    expect(page.locator("#caption-summary")).to_contain_text("Why")
    page.get_by_role("tab", name="Classification").click()
    expect(summary).to_contain_text("Why tiger cat?")  # a tab that was left is as it was

    page.get_by_label("Class (optional)").fill("siamese cat")
    page.get_by_role("button", name="Explain").locator("visible=true").click()
    expect(summary).to_contain_text("Why Siamese cat?")
    expect(summary).to_contain_text("the model's first choice is Egyptian cat")


def test_type_ahead_over_the_class_names(page: Page) -> None:
    field = page.get_by_label("Class (optional)")
    field.click()
    field.press_sequentially("bull mas")
    page.get_by_role("option", name="bull mastiff").click()
    expect(page.locator("#classify-summary")).to_contain_text("bull mastiff")


def test_errors_are_toasts_and_lose_nothing(page: Page, tmp_path: Path, cat_file: Path) -> None:
    before = sources(page)
    page.get_by_label("Class (optional)").fill("boxr")
    page.get_by_role("button", name="Explain").click()
    toast = page.locator(".toast-body")
    expect(toast.first).to_contain_text("The nearest: boxer")
    assert sources(page) == before
    page.reload()
    expect(page.locator("#classify-summary")).to_contain_text("Why moped?")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photo")
    page.locator("input[type=file]").first.set_input_files(broken)
    expect(toast.first).to_contain_text("broken.png is not a picture")
    page.locator("input[type=file]").first.set_input_files(cat_file)
    expect(page.locator("#classify-summary")).to_contain_text("Why Egyptian cat?")


def test_examples_opacity_layer_and_colours(page: Page) -> None:
    names = list(example_pictures())
    page.locator(".examples button:visible").nth(names.index("coffee")).click()
    summary = page.locator("#classify-summary")
    expect(summary).to_contain_text("Why espresso?")

    blended = page.locator("#classify-slider img").last
    before = blended.get_attribute("src")
    page.get_by_label("range slider for Heat map opacity").first.fill("0.9")
    page.get_by_label("range slider for Heat map opacity").first.dispatch_event("pointerup")
    expect(blended).not_to_have_attribute("src", before)

    page.get_by_role("button", name="Advanced").first.click()
    page.get_by_label("Target layer").first.click()
    page.get_by_role("option", name="blocks.3").click()
    expect(summary).to_contain_text("blocks.3")
    expect(summary).to_contain_text("14 × 14")
    grad_cam = page.locator("#classify-grad-cam img")
    before = grad_cam.get_attribute("src")
    page.get_by_label("Colour map").first.click()
    page.get_by_role("option", name="viridis").click()
    expect(grad_cam).not_to_have_attribute("src", before)


def test_download_of_everything(page: Page) -> None:
    with page.expect_download() as download:
        page.get_by_role("button", name="Download everything").first.click()
    assert download.value.suggested_filename == "grad-cam-moped.zip"
    with zipfile.ZipFile(Path(download.value.path())) as archive:
        assert {"raw.npy", "explanation.json", "guided_grad_cam.png"} <= set(archive.namelist())
        assert Image.open(io.BytesIO(archive.read("grad_cam.png"))).size == (640, 320)


def test_clearing_the_picture_clears_the_results(page: Page) -> None:
    page.get_by_label("Remove Image").first.click()
    expect(page.locator("#classify-summary")).to_contain_text("Choose a picture")
    expect(page.locator("#classify-grad-cam img")).to_have_count(0)
    page.get_by_role("button", name="Explain").click()
    expect(page.locator(".toast-body").first).to_contain_text("choose a picture first")


def test_caption_words_each_show_their_map(page: Page) -> None:
    page.get_by_role("tab", name="Captioning").click()
    summary = page.locator("#caption-summary")
    expect(summary).to_contain_text("the model's first choice")
    page.get_by_label("Caption (optional)").fill("A cat looks at the motorcycle!")
    page.get_by_label("Caption (optional)").press("Enter")
    expect(summary).to_contain_text("Why a cat looks at the motorcycle?")
    expect(page.locator("#caption-strip img")).to_have_count(7)  # the whole, and six words

    slider = page.locator("#caption-slider")
    seen = {slider.locator("img").last.get_attribute("src")}
    for word in ("cat", "motorcycle"):
        page.locator("#caption-words").get_by_text(word, exact=True).click()
        expect(summary).to_contain_text(f"Why {word} in")
        seen.add(slider.locator("img").last.get_attribute("src"))
    assert len(seen) == 3
    page.locator("#caption-strip button").first.click()
    expect(summary).to_contain_text("Why a cat looks at the motorcycle?")

    page.locator("#caption-own").get_by_test_id("cell-1-0").click()
    expect(summary).not_to_contain_text("motorcycle?")


def test_unknown_words_of_a_caption_are_named(page: Page) -> None:
    page.get_by_role("tab", name="Captioning").click()
    expect(page.locator("#caption-summary")).to_contain_text("Why")
    page.get_by_label("Caption (optional)").fill("a qwxz sleeps")
    page.get_by_role("button", name="Explain").locator("visible=true").click()
    expect(page.locator(".toast-body").first).to_contain_text("qwxz")


def test_what_is_typed_is_shown_and_does_nothing(page: Page) -> None:
    """The fixture fails the test if the page asks for this address."""
    page.get_by_role("tab", name="VQA").click()
    expect(page.locator("#vqa-summary")).to_contain_text("What is this?")
    page.locator("#vqa-question textarea, #vqa-question input").fill("![is it](http://x.invalid/y)")
    page.locator("#vqa-question textarea, #vqa-question input").press("Enter")
    expect(page.locator("#vqa-summary")).to_contain_text("![is it](http://x.invalid/y)")


def test_two_questions_in_a_row_and_another_answer(page: Page) -> None:
    page.get_by_role("tab", name="VQA").click()
    summary = page.locator("#vqa-summary")
    expect(summary).to_contain_text("What is this?")
    question = page.locator("#vqa-question textarea, #vqa-question input")
    for asked in ("What animal is this?", "what vehicle is there"):
        question.fill(asked)
        question.press("Enter")
        expect(summary).to_contain_text(f"“{asked}”")
    page.locator(".suggestions button").get_by_text("What animal is this?").click()
    expect(summary).to_contain_text("“What animal is this?”")
    before = page.locator("#vqa-grad-cam img").get_attribute("src")
    page.locator("#vqa-labels button").nth(1).click()
    expect(summary).to_contain_text("the model's first choice is")
    expect(page.locator("#vqa-grad-cam img")).not_to_have_attribute("src", before)


def pick(page: Page, field: str, name: str) -> None:
    """Choose a model as a user does: type a part of its name, press Enter."""
    box = page.locator(f"#{field} input")
    box.click()
    box.fill(name)
    page.keyboard.press("Enter")


def test_two_models_side_by_side(page: Page) -> None:
    page.locator("#classify-labels").get_by_text("tabby").click()
    expect(page.locator("#classify-summary")).to_contain_text("Why tabby?")
    pick(page, "classify-beside", "lite2")
    expect(page.locator("#classify-note")).to_contain_text("EfficientNet-Lite2")
    first, second = (page.locator(f"#classify-{side}") for side in ("first", "second"))
    expect(first).to_contain_text("lite0: Grad-CAM")
    expect(second).to_contain_text("lite2: Grad-CAM")
    texts = [page.locator(f"#classify-{side}-text") for side in ("first", "second")]
    for text in texts:
        expect(text).to_contain_text("tabby")
    assert texts[0].text_content() != texts[1].text_content()
    images = [side.locator("img").get_attribute("src") for side in (first, second)]
    assert images[0] != images[1]

    # Another class: both follow.
    page.locator("#classify-labels").get_by_text("tiger cat").click()
    expect(page.locator("#classify-summary")).to_contain_text("Why tiger cat?")
    expect(second.locator("img")).not_to_have_attribute("src", images[1])

    # The second becomes the first; its target layers come along.
    pick(page, "classify-model", "lite2")
    expect(page.locator("#classify-summary")).to_contain_text("(9 × 9) of lite2")
    pick(page, "classify-beside", "none")
    expect(second).to_be_hidden()


def test_a_download_is_announced_and_its_failure_said(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    pick(page, "classify-model", "vgg16")
    note = page.locator("#classify-note")
    expect(note).to_contain_text("licence BSD-3-Clause. 528 MB are downloaded")
    expect(page.locator("#classify-summary")).to_contain_text("of lite0")  # nothing happened yet
    # Nothing but the button downloads.
    page.locator("#classify-labels").get_by_text("tabby").click()
    expect(page.get_by_text("press Explain to download it")).to_be_visible()
    page.get_by_role("button", name="Explain").locator("visible=true").click()
    expect(page.get_by_text("VGG-16 is not on this machine")).to_be_visible()
    pick(page, "classify-model", "lite2")
    expect(page.locator("#classify-summary")).to_contain_text("(9 × 9) of lite2")
