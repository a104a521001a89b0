"""A signal ends the server in order: exit status 0, whatever it is doing."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file

from tests.support.program import WAIT, program
from tests.support.session import RISE, Session


def started(messages: Iterator[dict[str, Any]]) -> None:
    next(message for message in messages if message["msg"] == "process_starts")


def completed(messages: Iterator[dict[str, Any]]) -> dict[str, Any]:
    found = next(message for message in messages if message["msg"] == "process_completed")
    output: dict[str, Any] = found["output"]
    return output


@pytest.mark.slow
def test_answers_are_finished_slow_work_is_stopped_and_nothing_new_is_taken() -> None:
    quick = {"example": "palace", "task": "captioning", "detail": 2.0}
    with program() as app:
        slow, other, waiting = (Session(app.address) for _ in range(3))
        slow.send("long", id=1, **RISE | {"example": "palace"})
        with ExitStack() as stack:
            of_slow = stack.enter_context(slow.messages())
            started(of_slow)
            waiting.send("long", id=2, **RISE | {"example": "palace"})
            of_waiting = stack.enter_context(waiting.messages())
            other.send("first", id=3, **quick)
            of_other = stack.enter_context(other.messages())
            started(of_other)
            app.process.send_signal(signal.SIGTERM)
            app.wait_until(lambda: "Stopping" in app.output())
            with pytest.raises(httpx.HTTPStatusError) as refused:
                other.send("first", id=4, **quick)
            assert refused.value.response.headers["x-refused"] == "stopping"
            assert "answer" in completed(of_other)["data"][0]
            assert completed(of_slow)["data"][0]["code"] == "failed"
            assert "error" in completed(of_waiting)
            children = children_of(app.process.pid)
        assert app.process.wait(WAIT) == 0, app.output()
        assert "Traceback" not in app.output()
        app.wait_until(lambda: not alive(children))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_an_api_client_gets_its_answer_with_its_files(
    number: signal.Signals, cat_file: Path
) -> None:
    with program() as app, ThreadPoolExecutor() as pool:
        client = Client(app.address, verbose=False)
        job = client.submit(handle_file(cat_file), api_name="/caption")
        app.wait_until(lambda: "gradcam_queue_running 1.0" in app.get("metrics").text or job.done())
        assert app.stop(number) == 0, app.output()
        answer = pool.submit(job.result).result(WAIT)
        assert all(Path(file).stat().st_size for file in answer[1])


def test_a_signal_while_it_starts_ends_it_quietly() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with program(wait=False) as app:
            app.wait_until(lambda: caught(app.process.pid))
            assert app.stop(number) == 0
            assert "Traceback" not in app.output()


def children_of(process: int) -> list[int]:
    """The processes that a process has started, such as those that decode pictures."""
    threads = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for each in threads for child in each.read_text("utf-8").split()]


def alive(processes: list[int]) -> list[int]:
    return [each for each in processes if Path(f"/proc/{each}").exists()]


def caught(process: int) -> bool:
    """Whether a process handles SIGTERM by itself, as Linux says."""
    status = Path(f"/proc/{process}/status").read_text("utf-8")
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)
