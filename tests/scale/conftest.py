"""The app as a process of its own, as containers and proxies have it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]

Start = Callable[..., tuple[subprocess.Popen[bytes], int]]


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def start_app(tmp_path: Path) -> Iterator[Start]:
    """Start `app.py` in a folder, with settings; give its process and its port once it answers."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path = ROOT, **settings: str) -> tuple[subprocess.Popen[bytes], int]:
        port = free_port()
        settings = {
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_TEMP_DIR": str(tmp_path / "uploads"),
            **settings,
        }
        app = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=os.environ | settings)
        started.append(app)
        while True:
            assert app.poll() is None
            try:
                httpx.get(f"http://127.0.0.1:{port}/config", timeout=30)
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                return app, port

    yield start
    for app in started:
        app.kill()
        app.wait()
