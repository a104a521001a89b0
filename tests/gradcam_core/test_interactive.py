"""Interactive pages: one file that draws in a real browser, without a server or the network."""

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from torch import nn

import gradcam_core
from gradcam_core import Explanation, Prediction, explain, viewer
from tests.support.axe import serious
from tests.support.page import CHROMIUM_OPTIONS

NASTY = "</script><script>document.title = 'hacked'</script><!-- \u2028 &quot; {data} \ud83d \x00"


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    expect.set_options(timeout=45_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[[str], Page]]:
    """Open HTML as a file, offline; nothing may be fetched, and no script may fail."""
    context = browser.new_context(offline=True)
    wrong: list[str] = []
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on("console", lambda message: wrong.append(message.text))
    context.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "data:", "blob:", "about:"))
            or wrong.append(request.url)
        ),
    )

    def new_page(html: str) -> Page:
        file = tmp_path / "page.html"
        file.write_text(html, encoding="utf-8")
        page = context.new_page()
        page.goto(file.as_uri())
        return page

    yield new_page
    assert wrong == []
    context.close()


@pytest.fixture(scope="module")
def cats(cat_file: Path) -> list[Explanation]:
    """Three classes; the last one is faint."""
    return explain(cat_file, target=["tabby", "Egyptian cat", "school bus"], guided=True)


@pytest.fixture(scope="module")
def caption(cat_file: Path) -> Explanation:
    return explain(cat_file, "captioning")


def shows(page: Page, target: str, heading: str = "why") -> None:
    expect(page.locator(".result-heading")).to_have_attribute("data-target", target)
    expect(page.locator(".result-heading")).to_have_attribute("data-heading", heading)


def pixels(canvas: Locator) -> np.ndarray:
    """What a canvas shows, (H, W, 3)."""
    url = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    png = base64.b64decode(url.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def difference(page: Page, picture: Image.Image) -> float:
    """How many grey levels the large view is off a picture, on average."""
    seen = pixels(page.locator(".frame canvas"))
    assert seen.shape[:2] == (picture.height, picture.width)
    return float(np.abs(seen - np.asarray(picture.convert("RGB"))).mean())


def view(page: Page, name: str) -> None:
    page.locator(f"[data-view={name}]").click()
    expect(page.locator(f"[data-view={name}]")).to_have_attribute("aria-pressed", "true")


def test_it_draws_what_the_library_draws(
    opened: Callable[[str], Page], cats: list[Explanation]
) -> None:
    tabby, egyptian, bus = cats
    page = opened(tabby.to_html(egyptian, bus, colour_map="turbo", opacity=0.8))
    shows(page, "tabby")
    drawn = tabby.panels("turbo", 0.8)
    assert difference(page, drawn["grad_cam"]) < 3
    for name in ("guided", "guided-grad-cam"):
        view(page, name)
        panel = {"guided": "guided_backprop", "guided-grad-cam": "guided_grad_cam"}[name]
        assert difference(page, drawn[panel]) < 3, name
    view(page, "spotlight")
    lit = np.asarray(tabby.picture) * tabby.heatmap[..., None]
    assert np.abs(pixels(page.locator(".frame canvas")) - lit).mean() < 3

    page.locator("[data-text='Egyptian cat']").click()
    shows(page, "Egyptian cat")
    view(page, "grad-cam")
    page.locator(".colours select").select_option("viridis")
    page.locator(".opacity input").fill("0.3")
    assert difference(page, egyptian.panels("viridis", 0.3)["grad_cam"]) < 3
    # What is faint is drawn on the scale of the first choice.
    page.locator("[data-text='school bus']").click()
    shows(page, "school bus", "faint")
    scaled = bus.panels("viridis", 0.3, bus.first_choice_max)["grad_cam"]
    assert difference(page, scaled) < 3
    view(page, "counterfactual")
    scaled = bus.panels("viridis", 0.3, bus.first_choice_max)["counterfactual"]
    assert difference(page, scaled) < 3
    # What was not explained is no button.
    assert page.locator("button[data-text='tiger cat']").count() == 0
    assert page.locator("[data-text='tiger cat']").count() == 1

    handle = page.get_by_role("slider", name="Photo on the left, explanation on the right")
    handle.press("End")
    expect(handle).to_have_attribute("aria-valuenow", "100")
    assert difference(page, bus.picture) < 3
    frame = page.locator(".frame").bounding_box()
    page.mouse.click(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    expect(handle).to_have_attribute("aria-valuenow", "50")


def test_words_of_a_caption_and_other_tasks_are_a_click_away(
    opened: Callable[[str], Page],
    cats: list[Explanation],
    caption: Explanation,
    cat_file: Path,
) -> None:
    answers = [explain(cat_file, "vqa", question=q) for q in ("What is this?", "What colour?")]
    layercam = explain(cat_file, target="tabby", method="layercam")
    page = opened(caption.to_html(cats[0], *answers, layercam))
    shows(page, caption.target)
    words = page.locator(".words button")
    expect(words).to_have_count(1 + len(caption.words))
    words.nth(2).click()
    expect(page.locator(".result-heading")).to_have_attribute("data-heading", "word")
    heatmap = caption.word_heatmap(1)
    assert difference(page, gradcam_core.overlay(caption.picture, heatmap)) < 3
    assert page.locator("[data-view=counterfactual]").is_disabled()
    lists = page.locator(".lists button")
    assert len(set(lists.all_inner_texts())) == 5
    lists.nth(4).click()
    shows(page, "tabby")
    assert difference(page, layercam.panels()["grad_cam"]) < 3
    expect(page.locator(".words")).to_be_hidden()
    # The arrow keys move within a row, and the focus stays when the row is drawn again.
    lists.nth(4).press("ArrowLeft")
    lists.nth(3).press("Enter")
    shows(page, answers[1].target)
    expect(lists.nth(3)).to_be_focused()


class _Grey(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3)))


def _middle_in_grey(picture: Image.Image) -> torch.Tensor:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    seen = picture.convert("L").crop((left, top, left + side, top + side)).resize((32, 32))
    return torch.from_numpy(np.asarray(seen, np.float32) / 255)[None, None]


def test_networks_of_ones_own(opened: Callable[[str], Page], cat_file: Path) -> None:
    """One channel; the network sees the middle of the picture; a function is the target."""
    torch.manual_seed(0)
    network = _Grey().eval()
    model = gradcam_core.wrap(network, _middle_in_grey, ["a", NASTY, "c"], name="of my own")
    made = [
        explain(cat_file, model=model),
        explain(cat_file, model=model, target=1),
        explain(cat_file, model=model, target=lambda output: output[0, 0] - output[0, 2]),
    ]
    assert made[0].box[0] > 0
    empty = np.zeros_like(made[0].raw)
    made.append(replace(made[0], target="nothing", raw=empty, raw_counterfactual=empty))
    for explanation in made:
        page = opened(explanation.to_html())
        heading = "why" if explanation.raw.any() else "no_evidence"
        expect(page.locator(".result-heading")).to_have_attribute("data-heading", heading)
        expected = (
            explanation.panels()["grad_cam"] if explanation.raw.any() else explanation.picture
        )
        assert difference(page, expected) < 3
        page.close()
    # Two functions have the same name; both can be chosen.
    functions = [
        explain(cat_file, model=model, target=lambda output, i=i: output[0, i]) for i in (0, 1)
    ]
    page = opened(functions[0].to_html(functions[1]))
    rows = page.locator("button.pick")
    expect(rows).to_have_count(2)
    for row, explanation in enumerate(functions):
        rows.nth(row).click()
        expect(rows.nth(row)).to_have_attribute("aria-pressed", "true")
        assert difference(page, explanation.panels()["grad_cam"]) < 3
    page = opened(
        replace(made[0], position_known=False, picture=Image.new("L", (9, 400))).to_html()
    )
    expect(page.locator(".frame canvas")).to_be_visible()


@pytest.mark.parametrize("size", [(1280, 860), (390, 844)])
def test_everybody_can_use_it(
    opened: Callable[[str], Page],
    cats: list[Explanation],
    caption: Explanation,
    size: tuple[int, int],
) -> None:
    page = opened(caption.to_html(*cats))
    page.set_viewport_size({"width": size[0], "height": size[1]})
    for theme in ("light", "dark"):
        assert serious(page, theme) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.title() != "Grad-CAM"
    frame = page.locator(".frame").bounding_box()
    assert frame["y"] + frame["height"] < size[1]
    page.emulate_media(media="print")
    expect(page.locator(".frame canvas")).to_be_visible()
    expect(page.locator(".controls")).to_be_hidden()


def test_several_in_a_notebook_do_not_clash(
    opened: Callable[[str], Page], cats: list[Explanation], caption: Explanation
) -> None:
    shown = [cats[0]._repr_html_(), cats[1]._repr_html_(), caption._repr_html_()]
    assert all(len(each) < 400_000 for each in shown)
    page = opened("<h1>A notebook</h1>" + "".join(shown))
    for i, explanation in enumerate((cats[0], cats[1], caption)):
        page.locator("iframe").nth(i).scroll_into_view_if_needed()
        frame = page.frame_locator("iframe").nth(i)
        heading = frame.locator(".result-heading")
        expect(heading).to_have_attribute("data-target", explanation.target)
        seen = pixels(frame.locator(".frame canvas"))
        panel = np.asarray(explanation.panels()["grad_cam"])
        assert np.abs(seen - panel).mean() < 3


def test_it_stays_small(cat_file: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (120, 160, 3), np.uint8))
    large = coarse.resize((4000, 3000), Image.Resampling.BICUBIC)
    made = explain(large, target=[281, 282, 283, 284, 285, 286, 287, 288], guided=True)
    assert len(made[0].to_html(*made[1:])) < 1_000_000


class _Parsed(HTMLParser):
    """The scripts of a page, and how often each element is there."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "iframe":
            self.attributes = dict(attrs)

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script":
            self.scripts.append(data)


texts = st.one_of(
    st.text(st.characters(), max_size=20),  # with unpaired surrogates
    st.lists(
        st.sampled_from(["</script>", "<!--", "<script>", "]]>", "&lt;", '"', "\u2028", "{data}"]),
        max_size=4,
    ).map("".join),
)


@settings(deadline=None, max_examples=50)
@given(target=texts, question=texts, answer=texts, remark=texts)
def test_no_text_can_leave_its_place(target: str, question: str, answer: str, remark: str) -> None:
    explanation = Explanation(
        query=gradcam_core.Query("vqa", question=f"What is {question}?", model="m", layer="l"),
        target=target,
        score=1.0,
        probability=0.5,
        predictions=[Prediction(answer, 0.5)],
        picture=Image.new("RGB", (2, 2)),
        source=Path(f"/tmp/{target}".replace("\0", "")),
        box=(0, 0, 1, 1),
        raw=np.ones((1, 1), np.float32),
        raw_counterfactual=np.zeros((1, 1), np.float32),
        words=[],
        gradient=None,
        remarks=(remark,),
    )
    page = explanation.to_html()
    page.encode("utf-8")
    parsed = _Parsed(page)
    assert parsed.tags.count("script") == 2
    assert parsed.tags[-1] == "script"
    (written,) = json.loads(parsed.scripts[0])["explanations"]
    assert written["target"] == target
    assert written["question"] == f"What is {question}?"
    assert written["predictions"][0]["text"] == answer
    assert written["remarks"] == [remark]
    notebook = explanation._repr_html_()
    notebook.encode("utf-8")
    parsed = _Parsed(notebook)
    assert parsed.tags == ["iframe"]
    assert parsed.attributes["srcdoc"] == page


def test_what_models_and_visitors_write_is_text(
    opened: Callable[[str], Page], cats: list[Explanation]
) -> None:
    named = replace(cats[0], target=NASTY, predictions=[Prediction(NASTY, 0.5)])
    page = opened(named.to_html())
    expect(page.locator("h1 strong")).to_contain_text("</script><script>document.title")
    assert page.title() != "hacked"
    assert page.locator("script").count() == 2


def test_the_modules_are_joined_as_a_whole() -> None:
    """No import or export is left, and none renames: the names of all modules are one scope."""
    modules = [path.read_text("utf-8") for path in viewer.FOLDER.glob("*.js")]
    script = viewer.template().rpartition('<script type="module">')[2]
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
    statements = re.findall(r"^(?:import|export) \{[^}]*\}", "\n".join(modules), re.MULTILINE)
    assert statements
    assert not [each for each in statements if re.search(r"\bas\b", each)]
    for path in viewer.FOLDER.glob("*.js"):
        title = path.read_text("utf-8").splitlines()[0]
        assert script.count(title) == 1, path.name
