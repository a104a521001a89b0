"""The same on a Ray cluster, whose workers and machines may die."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="no Ray here (pip install -r requirements-scale.txt)")

from scale import on_ray
from scale.batches import Asked
from scale.places import Place
from tests.scale.conftest import CATS, ROOT, free_port, names, table

_RAY = Path(sys.executable).with_name("ray")
_SECOND = "OF_THE_SECOND_MACHINE"  # set there
_CLI = """
from scale.__main__ import _show_token, app
_show_token()  # as the command does, before Ray is there
from scale import on_ray
from tests.scale.test_on_ray import Mortal
on_ray.PART, on_ray.Explainer = 1, Mortal
app()
"""


class Mortal(on_ray.Explainer):
    """Dies, and then its machine: when a part is written, but nobody has been told of it."""

    def __init__(self, asked: Asked, out: Place) -> None:
        super().__init__(asked, out)
        self._deaths = Path(out.uri).parent

    def __call__(self, batch: Any) -> Any:
        if self._first("before"):
            os.kill(os.getpid(), signal.SIGKILL)
        told = super().__call__(batch)
        if _SECOND in os.environ and self._first("after"):
            os.kill(os.getppid(), signal.SIGKILL)  # what Ray is on a machine, and ends this too
            signal.pause()
        while not (self._deaths / "after").exists():  # so that the other gets its turn
            time.sleep(0.05)
        return told

    def _first(self, when: str) -> bool:
        try:
            (self._deaths / when).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Of somebody whose Ray has a token, and ends when it is told to."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(uuid.uuid4().hex)
    others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return others | {"HOME": str(tmp_path), "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}


@pytest.fixture
def cluster(home: dict[str, str]) -> Iterator[str]:
    """The address of one of two machines, each with a processor; "auto" does not find it."""
    address = f"127.0.0.1:{free_port()}"
    machines: list[subprocess.Popen[str]] = []

    def start(*options: str, **settings: str) -> None:
        command = [_RAY, "start", *options, "--num-cpus=1", "--block"]
        machine = subprocess.Popen(command, env=home | settings, stdout=subprocess.PIPE, text=True)
        machines.append(machine)
        assert machine.stdout is not None
        assert any("Ray runtime started" in line for line in machine.stdout)

    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # sockets want a short name
        first = ["--head", f"--port={address.partition(':')[2]}", f"--temp-dir={folder}"]
        try:
            start(*first, "--include-dashboard=false", "--disable-usage-stats")
            start(f"--address={address}", RAY_AUTH_MODE="token", **{_SECOND: "yes"})
            yield address
        finally:
            for machine in reversed(machines):
                machine.terminate()
                machine.communicate()


@pytest.mark.slow
def test_a_worker_and_a_machine_that_die_lose_no_photo_and_double_none(
    cluster: str, home: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", _CLI, "batch", folder, "--out", out, "--ray", cluster]
    done = subprocess.run(command, cwd=ROOT, env=home, capture_output=True, text=True, check=False)
    assert (tmp_path / "before").exists(), done.stderr
    assert (tmp_path / "after").exists(), done.stderr
    assert "6 explained, 1 failed" in done.stdout, done.stderr
    assert "broken.jpg is not a picture" in done.stderr
    assert names(table(out)) == CATS
    # What Ray did is done: nothing of it is left for this machine.
    command = [sys.executable, "-m", "scale", "batch", folder, "--out", out]
    here = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "7 photos, of which 6 are done" in here.stdout, here.stderr
