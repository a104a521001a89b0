"""How a map was made, and the tour: in a real browser, and what the server sends for it."""

import base64
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

import gradcam_core
from demo.channels import packed
from demo.compute.local import LocalCompute
from demo.examples import example_pictures
from demo.page import address_of
from gradcam_core import ChannelContributions, Query, channel_contributions
from tests.support.axe import serious
from tests.support.page import shows
from tests.support.session import Session

STEPS = ("photo", "channels", "sum", "relu", "map")
PAIR = {"query": "?example=cat%20and%20motorcycle", "target": "moped"}
TOUR = ("move", "dog", "cover", "colour", "forget")


# ---- What the server sends ----


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(float)


def sum_of(sent: dict[str, Any], count: int | None = None) -> np.ndarray:
    """Return the sum of the first channels as the browser makes it; None for all, and the rest."""
    shape = len(sent["numbers"]), sent["h"], sent["w"]
    steps = np.frombuffer(zlib.decompress(base64.b64decode(sent["data"])), "<i2").reshape(shape)
    values = steps * floats(sent["peaks"])[:, None, None] / 32767
    total = np.tensordot(floats(sent["weights"])[:count], values[:count], 1)
    return total + floats(sent["rest"]).reshape(shape[1:]) if count is None else total


def contributions(weights: np.ndarray, activations: np.ndarray) -> ChannelContributions:
    return ChannelContributions(
        "tabby", None, weights.astype(np.float32), activations.astype(np.float32)
    )


@pytest.mark.parametrize("shape", [(1280, 7, 7), (512, 14, 14), (64, 224, 224), (1, 600, 600)])
@pytest.mark.parametrize("sparse", [True, False])
def test_what_is_sent_is_bounded_and_adds_up(shape: tuple[int, int, int], sparse: bool) -> None:
    rng = np.random.default_rng(0)
    activations = rng.standard_normal(shape)
    if sparse:
        activations = activations.clip(min=0) * (rng.random((shape[0], 1, 1)) < 0.5)
    channels = contributions(rng.standard_normal(shape[0]), activations)
    sent = packed(channels)
    values, cells = shape[0] * shape[1] * shape[2], shape[1] * shape[2]
    assert len(json.dumps(sent)) < min(values, 2**17) * 4 + 8 * cells + 40 * shape[0] + 1000
    expected = channels.sum()
    largest = float(np.abs(expected).max())
    assert sum_of(sent) == pytest.approx(expected, abs=1e-5 * largest)
    count = len(sent["numbers"]) // 2
    size = float(np.abs(channels.sum(count)).max()) + 1e-9
    assert sum_of(sent, count) == pytest.approx(channels.sum(count), abs=1e-3 * size)
    assert sent["numbers"] == channels.order[: len(sent["numbers"])].tolist()
    assert sent["active"] == np.count_nonzero(channels.strengths)
    assert sent["total"] == pytest.approx(channels.strengths.sum())


def test_nothing_that_contributes_can_be_sent() -> None:
    zeros = np.zeros((3, 2, 2))
    for weights, activations in ((np.ones(3), zeros), (np.zeros(3), zeros + 1)):
        sent = packed(contributions(weights, activations))
        assert (sent["count"], sent["active"], sent["numbers"], sent["total"]) == (3, 0, [], 0)
        assert not sum_of(sent).any()


QUERIES = [
    Query(target="tabby"),
    Query(target="school bus", method="grad-cam++"),
    Query(layer="blocks.1"),
    Query(detail=2.0, model="lite2"),
    Query("captioning"),
    Query("vqa", question="What color is the cat?"),
]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_the_server_sends_what_the_core_computes(query: Query, cat_file: Path) -> None:
    compute = LocalCompute()
    explanation = compute.explain(cat_file, query)
    for word, raw in [(None, explanation.raw), *enumerate(w.raw for w in explanation.words)]:
        sent = compute.channels(cat_file, query, word)
        assert sent["target"] == explanation.target
        whole = sum_of(sent)
        positive = np.where(whole > sent["rounding"], whole, 0)
        scale = float(np.abs(whole).max())
        assert positive == pytest.approx(raw, abs=2e-5 * scale)


def asked(address: str, **request: Any) -> dict[str, Any]:
    session = Session(address)
    session.send("channels", **{"id": 7, "task": "classification", "example": "cat", **request})
    with session.messages() as messages:
        for message in messages:
            if message["msg"] == "process_completed":
                return message["output"]["data"][0]
    raise AssertionError


def test_a_request_is_strict_and_refused_in_one_sentence(address: str) -> None:
    assert asked(address, target="tabby")["target"] == "tabby"
    assert asked(address, task="captioning", word=1)["word"] == "cat"
    for wrong in ({"word": "1"}, {"word": -1}, {"word": 1001}, {"word": 1.5}, {"count": 3}):
        assert asked(address, **wrong)["code"] == "out_of_date", wrong
    refused = [{"method": name} for name in ("hirescam", "layercam", "rise", "attention-rollout")]
    refused += [{"word": 0}, {"task": "captioning", "word": 999}, {"layer": "blocks.4+blocks.6"}]
    for wrong in (*refused, {"example": "nothing"}, {"layer": "fc"}):
        answer = asked(address, **wrong)
        assert (answer["id"], answer["code"]) == (7, "bad_request"), wrong
        assert answer["error"].endswith("."), wrong
    assert asked(address, model="vgg16")["code"] == "not_downloaded"


# ---- How this map was made ----


def pixels(canvas: Locator) -> np.ndarray:
    url = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    png = base64.b64decode(url.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def open_made(page: Page) -> Locator:
    page.locator(".open-made").click()
    made = page.locator(".made")
    expect(made).to_have_attribute("data-state", "ready")
    return made


def go(made: Locator, step: str) -> None:
    made.locator(f".made-steps [data-name={step}]").click()
    expect(made).to_have_attribute("data-step", step)


def off(made: Locator, map_: np.ndarray, explanation: gradcam_core.Explanation) -> float:
    """How many grey levels the drawing is off a map over the photo, on average."""
    seen = pixels(made.locator(".made-stage"))
    drawn = gradcam_core.overlay(explanation.picture, explanation.at_picture_size(map_))
    size = seen.shape[1], seen.shape[0]
    return float(np.abs(seen - np.asarray(drawn.resize(size)).astype(int)).mean())


def normalised(raw: np.ndarray) -> np.ndarray:
    return raw / (raw.max() or 1)


def test_the_map_is_assembled_from_one_request(visit: Callable[..., Page]) -> None:
    page = visit(**PAIR)
    fetched: list[str] = []
    sent: list[dict[str, Any]] = []

    def note(request: Any) -> None:
        fetched.append(request.url)
        if "queue/join" in request.url:
            sent.append(request.post_data_json["event_data"])

    loaded = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
    assert not [name for name in loaded if "/teach/" in name]
    page.on("request", note)
    button = page.locator(".open-made").bounding_box()
    assert button["y"] + button["height"] < 900  # beside the map, without scrolling
    made = open_made(page)
    assert any("/teach/" in url for url in fetched)
    expect(page.locator(".open-made")).to_have_attribute("aria-expanded", "true")
    drawings = []
    for step in STEPS:
        go(made, step)
        drawings.append(pixels(made.locator(".made-stage")))
    assert len({drawing.tobytes() for drawing in drawings}) == len(STEPS)

    explanation = gradcam_core.explain(example_pictures()["cat and motorcycle"])
    assert off(made, normalised(explanation.raw), explanation) < 3
    made.locator(".smooth").uncheck()  # cell by cell
    blocks = pixels(made.locator(".made-stage"))
    assert not np.array_equal(blocks, drawings[-1])
    assert len(sent) == 1
    made.locator(".close").click()
    expect(made).to_be_hidden()
    expect(page.locator(".open-made")).to_be_focused()


def test_channels_are_shown_and_added_one_by_one(visit: Callable[..., Page]) -> None:
    page = visit(**PAIR)
    explanation = gradcam_core.explain(example_pictures()["cat and motorcycle"])
    channels = channel_contributions(explanation)
    made = open_made(page)
    go(made, "sum")
    count = made.locator(".count")
    steps = int(count.get_attribute("max"))
    before = None
    for value in (0, 1, 10, 20, steps):
        count.fill(str(value))
        now = pixels(made.locator(".made-stage"))
        assert before is None or not np.array_equal(now, before)
        before = now
        if 0 < value <= 20:
            expect(made).to_have_attribute("data-count", str(value))
            share = f"{100 * channels.share(value):.{0 if channels.share(value) > 0.0995 else 1}f}"
            expect(made.locator(".count-text")).to_contain_text(f"{share} %")
    expect(made).to_have_attribute("data-count", str(np.count_nonzero(channels.strengths)))
    go(made, "relu")
    rectified = pixels(made.locator(".made-stage"))
    made.locator(".relu").uncheck()
    assert np.array_equal(pixels(made.locator(".made-stage")), before)  # the whole sum
    assert not np.array_equal(rectified, before)

    go(made, "channels")
    first = made.locator(".channels button").first
    supporting = [k for k in channels.order if channels.weights[k] > 0]
    assert first.get_attribute("data-name") == str(supporting[0])
    second = made.locator(".channels button").nth(1)
    second.hover()
    expect(second).to_have_attribute("aria-pressed", "true")
    seen = pixels(made.locator(".made-stage"))
    first.focus()
    assert not np.array_equal(pixels(made.locator(".made-stage")), seen)
    # What was drawn is the photo, bright where the channel is active.
    values = channels.activations[supporting[0]]
    bright = explanation.at_picture_size(0.2 + 0.8 * values / np.abs(values).max())
    expected = np.asarray(explanation.picture) * bright[..., None]
    assert np.abs(pixels(made.locator(".made-stage")) - expected).mean() < 3


def test_it_follows_what_is_explained(visit: Callable[..., Page], cat_file: Path) -> None:
    """Every class, answer and word, in every tab; and it says where there is no such sum."""
    page = visit(390, target=None)
    expect(page.locator(".open-made")).to_be_visible()
    page.locator("input[type=file]").set_input_files(cat_file)
    shows(page, "Egyptian cat")
    made = open_made(page)
    go(made, "map")
    for target in ("tabby", "Egyptian cat"):
        page.locator(".predictions .pick", has_text=target).first.click()
        expect(made).to_have_attribute("data-target", target)
        explanation = gradcam_core.explain(cat_file, target=target)
        assert off(made, normalised(explanation.raw), explanation) < 3
    go(made, "channels")
    made.locator(".made-others button", has_text="tiger cat").click()
    shows(page, "tiger cat")
    expect(made).to_have_attribute("data-target", "tiger cat")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    page.get_by_role("tab", name="Captioning").click()
    caption = gradcam_core.explain(cat_file, "captioning")
    shows(page, caption.target)
    expect(made).to_have_attribute("data-target", caption.target)
    go(made, "map")
    for index, word in ((1, caption.words[1]), (3, caption.words[3])):
        page.locator(".words button").nth(index + 1).click()
        expect(made).to_have_attribute("data-word", word.text)
        assert off(made, normalised(word.raw), caption) < 3

    page.get_by_role("tab", name="VQA").click()
    answer = gradcam_core.explain(cat_file, "vqa", question="What is this?")
    expect(made).to_have_attribute("data-target", answer.target)
    assert off(made, normalised(answer.raw), answer) < 3

    page.get_by_role("tab", name="Classification").click()
    page.locator(".options summary").click()
    page.locator("select.method").select_option("layercam")
    expect(made).to_have_attribute("data-state", "not_weighted")
    made.locator(".made-controls button").click()  # show it for Grad-CAM
    expect(made).to_have_attribute("data-state", "ready")
    page.locator("select.method").select_option("grad-cam++")
    expanded = gradcam_core.explain(cat_file, target="tiger cat", method="grad-cam++")
    expect(page.locator(".technical")).to_have_attribute("data-method", "grad-cam++")
    expect(made).to_have_attribute("data-state", "ready")
    page.wait_for_function("!document.querySelector('.result-heading.busy')")
    assert off(made, normalised(expanded.raw), expanded) < 3


def test_the_browser_adds_up_what_the_core_adds_up(visit: Callable[..., Page]) -> None:
    """All channels together are the map, to rounding; of a caption's words, too."""
    page = visit(target=None)
    file, compute = example_pictures()["cat and motorcycle"], LocalCompute()
    for task, word in (("classification", None), ("captioning", 1), ("vqa", None)):
        query = Query(task, question="What animal is this?" if task == "vqa" else None)
        explanation = compute.explain(file, query)
        raw = explanation.raw if word is None else explanation.words[word].raw
        found = page.evaluate(
            """async ([module, packed]) => {
                const channels = await import(new URL(module, document.baseURI));
                const made = await channels.unpackChannels(packed);
                return [...channels.relu(channels.sumOf(made, made.active), made.rounding)];
            }""",
            [address_of("demo/browser/teach/channels.js"), compute.channels(file, query, word)],
        )
        expected = pytest.approx(raw, abs=1e-5 * float(raw.max()))
        assert np.array(found).reshape(raw.shape) == expected


# ---- The tour ----


@pytest.fixture
def first_visit(visit: Callable[..., Page]) -> Callable[..., Page]:
    """Open the page in a browser that has not been here, or has, and does not keep anything."""

    def opened(width: int = 1280) -> Page:
        page = visit(width, target=None)
        expect(page.locator(".open-made")).to_be_visible()
        page.evaluate("localStorage.clear()")
        page.reload()
        expect(page.locator(".tour")).to_be_visible()
        return page

    return opened


def tour(page: Page, step: str, state: str = "waiting") -> Locator:
    card = page.locator(".tour")
    expect(card).to_have_attribute("data-step", step)
    expect(card).to_have_attribute("data-state", state)
    return card


def next_step(page: Page) -> None:
    page.locator(".tour .next").click()


def lies_free(page: Page, selector: str) -> None:
    """Expect an element above the card, after the page has been scrolled."""
    page.wait_for_function(
        """selector => {
            const box = document.querySelector(selector)?.getBoundingClientRect();
            const { top, bottom } = box ?? { top: Infinity };
            const card = document.querySelector('.tour').getBoundingClientRect();
            return top < card.top && (bottom <= card.top || bottom - top > card.top - 20);
        }""",
        arg=selector,
    )


def paint(page: Page, box: dict[str, float]) -> None:
    """Draw a stroke across the eyes."""
    page.mouse.move(box["x"] + 0.38 * box["width"], box["y"] + 0.39 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.45 * box["height"], steps=5)
    page.mouse.up()


def covers_nothing(page: Page) -> None:
    """Expect one offer of the tour, at the top of the page, that lies over nothing there."""
    expect(page.get_by_role("button", name="Take the tour")).to_have_count(1)
    offer, tabs = page.locator(".tour").bounding_box(), page.get_by_role("tablist").bounding_box()
    assert offer["y"] + offer["height"] <= tabs["y"]
    for text in page.locator(".top > *").filter(visible=True).all():
        box = text.bounding_box()
        apart = box["x"] + box["width"] <= offer["x"] or box["y"] + box["height"] <= offer["y"]
        assert apart, text


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_tour_uses_the_real_controls(first_visit: Callable[..., Page], width: int) -> None:
    page = first_visit(width)
    card = page.locator(".tour")
    covers_nothing(page)
    card.locator(".accept").click()
    tour(page, "move")
    lies_free(page, ".tour-target")
    page.locator(".tour-target").click()
    tour(page, "move", "done")
    expect(page.locator(".result-heading")).to_have_attribute("data-target", "tabby")
    lies_free(page, ".pictures")
    next_step(page)

    tour(page, "dog")
    lies_free(page, ".tour-target")
    page.locator(".tour-target input").fill("dog")
    page.locator(".query .main").click()
    tour(page, "dog", "done")
    expect(page.locator(".result-heading")).to_have_attribute("data-heading", "faint")
    next_step(page)

    tour(page, "cover")
    lies_free(page, ".tour-target")
    paint(page, page.locator(".tour-target").bounding_box())
    page.locator(".ask-again").click()
    tour(page, "cover", "done")
    lies_free(page, ".paint-outcome")
    next_step(page)

    tour(page, "colour")
    page.locator(".tour-target").click()  # the tab
    expect(page.locator(".tour-target input")).to_be_visible()
    page.locator(".tour-target input").fill("What color is the cat?")
    page.locator(".query .main").click()
    tour(page, "colour", "done")
    shows(page, "brown", question="What color is the cat?")
    next_step(page)

    tour(page, "forget")
    lies_free(page, ".tour-target")
    page.locator(".tour-target").click()
    tour(page, "forget", "done")
    expect(page.locator(".test.sanity .verdict")).to_be_visible()
    next_step(page)
    expect(card).to_be_hidden()
    expect(page.locator(".take-tour")).to_be_focused()
    assert page.locator(".tour-target").count() == 0
    page.reload()
    expect(page.locator(".open-made")).to_be_visible()
    expect(card).to_be_hidden()  # never again
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_the_tour_can_do_each_step_and_be_left(first_visit: Callable[..., Page]) -> None:
    page = first_visit(390)
    page.locator(".tour .decline").click()
    expect(page.locator(".tour")).to_be_hidden()
    page.locator(".take-tour").click()  # unless asked
    for step in TOUR:
        tour(page, step)
        expect(page.locator(".tour-target")).to_be_visible()
        page.locator(".tour .show").click()
        card = tour(page, step, "done")
        if step == "dog":
            card.locator(".back").click()
            tour(page, "move")
            next_step(page)  # a step can be left out
            tour(page, "dog")
        if step == "forget":
            break
        next_step(page)
    page.keyboard.press("Escape")
    expect(page.locator(".tour")).to_be_hidden()


def test_the_visitor_may_do_something_else(
    first_visit: Callable[..., Page], cat_file: Path
) -> None:
    page = first_visit()
    page.locator(".examples [data-name=coffee]").click()
    shows(page, "espresso")
    expect(page.locator(".tour")).to_be_hidden()  # who begins alone is not asked again
    page.locator(".take-tour").click()
    tour(page, "move")
    expect(page.locator(".tour h2")).to_be_focused()
    page.locator("input[type=file]").set_input_files(cat_file)
    shows(page, "Egyptian cat")
    card = tour(page, "move", "away")
    assert page.locator(".tour-target").count() == 0
    page.get_by_role("tab", name="Captioning").click()
    expect(page.locator(".words button")).not_to_have_count(0)
    tour(page, "move", "away")
    card.locator(".show").click()  # back
    tour(page, "move")
    shows(page, "moped")
    expect(page.locator(".tour-target")).to_be_visible()
    page.reload()  # in the middle of it
    expect(page.locator(".open-made")).to_be_visible()
    expect(page.locator(".tour")).to_be_hidden()
    page.evaluate("localStorage.clear()")
    page.reload()
    expect(page.locator(".tour")).to_be_visible()
    open_made(page)
    expect(page.locator(".tour")).to_be_hidden()


@pytest.mark.slow
def test_what_teaches_can_be_used_by_everybody(first_visit: Callable[..., Page]) -> None:
    page = first_visit(390)
    assert serious(page, "light") == []  # with the invitation
    page.locator(".tour .accept").click()
    tour(page, "move")
    expect(page.locator(".tour-target")).to_be_visible()
    for theme in ("light", "dark"):
        assert serious(page, theme) == []
    page.keyboard.press("Escape")
    made = open_made(page)
    for step in STEPS:
        go(made, step)
        assert serious(page, "light") == [], step
    go(made, "channels")
    assert serious(page, "dark") == []
    # By keyboard: the steps are one stop, and so is each row of channels.
    made.locator("[data-name=channels]").press("ArrowRight")
    expect(made.locator("[data-name=sum]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(made).to_have_attribute("data-step", "sum")
    made.locator(".count").press("Home")
    expect(made).to_have_attribute("data-count", "0")
    made.locator(".count").press("ArrowRight")
    expect(made).to_have_attribute("data-count", "1")
    made.locator(".play").click()
    page.wait_for_function("document.querySelector('.made .count').value > 3")
    made.locator(".play").click()
