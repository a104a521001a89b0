"""The log: what an operator sees."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from demo.hosting import logs
from tests.support.program import Program, program
from tests.support.session import Session

_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING|ERROR) [\w.]+: ")


@pytest.fixture(scope="module")
def app() -> Iterator[Program]:
    with program(GRADCAM_LOG="json") as running:
        yield running


def lines(app: Program) -> list[dict[str, Any]]:
    """All lines, each of which is JSON."""
    return [json.loads(line) for line in app.output().splitlines()]


@pytest.mark.slow
def test_the_facts_of_the_start(app: Program) -> None:
    (start,) = (line for line in lines(app) if line["message"] == "Started.")
    assert {"time", "level", "version", "models", "queue", "uploads_gb", "public"} <= start.keys()
    assert str(app.port) in start["address"]
    assert "share" not in app.output()


@pytest.mark.slow
def test_a_line_for_every_request_that_is_refused_or_fails(app: Program) -> None:
    before = len(lines(app))
    page = Session(app.address)
    path = "none\x1b[31m\nWARNING forged" + "x" * 1000
    app.get(path.replace("\n", "%0A").replace("\x1b", "%1B"))
    app.get("", Host="evil.example")
    httpx.post(f"{app.address}gradio_api/queue/join", content=b"no json")
    httpx.post(f"{app.address}gradio_api/upload", headers={"Origin": "https://evil.example"})
    page.answer("first", id=1, example="none")
    page.answer("first", id=2, example="cat", target="\x1b[31mno\nclass")
    page.answer("first", wrong=1)
    client = Client(app.address, verbose=False)
    for given in ({"picture": None}, {"picture": None, "colour_map": "x" * 2000}):
        with pytest.raises(AppError):
            client.predict(**given, api_name="/classify")
    found = lines(app)[before:]
    refused = [line["code"] for line in found if line["message"] == "Refused."]
    assert refused == ["route", "host", "invalid", "origin"]
    failed = [line["code"] for line in found if line["message"] == "Failed."]
    assert failed == ["bad_request", "unknown_label", "out_of_date", *["endpoint"] * 2]
    for line in found:
        assert line["address"] == "127.0.0.1"
        assert line["level"] == "WARNING"
        assert len(json.dumps(line)) < 1000


def test_a_line_of_text_cannot_be_forged(capsys: pytest.CaptureFixture[str]) -> None:
    before, level = logging.root.handlers[:], logging.root.level
    evil = "\x1b[31m\r\n2026-11-29T00:00:00.000Z ERROR demo: forged \u202e\u2028\x85 end"
    try:
        logs.configure("text")
        logger = logging.getLogger("demo.test")
        logs.write(logger, logging.WARNING, evil, path=evil)
        try:
            raise ValueError(evil)
        except ValueError:
            logger.exception("failed")
    finally:
        logging.root.handlers[:] = before
        logging.root.setLevel(level)
        logging.captureWarnings(False)
    written = capsys.readouterr().err
    assert not set("\x1b\r\u202e\u2028\x85") & set(written)
    for line in written.splitlines():
        assert _LINE.match(line) or line.startswith("    "), line
    assert sum(bool(_LINE.match(line)) for line in written.splitlines()) == 2


@pytest.mark.slow
def test_text_is_the_default() -> None:
    with program() as app:
        app.get("none")
        assert app.stop() == 0
        assert all(_LINE.match(line) for line in app.output().splitlines()), app.output()
        assert "Stopped." in app.output().splitlines()[-1]
        assert 'path="/none"' in app.output() or "path=/none" in app.output()
