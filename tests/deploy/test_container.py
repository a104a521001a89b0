"""The Dockerfile: the files that it copies suffice, and its settings work."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from tests.support.program import ROOT, Start


@pytest.fixture(scope="module")
def steps() -> list[dict[str, str]]:
    parser = DockerfileParser(fileobj=io.BytesIO((ROOT / "deploy" / "Dockerfile").read_bytes()))
    return list(parser.structure)


def of(steps: list[dict[str, str]], instruction: str) -> list[str]:
    return [step["value"] for step in steps if step["instruction"] == instruction]


def test_the_build_sends_only_what_is_copied(steps: list[dict[str, str]]) -> None:
    ignore = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    copied = {source for step in of(steps, "COPY") for source in step.split()[:-1]}
    assert {line[1:] for line in ignore if line.startswith("!")} == copied


def test_the_image_is_slim_locked_and_not_root(steps: list[dict[str, str]]) -> None:
    (image,) = of(steps, "FROM")
    assert re.fullmatch(r"python:3\.\d+-slim", image)
    order = [step["instruction"] for step in steps]
    assert order.index("USER") < order.index("CMD")
    assert of(steps, "USER") == ["demo"]
    assert any("-c requirements.lock -r requirements.txt" in step for step in of(steps, "RUN"))


@pytest.mark.slow
def test_the_copied_files_serve_the_page(
    steps: list[dict[str, str]], start_app: Start, tmp_path: Path
) -> None:
    """In a folder of their own, with the image's settings and command."""
    image = tmp_path / "image"
    image.mkdir()
    for step in of(steps, "COPY"):
        *sources, target = step.split()
        for source in sources:
            found = ROOT / source
            if found.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(found, image / target, ignore=ignored)
            else:
                shutil.copy(found, image / target)
    assert json.loads(of(steps, "CMD")[0]) == ["python", "app.py"]
    settings = dict(pair.split("=", 1) for step in of(steps, "ENV") for pair in step.split())
    assert settings["GRADIO_SERVER_NAME"] == "0.0.0.0"
    app = start_app(image, GRADIO_SERVER_NAME="0.0.0.0", PYTHONPATH="")
    assert "Grad-CAM" in app.get("").text
    (check,) = of(steps, "HEALTHCHECK")
    _, *script = json.loads(check.partition(" CMD ")[2])
    for listening, status in ((app.port, 0), (1, 1)):
        variables = os.environ | {"GRADIO_SERVER_PORT": str(listening)}
        done = subprocess.run(
            [sys.executable, *script], cwd=image, env=variables, check=False, capture_output=True
        )
        assert done.returncode == status, done.stderr
    assert app.stop(signal.SIGTERM) == 0  # what `docker stop` sends
