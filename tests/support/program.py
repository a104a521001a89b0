"""`python app.py` as a process whose output can be read while it runs."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
WAIT = 180  # seconds; the machine may be busy


def free_port() -> int:
    """Return an unused port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def wait_for_server(process: subprocess.Popen[Any], address: str) -> None:
    """Wait until a server answers; fail if its process ends before."""
    while True:
        assert process.poll() is None
        try:
            httpx.get(address, timeout=30)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return


class Program:
    """A running `app.py`.

    Attributes:
        port: What it listens on.
        address: Of the page.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: Path) -> None:
        self.process, self.port = process, port
        self.address = f"http://127.0.0.1:{port}/"
        self._output = output

    def output(self) -> str:
        """What it has written so far, to both streams."""
        return self._output.read_text("utf-8")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < end, self.output()
            time.sleep(0.05)

    def wait_until_ready(self) -> None:
        """Wait until the models are loaded."""

        def ready() -> bool:
            assert self.process.poll() is None, self.output()
            return "Ready." in self.output()

        self.wait_until(ready)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.address}{path}", headers=headers, timeout=WAIT)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(WAIT)


@contextmanager
def program(folder: Path = ROOT, *, wait: bool = True, **settings: str) -> Iterator[Program]:
    """Run `app.py` with settings.

    Args:
        folder: Where `app.py` is.
        wait: Whether to wait until it is ready.
        settings: Its environment variables, besides those of the tests.
    """
    port = int(settings.get("GRADIO_SERVER_PORT", free_port()))
    with tempfile.TemporaryDirectory() as uploads:
        output = Path(uploads) / "output"
        given = {
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_TEMP_DIR": uploads,
            "OMP_NUM_THREADS": "1",
        }
        with output.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=folder,
                env=os.environ | given | settings,
                stdout=written,
                stderr=subprocess.STDOUT,
                # Shells make background processes, and their children, ignore Ctrl-C.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            )
        try:
            running = Program(process, port, output)
            if wait:
                running.wait_until_ready()
            yield running
        finally:
            process.kill()
            process.wait()


Start = Callable[..., Program]


@pytest.fixture
def start_app() -> Iterator[Start]:
    """Start `app.py`, also several times; see `program`."""
    with ExitStack() as started:
        yield lambda *where, **settings: started.enter_context(program(*where, **settings))
