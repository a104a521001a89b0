"""The app as a process of its own, as containers and proxies have it; photos and their results."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]

CATS = [f"cat {number}.png" for number in range(6)]

Start = Callable[..., tuple[subprocess.Popen[bytes], int]]


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


@contextmanager
def app_process(
    uploads: Path, folder: Path = ROOT, **settings: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `app.py` of a folder, with settings; give its process and its port once it answers."""
    port = free_port()
    settings = {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(uploads),
        **settings,
    }
    app = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=folder,
        env=os.environ | settings,
        # Shells make background processes, and their children, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        wait_for_server(app, f"http://127.0.0.1:{port}/config")
        yield app, port
    finally:
        app.kill()
        app.wait()


@pytest.fixture
def start_app(tmp_path: Path) -> Iterator[Start]:
    """Start `app.py` in a folder, with settings; see `app_process`."""
    with ExitStack() as started:

        def start(folder: Path = ROOT, **settings: str) -> tuple[subprocess.Popen[bytes], int]:
            return started.enter_context(app_process(tmp_path / "uploads", folder, **settings))

        yield start


@pytest.fixture(scope="session")
def folder(cat_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos, two of them in a subfolder, and another file."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deeper").mkdir()
    cat = Image.open(cat_file).convert("RGB")
    for number in range(6):
        name = f"{'deeper/' if number > 3 else ''}cat {number}.png"
        cat.rotate(number).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


def table(out: str | Path, kind: str = "results") -> list[dict[str, Any]]:
    """All rows, from whatever store."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gradcam_core.batch.storage import Location

    files = (Location(str(out)) / kind).files()
    return [
        row for file in files for row in pq.read_table(pa.BufferReader(file.read())).to_pylist()
    ]


def names(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(Path(row["source"]).name for row in rows)
