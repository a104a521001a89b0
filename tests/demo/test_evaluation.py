"""The sections under the result: evidence for a map, other maps, and asking without a part."""

import base64
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

import gradcam_core
from demo.examples import example_pictures
from demo.page import address_of
from gradcam_core import metrics
from tests.demo.test_handlers import ask as ask_by_number
from tests.demo.test_handlers import dependencies
from tests.support.axe import serious
from tests.support.page import shows, state

METRIC = "faithfulness-correlation"  # which decides the verdict
PATIENCE = 120_000  # milliseconds, for a hundred passes on a busy machine


def ask(address: str, lane: str, **request: Any) -> dict[str, Any]:
    numbers = {event: each["id"] for each in dependencies(address) for _, event in each["targets"]}
    return ask_by_number(address, numbers[lane], **request)


def opened(page: Page, title: str) -> None:
    page.locator(".analysis summary", has_text=title).click()


@pytest.mark.slow
def test_the_figures_are_those_of_the_core(address: str, small: str) -> None:
    query = {"target": "tabby", "model": small}
    explanation = gradcam_core.explain(example_pictures()["cat"], **query)
    answer = ask(address, "evaluate", **query, test="occlusion")
    expected = metrics.measure(explanation, ["occlusion-correlation"])
    assert (answer["sentence"], answer["supports"]) == ("", None)  # it cannot decide alone
    found = answer["measurements"]["occlusion-correlation"]
    (measurement,) = expected.values()
    assert found["value"] == pytest.approx(measurement.value, abs=1e-4)
    assert np.array(found["map"]) == pytest.approx(measurement.map, abs=1e-4)
    answer = ask(address, "evaluate", **query, test="curves")
    curves = answer["measurements"]
    expected = metrics.measure(explanation, list(curves))
    assert answer["sentence"] == metrics.verdict(expected)
    assert answer["supports"] == metrics.supports(expected)
    for name, each in expected.items():
        assert curves[name]["value"] == pytest.approx(each.value, abs=1e-3)
        assert curves[name]["references"] == pytest.approx(each.references, abs=1e-3)
        assert curves[name]["curve"] == pytest.approx(each.curve, abs=1e-3)
        assert curves[name]["reference_curves"].keys() == each.reference_curves.keys()
    steps = ask(address, "evaluate", **query, test="sanity")["steps"]
    assert [(step["layer"], step["correlation"]) for step in steps] == [
        (step.layer, pytest.approx(step.correlation, abs=1e-4))
        for step in metrics.sanity_check(explanation)
    ]
    for test in ("sanity", "fool"):
        refused = ask(address, "evaluate", task="vqa", question="What is this?", test=test)
        assert refused["code"] == "bad_request"


def test_an_attack_is_that_of_the_core(address: str, small: str) -> None:
    query = {"target": "tabby", "model": small}
    answer = ask(address, "evaluate", **query, test="fool", goal="moped")
    expected = metrics.attack(gradcam_core.explain(example_pictures()["cat"], **query), "moped")
    assert (answer["goal"], answer["fooled"]) == ("moped", expected.succeeded)
    assert answer["correlation"] == pytest.approx(expected.correlation, abs=1e-2)
    assert answer["after"]["max"] == pytest.approx(expected.after.raw.max(), abs=1e-2)
    assert answer["predictions"][0]["text"] == expected.after.predictions[0].text
    unknown = ask(address, "evaluate", **query, test="fool", goal="zebrra")
    assert unknown["code"] == "unknown_label"


@pytest.mark.parametrize("filling", ["blur", "inpainted"])
def test_a_covered_picture_is_explained_as_in_the_core(address: str, filling: str) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((9, 14)) < 0.3
    packed = base64.b64encode(np.packbits(mask, bitorder="little").tobytes()).decode()
    painted = {"target": "tabby", "rows": 9, "columns": 14, "mask": packed, "filling": filling}
    answer = ask(address, "paint", **painted)
    with Image.open(example_pictures()["cat"]) as picture:
        covered = metrics.occlude(picture, mask, filling)
    expected = gradcam_core.explain(covered, target="tabby")
    assert answer["answer"]["score"] == pytest.approx(expected.score, abs=1e-3)
    assert answer["answer"]["raw"]["max"] == pytest.approx(expected.raw.max(), abs=1e-4)
    assert (answer["picture"]["width"], answer["picture"]["height"]) == covered.size
    for wrong in ({"mask": "AAAA"}, {"mask": "no base64!"}, {"rows": 256, "columns": 256}):
        assert ask(address, "paint", **painted | wrong)["code"] == "bad_request"
    assert ask(address, "paint", **painted, method="rise")["code"] == "bad_request"


def test_tests_run_on_request_and_can_be_cancelled(visit: Callable[..., Page]) -> None:
    page = visit()
    posts: list[str] = []
    page.on("request", lambda request: request.method == "POST" and posts.append(request.url))
    for summary in page.locator(".analysis > details > summary").all():
        summary.click()
    assert posts == []  # nothing is computed unasked
    curves = page.get_by_role("region", name="Remove what it marks")
    curves.get_by_role("button", name="Test").click()
    curves.get_by_role("button", name="Working … Stop").click()
    expect(curves.get_by_role("button", name="Test", exact=True)).to_be_enabled(timeout=PATIENCE)
    expect(curves.locator("svg")).to_have_count(0)
    cover = page.get_by_role("region", name="Cover part after part")
    cover.get_by_role("button", name="Test").click()
    expect(cover.locator("canvas")).to_have_count(2, timeout=PATIENCE)
    expected = metrics.measure(
        gradcam_core.explain(example_pictures()["cat and motorcycle"]), ["occlusion-correlation"]
    )
    measurement = expected["occlusion-correlation"]
    value = measurement.value
    expect(cover).to_contain_text(f"Rank correlation {value:.2f}")
    expect(cover).to_contain_text(f"{measurement.references['centre']:.2f}")
    expect(cover.locator(".verdict")).to_have_count(0)  # it cannot decide alone
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the measurements").click()
    saved = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert saved["target"] == "moped"
    assert saved["measurements"]["occlusion-correlation"]["value"] == pytest.approx(value, abs=1e-4)
    assert len(saved["box"]["box"]) == 4
    # They belong to what is shown, and come back with it.
    page.locator(".pick", has_text="tabby").click()
    shows(page, "tabby")
    expect(cover.locator("canvas")).to_have_count(0)
    page.locator(".history button", has_text="moped").click()
    expect(cover.locator("canvas")).to_have_count(2)


@pytest.mark.slow
def test_curves_and_the_sanity_check_are_drawn(visit: Callable[..., Page]) -> None:
    page = visit()
    opened(page, "Can I trust this map?")
    curves = page.get_by_role("region", name="Remove what it marks")
    curves.get_by_role("button", name="Test").click()
    expect(curves.locator("polyline")).to_have_count(6, timeout=PATIENCE)
    supported = metrics.supports(
        metrics.measure(
            gradcam_core.explain(example_pictures()["cat and motorcycle"]),
            [METRIC, "deletion", "insertion"],
        )
    )
    code = {True: "supports", False: "does_not", None: "cannot_tell"}[supported]
    expect(curves.locator(".verdict")).to_have_attribute("data-code", code)
    with page.expect_download(timeout=PATIENCE) as download:
        page.get_by_role("button", name="Everything (ZIP)").click()
    with zipfile.ZipFile(Path(download.value.path())) as archive:
        kept = json.loads(archive.read("metrics.json"))
    expect(curves).to_contain_text(f"ROAD {kept['measurements']['road']['value']:.2f}")
    area = kept["measurements"]["deletion"]["value"]
    expect(curves.locator(".legend b").first).to_have_text(f"{area:.2f}")
    # Beside another answer, each has its own.
    page.locator(".pick", has_text="tabby").click()
    shows(page, "tabby")
    page.get_by_role("button", name="Why moped, and why not tabby?").click()
    expect(page.locator(".pictures figcaption").nth(1)).to_be_visible()
    with page.expect_download(timeout=PATIENCE) as download:
        page.get_by_role("button", name="Everything (ZIP)").click()
    with zipfile.ZipFile(Path(download.value.path())) as archive:
        assert "1-tabby/metrics.json" not in archive.namelist()
        assert json.loads(archive.read("2-moped/metrics.json")) == kept
    page.locator(".history button", has_text="moped").click()
    expect(curves.locator("polyline")).to_have_count(6)
    sanity = page.get_by_role("region", name="Make the network forget")
    sanity.get_by_role("button", name="Test").click()
    layers = gradcam_core.load("lite0").layers
    expect(sanity.locator("canvas")).to_have_count(2 + len(layers), timeout=PATIENCE)
    expect(sanity.locator(".verdict")).to_have_attribute("data-code", "passed")
    page.locator(".options summary").click()
    page.locator(".method").select_option("guided-backprop")
    expect(sanity.locator(".verdict")).to_have_count(0)
    sanity.get_by_role("button", name="Test").click()
    verdict = sanity.locator(".verdict")
    expect(verdict).to_have_attribute("data-code", "not_specific", timeout=PATIENCE)
    page.get_by_role("tab", name="VQA").click()
    state(page, "explained")
    expect(sanity).to_be_hidden()  # it is for classifiers


@pytest.mark.slow
def test_a_network_is_made_to_say_something_else(visit: Callable[..., Page]) -> None:
    page = visit(390)
    opened(page, "Can I trust this map?")
    fool = page.get_by_role("region", name="Make it say something else")
    fool.get_by_label("Make it say").fill("zebrra")
    test = fool.get_by_role("button", name="Test")
    test.click()
    expect(fool.locator(".section-problem")).to_contain_text("zebrra", timeout=PATIENCE)
    fool.get_by_label("Make it say").fill("zebra")
    test.click()
    fool.get_by_role("button", name="Working … Stop").click()
    expect(test).to_be_enabled(timeout=PATIENCE)
    expect(fool.locator(".verdict")).to_have_count(0)
    test.click()
    expect(fool.locator(".verdict")).to_contain_text("zebra", timeout=PATIENCE)
    expect(fool.locator(".verdict")).to_have_attribute("data-code", "fooled")
    assert fool.locator("img").count() == 2
    explanation = gradcam_core.explain(example_pictures()["cat and motorcycle"])
    result = metrics.attack(explanation, "zebra")
    expect(fool).to_contain_text(f"Rank correlation {result.correlation:.2f}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("tab", name="Captioning").click()
    expect(page.locator(".words")).to_be_visible()
    expect(fool).to_be_hidden()  # it is for classifiers


@pytest.mark.slow
def test_all_methods_and_all_layers_in_a_row(visit: Callable[..., Page]) -> None:
    page = visit()
    opened(page, "Compare methods and layers")
    methods = page.get_by_role("region", name="Methods")
    methods.get_by_role("button", name="Draw the quick ones").click()
    expect(methods.get_by_role("button", name="Draw the quick ones")).to_be_disabled(
        timeout=PATIENCE
    )
    expect(methods.get_by_role("button", name="Measure each")).to_be_enabled(timeout=PATIENCE)
    known = gradcam_core.methods().values()
    lite0 = gradcam_core.load("lite0")
    offered = [method for method in known if not method.why_not(lite0)]
    quick = {method.title for method in offered if not method.slow}
    drawn = {image.get_attribute("aria-label") for image in methods.get_by_role("img").all()}
    assert drawn == {f"{title} for moped" for title in quick}
    expect(methods.get_by_role("button", name="Draw it: slow")).to_have_count(
        len(offered) - len(quick)
    )
    occlusion = methods.locator("figure", has_text="Occlusion")
    occlusion.get_by_role("button", name="Draw it: slow").click()
    expect(occlusion.get_by_role("img")).to_be_visible(timeout=PATIENCE)
    layers = page.get_by_role("region", name="Layers")
    layers.get_by_role("button", name="Draw all layers").click()
    expect(layers.get_by_role("img")).to_have_count(
        len(gradcam_core.load("lite0").layers), timeout=PATIENCE
    )
    layers.get_by_role("button", name="blocks.4").click()
    expect(page.locator(".technical")).to_have_attribute("data-layer", "blocks.4")
    expect(page.locator(".technical")).to_have_attribute("data-cells", "14x14")


def test_why_this_and_not_that(visit: Callable[..., Page]) -> None:
    page = visit()
    opened(page, "Where do two maps differ?")
    page.get_by_label("Minus the map of").select_option("tabby")
    page.get_by_role("button", name="Show the difference").click()
    expect(page.locator(".difference-map canvas")).to_be_visible(timeout=PATIENCE)
    one, other = (
        gradcam_core.explain(example_pictures()["cat and motorcycle"], target=target).raw
        for target in ("moped", "tabby")
    )
    difference = (one - other) / max(one.max(), other.max())
    expect(page.locator(".difference-map li")).to_have_text(
        [
            f"more for moped: up to {100 * difference.max():.0f} % of the stronger map’s maximum",
            f"more for tabby: up to {-100 * difference.min():.0f} % of the stronger map’s maximum",
        ]
    )


def test_the_box_is_that_of_the_core(visit: Callable[..., Page]) -> None:
    page = visit()
    opened(page, "Where is it?")
    heatmap = gradcam_core.explain(example_pictures()["cat and motorcycle"]).heatmap
    for share in ("0.15", "0.5"):
        page.locator(".threshold").fill(share)
        expected = metrics.bounding_box(metrics.segment(heatmap, float(share)))
        box = page.locator(".box-text").get_attribute("data-box")
        assert box is not None
        assert [int(n) for n in box.split(",")] == pytest.approx(expected, abs=1)
    # Parts that touch at corners only, two of a size, none at all.
    rng = np.random.default_rng(0)
    for field in (
        (rng.random((12, 17)) ** 3).astype(np.float32),
        np.eye(9)[:, ::-1],
        np.eye(2) * 0,
    ):
        height, width = field.shape
        seen = page.evaluate(
            """async ([module, field, w, h]) => {
                const maps = await import(new URL(module, document.baseURI));
                const mask = maps.segment(field, w, h, 0.15);
                return [[...mask], maps.boundingBox(mask, w, h)];
            }""",
            [address_of("demo/browser/analysis/masks.js"), field.ravel().tolist(), width, height],
        )
        mask = metrics.segment(field)
        assert np.array_equal(np.array(seen[0]).reshape(field.shape), mask)
        assert seen[1] == (None if not mask.any() else list(metrics.bounding_box(mask)))


def test_a_part_is_painted_over_by_pointer_and_by_keyboard(visit: Callable[..., Page]) -> None:
    page = visit(390)
    opened(page, "Ask it yourself")
    again = page.get_by_role("button", name="Ask again")
    again.click()
    problem = page.locator(".paint .section-problem")
    expect(problem).to_have_attribute("data-code", "nothing_painted")
    easel = page.locator(".paint-canvas")
    seen = [easel.evaluate("canvas => canvas.toDataURL()")]

    def changed() -> None:
        seen.append(easel.evaluate("canvas => canvas.toDataURL()"))
        assert seen[-1] not in seen[:-1]

    easel.focus()
    for key in ("ArrowLeft", "ArrowUp", "Space"):
        easel.press(key)
    easel.blur()
    changed()
    easel.scroll_into_view_if_needed()
    box = easel.bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.6 * box["height"], steps=5)
    page.mouse.up()
    changed()
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Cover what the map marks").click()
    changed()
    page.locator(".filling").select_option("blur")
    changed()
    page.locator(".filling").select_option("inpainted")
    changed()
    again.click()
    rows = page.locator(".paint-outcome tbody tr")
    expect(rows.first).to_contain_text("moped", timeout=PATIENCE)
    expect(page.locator(".paint-outcome .verdict")).to_be_visible()
    changed()  # it shows what the server filled in
    assert page.locator(".paint-outcome canvas").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # Painting starts anew on another photo.
    page.locator(".examples [data-name]", has=page.get_by_alt_text("coffee", exact=True)).click()
    shows(page, "espresso")
    expect(page.locator(".paint-outcome")).to_be_empty()


@pytest.mark.slow
def test_axe_finds_nothing_serious(visit: Callable[..., Page]) -> None:
    page = visit(390)
    for summary in page.locator(".analysis > details > summary").all():
        summary.click()
    page.get_by_role("button", name="Draw all layers").click()
    expect(page.locator(".layers .strip [role=img]").nth(3)).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("button", name="Draw all layers")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Show the difference").click()
    expect(page.locator(".difference-map canvas")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Cover everything else").click()
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator(".paint-outcome table")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("region", name="Make the network forget").get_by_role("button").click()
    expect(page.locator(".sanity .verdict")).to_be_visible(timeout=PATIENCE)
    for theme, width in (("light", 390), ("dark", 1280)):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("width => innerWidth === width", arg=width)
        assert serious(page, theme) == [], theme
        assert page.evaluate("document.documentElement.scrollWidth") <= width
