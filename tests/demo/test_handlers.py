"""What anybody may send to the page's own handlers, and what must never come back."""

import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest

import gradcam_core
from demo.examples import example_pictures
from demo.hosting.errors import INTERNAL_ERROR
from gradcam_core import Query

ROOT = Path(__file__).parents[2]
FILE = {"path": "app.py", "meta": {"_type": "gradio.FileData"}}
HOSTILE: list[Any] = [
    None,
    "app.py",
    [],
    {},
    [FILE],
    {"path": "", "value": FILE, "index": 0},
    {"value": [FILE], "row_value": [FILE, FILE], "index": [0, 0]},
    {"__type__": "update", "value": FILE, "label": "<img src=app.py>", "info": "app.py"},
    {"__type__": "update", "choices": ["app.py"], "value": "app.py"},
    {"index": -1, "value": 1e308},
    {"index": 2**70, "value": "app.py" * 2000},
    {"id": 1, "task": "classification", "example": FILE},
    {"id": 1, "task": "classification", "upload": str(ROOT / "app.py")},
    {"id": 1, "task": "classification", "upload": "../app.py\0"},
    {"id": 1, "task": "app.py", "example": "cat"},
    {"id": FILE, "task": "vqa", "example": "cat", "question": FILE},
    {"id": 1, "task": "vqa", "example": "cat", "question": "app.py " * 1000},
    {"id": 1, "task": "classification", "example": "cat", "target": {"__type__": "update"}},
    {"id": 1, "task": "classification", "example": "cat", "model": str(ROOT / "demo")},
    {"id": 1, "task": "classification", "example": "cat", "format": "app.py", "opacity": 9},
]


def call(address: str, index: int, data: list[Any], event: Any) -> str:
    """Call a dependency as no client would; return all that comes back."""
    session = uuid.uuid4().hex
    body = {"fn_index": index, "data": data, "event_data": event, "session_hash": session}
    # To read certificates for each of some three hundred visits would take longer than the rest.
    with httpx.Client(base_url=address, timeout=60, verify=False) as client:
        joined = client.post("gradio_api/queue/join", json=body)
        if joined.status_code != httpx.codes.OK:
            return joined.text
        lines = []
        with client.stream(
            "GET", "gradio_api/queue/data", params={"session_hash": session}
        ) as events:
            for line in events.iter_lines():
                lines.append(line)
                if '"process_completed"' in line or '"close_stream"' in line:
                    break
    return "\n".join(lines)


def dependencies(address: str) -> list[dict[str, Any]]:
    found = httpx.get(f"{address}config").json()["dependencies"]
    return [dependency for dependency in found if dependency["backend_fn"]]


@pytest.mark.slow
def test_no_handler_repeats_its_input(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """No answer contains the request's data or a file of the server."""
    known = dependencies(address)
    assert len(known) == 18  # twelve lanes of the page, what stops them, the quiz, four endpoints
    cases = [(dependency, hostile) for dependency in known for hostile in HOSTILE]
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(
            lambda case: call(address, case[0]["id"], [case[1]] * len(case[0]["inputs"]), case[1]),
            cases,
        )
        for (dependency, hostile), answer in zip(cases, answers, strict=True):
            assert "app.py" not in answer, (dependency["api_name"], hostile)
            assert "gradio_api/file" not in answer, (dependency["api_name"], hostile)
            assert INTERNAL_ERROR not in answer, (dependency["api_name"], hostile)
    assert "Traceback" not in caplog.text


def ask(address: str, lane: int, **request: Any) -> dict[str, Any]:
    """Send a request as the page does."""
    event = {"id": 7, "task": "classification", "example": "cat", **request}
    answer = call(address, lane, [], event)
    return json.loads(answer.splitlines()[-1].removeprefix("data: "))["output"]["data"][0]


def test_an_answer_is_numbers_and_small(address: str) -> None:
    answer = ask(address, 0)
    assert answer["id"] == 7
    assert "picture" not in answer
    assert answer["answer"]["gradient"] is None  # nobody looked at it
    assert len(json.dumps(answer)) < 10_000
    with_picture = ask(address, 0, new_picture=True)
    assert with_picture["picture"]["url"].startswith("data:image/jpeg;base64,")
    guided = ask(address, 0, guided=True)
    assert len(json.dumps(guided)) < 150_000


def test_what_fails_is_one_sentence_and_the_picture_is_shown_all_the_same(address: str) -> None:
    answer = ask(address, 0, target="boxr", new_picture=True)
    assert answer["code"] == "unknown_label"
    assert answer["near"][0] == "boxer"
    assert answer["picture"]["width"] == 451
    answer = ask(address, 0, model="vgg16")
    assert (answer["code"], answer["download"]["megabytes"]) == ("not_downloaded", 528)
    gone = str(Path(os.environ["GRADIO_TEMP_DIR"]) / "gone.png")
    assert ask(address, 0, example=None, upload=gone)["code"] == "gone"
    for wrong in (
        {"example": None},
        {"example": "nothing"},
        {"example": None, "upload": str(ROOT / "app.py")},
        {"question": "What is this?"},
        {"detail": 3},
        {"layer": "fc"},
        {"method": "cam", "task": "captioning"},
    ):
        answer = ask(address, 0, **wrong)
        code = "gone" if "upload" in wrong else "bad_request"
        assert (answer["id"], answer["code"]) == (7, code), wrong
        assert answer["error"].endswith("."), wrong
    for wrong in ({"colour": "jet"}, {"guided": 1}, {"method": None}):
        answer = ask(address, 0, **wrong)
        assert set(answer) == {"code", "error"}, wrong
        assert answer["code"] == "out_of_date", wrong


def test_every_option_of_a_query_can_be_sent(address: str) -> None:
    """Each has another value than its default, and comes back."""
    common = {"target": "tabby", "layer": "blocks.4", "method": "layercam", "detail": 1.5}
    sent = {**common, "model": "lite2", "guided": True}
    answer = ask(address, 0, **sent)["answer"]
    assert {name: answer[name] for name in sent} == sent
    assert (answer["layers"]["blocks.4"], answer["raw"]["h"]) == ("17 × 17", 25)
    question = {"task": "vqa", "question": "What animal is this?"}
    answer = ask(address, 0, **question)["answer"]
    assert {name: answer[name] for name in question} == question
    assert set(answer) >= {field.name for field in fields(Query)}


def test_only_methods_that_apply_are_offered(address: str) -> None:
    """What the answer says of each method is what happens."""
    for task, question in (("captioning", None), ("vqa", "What is this?")):
        query = {"task": task, "question": question}
        for name, reason in ask(address, 0, **query)["answer"]["methods"].items():
            if not gradcam_core.methods()[name].slow:
                answer = ask(address, 0, **query, method=name)
                assert answer.get("error") == reason, name


def test_every_example_is_explained(address: str) -> None:
    for name in example_pictures():
        assert "answer" in ask(address, 0, example=name), name
