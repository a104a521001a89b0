"""The page on Ray Serve: two replicas on this machine, one of which is killed."""

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

pytest.importorskip("ray.serve", reason="no Ray here (pip install -r requirements-ray.txt)")

import ray
from ray import cloudpickle, serve

import gradcam_core
from demo.compute.local import LocalCompute
from demo.compute.ray_replica import Step
from demo.compute.ray_serve import BUSY, OTHERS, RayServeCompute, Size, build, networks
from demo.hosting.cancellation import Cancelled
from demo.hosting.gradio_internals import ReportedProgress, active_progress
from gradcam_core import Query, batch_size
from gradcam_core.models.backbone import Backbone
from tests.support.page import CHROMIUM_OPTIONS, check_opening_and_upload, shows
from tests.support.program import free_port

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
    serve.run(build(Size(max_replicas=2)))
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


@pytest.fixture(scope="module")
def compute(address: str) -> RayServeCompute:
    """As the page has it."""
    names = {*networks().values(), OTHERS}
    return RayServeCompute({name: serve.get_deployment_handle(name, "default") for name in names})


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
    compute: RayServeCompute, photos: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> set[int]:
    """The replicas' processes; eight calls end once there are two."""
    meeting = partial(compute.call, meet, query=Query(), present=tmp_path_factory.mktemp("present"))
    with ThreadPoolExecutor(8) as visitors:
        return {*visitors.map(meeting, photos[:8])}


def who(compute: LocalCompute, file: Path, query: Query) -> int:
    """Return the process that computes."""
    return os.getpid()


def meet(compute: LocalCompute, file: Path, query: Query, present: Path) -> int:
    """Return the same once another process is called, too."""
    (present / str(os.getpid())).touch()
    wait_for(lambda: len(list(present.iterdir())) > 1)
    return os.getpid()


def hold(compute: LocalCompute, file: Path, query: Query, until: Path, began: Path) -> int:
    """Return the same once the file `until` exists; creates `began` before it waits."""
    began.touch()
    wait_for(until.exists)
    return os.getpid()


def without_end(compute: LocalCompute, file: Path, query: Query, ended: Path) -> None:
    try:
        for _ in tqdm(count()):
            time.sleep(0.02)
    finally:
        ended.touch()


@contextmanager
def shown_to(tell: Callable[[Step], None]) -> Iterator[None]:
    """Report the bars of tqdm, as the page does."""
    with active_progress(ReportedProgress(lambda *step: tell(Step(*step)))):
        yield


def watch(compute: LocalCompute, file: Path, query: Query, log: Path) -> None:
    """Log the batch size of each pass of the process through a CNN."""
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
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        expect.set_options(timeout=WAIT)
        check_opening_and_upload(page, address, cat_file)
        for tab, target in (
            ("Captioning", gradcam_core.explain(cat_file, "captioning").target),
            ("VQA", gradcam_core.explain(cat_file, "vqa", question="What is this?").target),
        ):
            page.get_by_role("tab", name=tab).click()
            shows(page, target)
        browser.close()


def test_a_second_replica_starts_under_load(two: set[int]) -> None:
    assert len(two - {os.getpid()}) == 2


def test_a_picture_goes_where_its_feature_map_is(
    compute: RayServeCompute, two: set[int], photos: list[Path]
) -> None:
    first = [compute.call(who, photo, query=Query()) for photo in photos]
    assert set(first) == two
    assert [compute.call(who, photo, query=Query()) for photo in photos] == first


def test_each_network_has_replicas_of_its_own_from_its_first_call(
    compute: RayServeCompute, two: set[int], cat_file: Path, tmp_path: Path
) -> None:
    running = serve.status().applications["default"].deployments
    assert not running["EfficientNet-Lite2"].replica_states
    queries = [Query(model="lite2"), Query("captioning", model="lite2-caption")]
    of_lite2 = {compute.call(who, cat_file, query=query) for query in queries}
    assert len(of_lite2) == 1
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(tmp_path)
    query = Query(model=str(tmp_path))
    found, alone = compute.explain(cat_file, query), LocalCompute().explain(cat_file, query)
    assert np.allclose(found.raw, alone.raw, atol=1e-6)
    assert compute.describe(query) == LocalCompute().describe(query)
    other = compute.call(who, cat_file, query=query)
    assert len(two | of_lite2 | {other}) == 4


def test_waiting_photos_go_through_the_cnn_together(
    compute: RayServeCompute, photos: list[Path], tmp_path: Path
) -> None:
    query = Query(model="lite2")
    compute.call(watch, photos[0], query=query, log=tmp_path / "passes")
    angles = count(1)

    def two_went_together() -> bool:
        new = [tmp_path / f"{next(angles)}.png" for _ in range(8)]
        for file in new:
            Image.open(photos[0]).rotate(int(file.stem)).save(file)
        with ThreadPoolExecutor(8) as visitors:
            found = [*visitors.map(partial(compute.explain, query=query), new)]
        for file, explanation in zip(new, found, strict=True):
            alone = gradcam_core.explain(file, model="lite2")
            assert explanation.target == alone.target
            assert np.allclose(explanation.raw, alone.raw, atol=1e-5)
        passes = {int(line) for line in (tmp_path / "passes").read_text().split()}
        return max(passes) == batch_size()

    wait_for(two_went_together)


def test_slow_work_shows_its_progress(compute: RayServeCompute, cat_file: Path) -> None:
    slow, local = Query(method="occlusion"), LocalCompute()
    there: list[Step] = []
    with shown_to(there.append):
        found = compute.explain(cat_file, slow)
    here: list[Step] = []
    with shown_to(here.append):
        alone = local.explain(cat_file, slow)
    assert np.allclose(found.raw, alone.raw, atol=1e-5)
    for bar in {(step.description, step.total) for step in here}:
        done = [
            {step.done for step in steps if (step.description, step.total) == bar}
            for steps in (there, here)
        ]
        assert max(done[0]) == max(done[1])
        assert len(done[0]) == len(done[1])
    found = compute.evaluate(cat_file, Query(), "occlusion")
    assert found["sentence"] == local.evaluate(cat_file, Query(), "occlusion")["sentence"]


def test_slow_work_ends_where_nobody_waits(
    compute: RayServeCompute, cat_file: Path, tmp_path: Path
) -> None:
    def stop_soon(step: Step) -> None:
        if step.done > 3:
            raise Cancelled

    with shown_to(stop_soon), pytest.raises(Cancelled):
        compute.call(without_end, cat_file, query=Query(), slow=True, ended=tmp_path / "ended")
    wait_for((tmp_path / "ended").exists)


def test_answers_and_errors_are_those_of_one_machine(
    compute: RayServeCompute, cat_file: Path
) -> None:
    query = Query(target="tabby", guided=True, detail=1.5)
    found, alone = compute.explain(cat_file, query), LocalCompute().explain(cat_file, query)
    assert (found.target, found.source, found.query) == ("tabby", cat_file, alone.query)
    assert np.allclose(found.raw, alone.raw, atol=1e-6)
    assert np.allclose(found.gradient, alone.gradient, atol=1e-6)
    occluded = Image.open(cat_file).convert("RGB").rotate(90)
    found = compute.explain(occluded, Query())
    assert np.allclose(found.raw, gradcam_core.explain(occluded).raw, atol=1e-6)
    suggested = compute.suggest(cat_file, Query(), "cat")
    assert suggested[0].text == LocalCompute().suggest(cat_file, Query(), "cat")[0].text
    made = compute.channels(cat_file, Query("captioning"), word=1)
    here = LocalCompute().channels(cat_file, Query("captioning"), word=1)
    assert (made["word"], made["active"]) == ("cat", here["active"])
    with pytest.raises(ValueError, match="HiResCAM"):
        compute.channels(cat_file, Query(method="hirescam"))
    with pytest.raises(gradcam_core.UnknownLabelError, match="no such thing") as raised:
        compute.explain(cat_file, Query(target="no such thing"))
    assert raised.value.suggestions
    with pytest.raises(FileNotFoundError):
        compute.explain(cat_file.with_name("gone.png"), Query())


def test_a_dying_replica_loses_no_call(
    compute: RayServeCompute, two: set[int], photos: list[Path], tmp_path: Path
) -> None:
    """One of two is killed with calls in it; every call is answered, and rightly."""
    victim = compute.call(who, photos[0], query=Query())
    began, never = tmp_path / "began", tmp_path / "never"

    def until_it_dies(compute: LocalCompute, file: Path, query: Query) -> int:
        if os.getpid() == victim:
            return hold(compute, file, query, never, began)
        return os.getpid()

    with ThreadPoolExecutor(len(photos) + 1) as visitors:
        held = visitors.submit(compute.call, until_it_dies, photos[0], query=Query())
        calls = [
            visitors.submit(compute.explain, photo, Query(target="tabby")) for photo in photos * 2
        ]
        wait_for(began.exists)
        os.kill(victim, signal.SIGKILL)
        found = [each.result() for each in calls]
        assert held.result() != victim
    for photo, explanation in zip(photos * 2, found, strict=True):
        alone = gradcam_core.explain(photo, target="tabby")
        assert explanation.source == photo
        assert explanation.score == pytest.approx(alone.score, abs=1e-4)
        assert np.allclose(explanation.raw, alone.raw, atol=1e-5)


def test_too_many_calls_are_refused(
    compute: RayServeCompute, photos: list[Path], tmp_path: Path
) -> None:
    """Of 160 calls at once two replicas take four each, and 64 or more wait."""
    until = tmp_path / "until"
    holding = partial(compute.call, hold, query=Query(), until=until, began=tmp_path / "began")
    with ThreadPoolExecutor(160) as visitors:
        calls = [visitors.submit(holding, photo) for photo in photos * 10]
        try:
            first = next(as_completed(calls, PATIENCE))
        finally:
            until.touch()
        refused = [first, *(each for each in calls if each is not first and each.exception())]
    for each in refused:
        with pytest.raises(ValueError, match=BUSY):
            each.result()
    assert len(calls) - len(refused) >= 64
