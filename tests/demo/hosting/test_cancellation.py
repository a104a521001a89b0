"""Long work, and what ends it: the visitor says stop, or leaves."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from demo.compute import service
from demo.hosting import cancellation as stopping
from gradcam_core.models.backbone import Backbone
from tests.support.visits import RISE, WAIT, Visit


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many inputs the network was asked about, batch by batch."""
    batches: list[int] = []
    features_of_each = Backbone.features_of_each

    def counted(self: Backbone, pixels: Any) -> list[Any]:
        batches.append(len(pixels))
        time.sleep(0.05)  # as a larger network would
        return features_of_each(self, pixels)

    monkeypatch.setattr(Backbone, "features_of_each", counted)
    return batches


def started(asked: list[int], messages: Iterator[dict[str, Any]]) -> None:
    wait_for(lambda: any(message["msg"] == "progress" for message in messages))
    wait_for(lambda: asked)


def test_a_request_is_stopped_by_its_id(address: str, asked: list[int]) -> None:
    visit = Visit(address)
    visit.ask("long", id=5, **RISE)
    with visit.listening() as messages:
        started(asked, messages)
        visit.ask("stop", stop=5)
        done = [message for message in messages if message["msg"] == "process_completed"]
    answers = [message["output"]["data"] for message in done]
    assert [{"id": 5, "stopped": True, "error": "Stopped."}] in answers
    assert sum(asked) < 600


def test_another_visitors_request_is_not_stopped(address: str, asked: list[int]) -> None:
    visit, other = Visit(address), Visit(address)
    visit.ask("long", id=5, **RISE | {"method": "occlusion", "target": "tabby"})
    with visit.listening() as messages:
        other.ask("stop", stop=5)
        done = [message for message in messages if message["msg"] == "process_completed"]
    assert done[0]["output"]["data"][0]["answer"]["target"] == "tabby"


def test_who_leaves_costs_nothing_more(address: str, asked: list[int]) -> None:
    """What runs stops; what waits is never begun."""
    visit, leaver = Visit(address), Visit(address)
    visit.ask("long", id=1, **RISE)
    with visit.listening() as messages:
        started(asked, messages)
        leaver.ask("long", id=2, **RISE | {"example": "cup"})
        with leaver.listening() as waiting:
            assert next(waiting)["rank"] == 0
    wait_for(lambda: not stopping._running)
    assert sum(asked) < 600


def test_who_calls_the_api_and_leaves_costs_nothing_more(
    address: str, asked: list[int], cat_file: Path
) -> None:
    with httpx.Client(base_url=address, timeout=WAIT) as client:
        files = {"files": (cat_file.name, cat_file.read_bytes())}
        path = client.post("gradio_api/upload", files=files).json()[0]
        picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
        data = [picture, None, None, "jet", 0.5, None, "rise"]
        event = client.post("gradio_api/call/classify", json={"data": data}).json()["event_id"]
        with client.stream("GET", f"gradio_api/call/classify/{event}"):
            wait_for(lambda: asked)
        wait_for(lambda: not stopping._running)
    assert 0 < sum(asked) < 600


def test_what_takes_long_holds_nobody_up(address: str) -> None:
    visit = Visit(address)
    for slow in (RISE, {"task": "classification", "example": "cat", "download": True}):
        visit.ask("first", id=1, **slow)
        with visit.listening() as messages:
            done = [message for message in messages if message["msg"] == "process_completed"]
        assert "lane of its own" in done[0]["output"]["data"][0]["error"]


def test_a_request_that_waits_is_stopped_at_once(address: str, asked: list[int]) -> None:
    visit, other = Visit(address), Visit(address)
    other.ask("long", id=1, **RISE)
    with other.listening() as running:
        started(asked, running)
        visit.ask("long", id=2, **RISE | {"example": "cup"})
        with visit.listening() as messages:
            assert next(messages)["rank"] == 0
            visit.ask("stop", stop=2)
            done = [message for message in messages if message["msg"] == "process_completed"]
        assert stopping._running  # the other one's still runs
    answers = [message["output"]["data"] for message in done]
    assert [{"id": 2, "stopped": True, "error": "Stopped."}] in answers


def test_slow_maps_are_computed_once(tmp_path: Path, asked: list[int]) -> None:
    path = tmp_path / "picture.png"
    Image.effect_mandelbrot((90, 60), (-2, -1, 1, 1), 20).convert("RGB").save(path)
    first = service.explain(path, service.Wanted("classification", method="occlusion"))
    passes = sum(asked)
    again = service.explain(path, service.Wanted("classification", method="occlusion", guided=True))
    assert sum(asked) == passes > 40
    assert (first.explanation.raw == again.explanation.raw).all()
