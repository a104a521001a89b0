"""The page on Ray Serve, whose replicas may die; two of them, on this machine."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from tqdm import tqdm

pytest.importorskip("ray.serve", reason="no Ray here (pip install -r requirements-scale.txt)")

import ray
from ray import cloudpickle, serve

import gradcam_core
from demo import evaluation as evidence
from demo.compute import service
from demo.compute.ray_replica import Step
from demo.compute.ray_serve import BUSY, OTHERS, Size, asked_of, build, networks
from demo.hosting.cancellation import Cancelled
from demo.hosting.gradio_internals import ReportedProgress, active_progress
from gradcam_core.models.backbone import Backbone, pictures_a_pass
from tests.support.app_process import free_port
from tests.support.page import shows

pytestmark = pytest.mark.slow

WAIT = 120_000  # milliseconds
PATIENCE = 180  # seconds


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is."""
    cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["who"]))
    port = free_port()
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": port})
    serve.run(build(Size(at_most=2)))
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


@pytest.fixture(scope="module")
def compute(address: str) -> service.Compute:
    """As the page has it, of the default network."""
    names = {*networks().values(), OTHERS}
    handles = {name: serve.get_deployment_handle(name, "default") for name in names}
    return partial(asked_of(handles), model="lite0")


@pytest.fixture(scope="module")
def photos(cat_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sixteen, no two of them alike."""
    folder = tmp_path_factory.mktemp("photos")
    found = [folder / f"{number}.png" for number in range(16)]
    for number, file in enumerate(found):
        Image.open(cat_file).rotate(number).save(file)
    return found


@pytest.fixture(scope="module")
def two(
    compute: service.Compute, photos: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> set[int]:
    """The replicas' processes; eight questions are asked that are answered once there are two."""
    present = tmp_path_factory.mktemp("present")
    with ThreadPoolExecutor(8) as visitors:
        asked = [visitors.submit(compute, meet, photo, present=present) for photo in photos[:8]]
        return {each.result() for each in asked}


def who(file: Path, model: str) -> int:
    """Return the process that computes."""
    return os.getpid()


def meet(file: Path, model: str, present: Path) -> int:
    """Return the same once another process is asked, too."""
    (present / str(os.getpid())).touch()
    wait_for(lambda: len(list(present.iterdir())) > 1)
    return os.getpid()


def hold(file: Path, model: str, until: Path, began: Path) -> int:
    """Return the same once there is a file; another tells that it waits."""
    began.touch()
    wait_for(until.exists)
    return os.getpid()


def without_end(file: Path, model: str, method: str, ended: Path) -> None:
    try:
        for _ in tqdm(count()):
            time.sleep(0.02)
    finally:
        ended.touch()


@contextmanager
def shown_to(tell: Callable[[Step], None]) -> Iterator[None]:
    """Let somebody see the bars of tqdm, as a visitor does."""
    with active_progress(ReportedProgress(lambda *step: tell(Step(*step)))):
        yield


def watch(file: Path, model: str, log: Path) -> None:
    """Write how many pictures are in each pass of the process through a CNN."""
    run = Backbone.run

    def watched(self: Backbone, pixels: torch.Tensor, layer: str) -> Any:
        with log.open("a") as lines:
            lines.write(f"{len(pixels)}\n")
        return run(self, pixels, layer)

    Backbone.run = watched  # type: ignore[method-assign]


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def test_the_page_answers_in_all_three_tabs(address: str, chromium: str, cat_file: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        expect.set_options(timeout=WAIT)
        opened = page.goto(address)
        assert opened is not None
        assert "default-src 'self'" in opened.headers["content-security-policy"]
        shows(page, "moped")
        page.locator("input[type=file]").set_input_files(cat_file)
        shows(page, "Egyptian cat")
        for tab, target in (
            ("Captioning", gradcam_core.explain(cat_file, "captioning").target),
            ("VQA", gradcam_core.explain(cat_file, "vqa", question="What is this?").target),
        ):
            page.get_by_role("tab", name=tab).click()
            shows(page, target)
        browser.close()


def test_where_many_ask_there_is_a_second_replica(two: set[int]) -> None:
    assert len(two - {os.getpid()}) == 2


def test_a_picture_goes_where_its_feature_map_is(
    compute: service.Compute, two: set[int], photos: list[Path]
) -> None:
    first = [compute(who, photo) for photo in photos]
    assert set(first) == two
    assert [compute(who, photo) for photo in photos] == first


def test_each_network_has_replicas_of_its_own_once_it_is_asked(
    compute: service.Compute, two: set[int], cat_file: Path, tmp_path: Path
) -> None:
    running = serve.status().applications["default"].deployments
    assert not running["EfficientNet-Lite2"].replica_states
    of_lite2 = {compute(who, cat_file, model=name) for name in ("lite2", "lite2-caption")}
    assert len(of_lite2) == 1
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(tmp_path)
    found = compute(gradcam_core.explain_file, cat_file, model=str(tmp_path))
    alone = gradcam_core.explain_file(cat_file, model=str(tmp_path))
    assert np.allclose(found.raw, alone.raw, atol=1e-6)
    other = compute(who, cat_file, model=str(tmp_path))
    assert len(two | of_lite2 | {other}) == 4


def test_photos_that_wait_together_go_through_the_cnn_together(
    compute: service.Compute, photos: list[Path], tmp_path: Path
) -> None:
    lite2 = partial(compute, model="lite2")
    lite2(watch, photos[0], log=tmp_path / "passes")
    angles = count(1)

    def two_went_together() -> bool:
        new = [tmp_path / f"{next(angles)}.png" for _ in range(8)]
        for file in new:
            Image.open(photos[0]).rotate(int(file.stem)).save(file)
        with ThreadPoolExecutor(8) as visitors:
            found = [*visitors.map(partial(lite2, gradcam_core.explain_file), new)]
        for file, explanation in zip(new, found, strict=True):
            alone = gradcam_core.explain(file, model="lite2")
            assert explanation.target == alone.target
            assert np.allclose(explanation.raw, alone.raw, atol=1e-5)
        passes = {int(line) for line in (tmp_path / "passes").read_text().split()}
        return max(passes) == pictures_a_pass()

    wait_for(two_went_together)


def test_what_takes_long_shows_how_far_it_is(compute: service.Compute, cat_file: Path) -> None:
    there: list[Step] = []
    with shown_to(there.append):
        found = compute(gradcam_core.explain_file, cat_file, method="occlusion")
    here: list[Step] = []
    with shown_to(here.append):
        alone = gradcam_core.explain_file(cat_file, method="occlusion")
    assert np.allclose(found.raw, alone.raw, atol=1e-5)
    for bar in {step.shown for step in here}:
        steps = [step.done for step in there if step.shown == bar]
        assert max(steps) == max(step.done for step in here if step.shown == bar)
        assert len(set(steps)) == len({step.done for step in here if step.shown == bar})
    found = compute(evidence.tested, cat_file, test="occlusion")
    assert found["sentence"] == evidence.tested(cat_file, "occlusion")["sentence"]


def test_what_takes_long_ends_where_nobody_waits(
    compute: service.Compute, cat_file: Path, tmp_path: Path
) -> None:
    def stop_soon(step: Step) -> None:
        if step.done > 3:
            raise Cancelled

    with shown_to(stop_soon), pytest.raises(Cancelled):
        compute(without_end, cat_file, method="occlusion", ended=tmp_path / "ended")
    wait_for((tmp_path / "ended").exists)


def test_answers_and_errors_are_those_of_one_machine(
    compute: service.Compute, cat_file: Path
) -> None:
    found = compute(gradcam_core.explain_file, cat_file, target="tabby", guided=True)
    alone = gradcam_core.explain_file(cat_file, target="tabby", guided=True)
    assert (found.target, found.source) == ("tabby", cat_file)
    assert np.allclose(found.raw, alone.raw, atol=1e-6)
    assert np.allclose(found.gradient, alone.gradient, atol=1e-6)
    covered = Image.open(cat_file).convert("RGB").rotate(90)
    found = compute(gradcam_core.explain, covered)
    assert np.allclose(found.raw, gradcam_core.explain(covered).raw, atol=1e-6)
    with pytest.raises(gradcam_core.UnknownLabelError, match="no such thing") as raised:
        compute(gradcam_core.explain_file, cat_file, target="no such thing")
    assert raised.value.suggestions
    with pytest.raises(FileNotFoundError):
        compute(gradcam_core.explain_file, cat_file.with_name("gone.png"))


def test_a_replica_that_dies_loses_no_question(
    compute: service.Compute, two: set[int], photos: list[Path], tmp_path: Path
) -> None:
    """One of two is killed while questions are with it; every one is answered, and rightly."""
    victim = compute(who, photos[0])
    began, never = tmp_path / "began", tmp_path / "never"

    def until_it_dies(file: Path, model: str) -> int:
        return hold(file, model, never, began) if os.getpid() == victim else os.getpid()

    with ThreadPoolExecutor(len(photos) + 1) as visitors:
        held = visitors.submit(compute, until_it_dies, photos[0])
        asked = [
            visitors.submit(compute, gradcam_core.explain_file, photo, target="tabby")
            for photo in photos * 2
        ]
        wait_for(began.exists)
        os.kill(victim, signal.SIGKILL)
        found = [each.result() for each in asked]
        assert held.result() != victim
    for photo, explanation in zip(photos * 2, found, strict=True):
        alone = gradcam_core.explain_file(photo, target="tabby")
        assert explanation.source == photo
        assert explanation.score == pytest.approx(alone.score, abs=1e-4)
        assert np.allclose(explanation.raw, alone.raw, atol=1e-5)


def test_who_comes_when_too_many_wait_is_told_so(
    compute: service.Compute, photos: list[Path], tmp_path: Path
) -> None:
    """Of 160 questions at once two replicas take four each, and 64 and more wait."""
    until = tmp_path / "until"
    settings = {"until": until, "began": tmp_path / "began"}
    with ThreadPoolExecutor(160) as visitors:
        asked = [visitors.submit(compute, hold, photo, **settings) for photo in photos * 10]
        try:
            first = next(as_completed(asked, PATIENCE))
        finally:
            until.touch()
        refused = [first, *(each for each in asked if each is not first and each.exception())]
    for each in refused:
        with pytest.raises(ValueError, match=BUSY[:20]):
            each.result()
    assert len(asked) - len(refused) >= 64
