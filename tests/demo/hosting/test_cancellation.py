"""Slow work ends when its client cancels it or disconnects."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

import gradcam_core
from demo.compute.local import LocalCompute
from demo.hosting import cancellation
from demo.hosting.cancellation import Cancelled
from demo.hosting.gradio_internals import ReportedProgress, active_progress
from gradcam_core import Query
from gradcam_core.models.backbone import Backbone
from tests.support.session import RISE, WAIT, Session, default_data


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that the network has run."""
    sizes: list[int] = []
    head_inputs = Backbone.head_inputs

    def counted(self: Backbone, pixels: Any) -> list[Any]:
        sizes.append(len(pixels))
        time.sleep(0.05)  # like a larger network
        return head_inputs(self, pixels)

    monkeypatch.setattr(Backbone, "head_inputs", counted)
    return sizes


def wait_until_started(batches: list[int], messages: Iterator[dict[str, Any]]) -> None:
    wait_for(lambda: any(message["msg"] == "progress" for message in messages))
    wait_for(lambda: batches)


def completed(messages: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers in the messages of a session, until its connection closes."""
    done = [message for message in messages if message["msg"] == "process_completed"]
    return [message["output"]["data"][0] for message in done if message["output"]["data"]]


def test_a_running_request_is_cancelled_by_its_id(address: str, batches: list[int]) -> None:
    session = Session(address)
    session.send("long", id=5, **RISE)
    with session.messages() as messages:
        wait_until_started(batches, messages)
        session.send("stop", stop=5)
        answers = completed(messages)
    assert [answer["id"] for answer in answers if answer.get("code") == "cancelled"] == [5]
    assert sum(batches) < 600


def test_another_sessions_request_is_not_cancelled(address: str, batches: list[int]) -> None:
    session, other = Session(address), Session(address)
    session.send("long", id=5, **RISE | {"method": "occlusion", "target": "tabby"})
    with session.messages() as messages:
        other.send("stop", stop=5)
        assert completed(messages)[0]["answer"]["target"] == "tabby"


def test_a_disconnect_cancels_running_and_waiting_requests(
    address: str, batches: list[int]
) -> None:
    session, leaving = Session(address), Session(address)
    session.send("long", id=1, **RISE)
    with session.messages() as messages:
        wait_until_started(batches, messages)
        leaving.send("long", id=2, **RISE | {"example": "cup"})
        with leaving.messages() as waiting:
            assert next(waiting)["rank"] == 0
    wait_for(lambda: cancellation.running() == 0)
    assert sum(batches) < 600


def test_a_disconnect_cancels_an_api_call(address: str, batches: list[int], cat_file: Path) -> None:
    with httpx.Client(base_url=address, timeout=WAIT) as client:
        files = {"files": (cat_file.name, cat_file.read_bytes())}
        path = client.post("gradio_api/upload", files=files).json()[0]
        picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
        data = default_data(address, "classify", picture=picture, method="rise")
        event = client.post("gradio_api/call/classify", json={"data": data}).json()["event_id"]
        with client.stream("GET", f"gradio_api/call/classify/{event}"):
            wait_for(lambda: batches)
        wait_for(lambda: cancellation.running() == 0)
    assert 0 < sum(batches) < 600


def test_slow_work_is_refused_in_the_quick_queue(address: str, batches: list[int]) -> None:
    session = Session(address)
    for slow in (RISE, {"task": "classification", "example": "cat", "download": True}):
        session.send("first", id=1, **slow)
        with session.messages() as messages:
            (answer,) = completed(messages)
        assert answer["code"] == "out_of_date"
    assert batches == []


def test_a_waiting_request_is_cancelled_at_once(address: str, batches: list[int]) -> None:
    session, other = Session(address), Session(address)
    other.send("long", id=1, **RISE)
    with other.messages() as running:
        wait_until_started(batches, running)
        session.send("long", id=2, **RISE | {"example": "cup"})
        with session.messages() as messages:
            assert next(messages)["rank"] == 0
            session.send("stop", stop=2)
            answers = completed(messages)
        assert cancellation.running() > 0  # the other session's request
    assert [answer["id"] for answer in answers if answer.get("code") == "cancelled"] == [2]


def test_slow_maps_are_computed_once(tmp_path: Path, batches: list[int]) -> None:
    path = tmp_path / "picture.png"
    Image.effect_mandelbrot((90, 60), (-2, -1, 1, 1), 20).convert("RGB").save(path)
    compute = LocalCompute()
    first = compute.explain(path, Query(method="occlusion"))
    passes = sum(batches)
    again = compute.explain(path, Query(method="occlusion", guided=True))
    assert sum(batches) == passes > 40
    assert (first.raw == again.raw).all()


_SLOW = [name for name, method in gradcam_core.methods().items() if method.slow]


@pytest.mark.parametrize("method", _SLOW)
def test_every_slow_method_can_be_cancelled(method: str, cat_file: Path) -> None:
    with pytest.raises(Cancelled), cancelled_after(3) as steps:
        gradcam_core.explain(cat_file, method=method)
    assert len(steps) == 4


@pytest.mark.parametrize("test", ["occlusion", "curves", "figures", "all", "sanity", "fool"])
def test_every_evaluation_can_be_cancelled(test: str, cat_file: Path) -> None:
    with pytest.raises(Cancelled), cancelled_after(3) as steps:
        LocalCompute().evaluate(cat_file, Query(), test)
    assert len(steps) == 4


def test_saving_can_be_cancelled(tmp_path: Path, cat_file: Path) -> None:
    explanation = gradcam_core.explain(cat_file)
    with pytest.raises(Cancelled), cancelled_after(3):
        explanation.save(tmp_path)
    assert [*tmp_path.iterdir()] == []


@contextmanager
def cancelled_after(count: int) -> Iterator[list[str | None]]:
    """Let the client leave after some steps of the work inside."""
    steps: list[str | None] = []

    def report(description: str | None, done: float, total: float | None) -> None:
        steps.append(description)
        if len(steps) > count:
            raise Cancelled

    with active_progress(ReportedProgress(report)):
        yield steps
