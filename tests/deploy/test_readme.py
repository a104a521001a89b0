"""The commands and the Python code in README.md run as they stand."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from tests.support.app_process import ROOT

README = (ROOT / "README.md").read_text("utf-8")
# Needs a network, a cluster, or annotated boxes.
_NOT_HERE = re.compile(r"s3://|--ray |vgg16|boxes/")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [
    line.partition("  #")[0].strip()
    for block in blocks("sh")
    for line in block.splitlines()
    if line.startswith("gradcam ") and not _NOT_HERE.search(line)
]


@pytest.fixture
def photos(tmp_path: Path, cat_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The photos that the README names, in the working directory."""
    for name in ("cat.jpg", "photos/cat.jpg", "nurses/cat.jpg", "doctors/cat.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(cat_file, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(photos: Path, command: str) -> None:
    _, *arguments = shlex.split(command)
    subprocess.run([sys.executable, "-m", "gradcam_core", *arguments], check=True)


@pytest.mark.slow
def test_the_python_code_runs_from_top_to_bottom(photos: Path) -> None:
    """In one session; the reader has a network with inputs and targets, and a mask."""
    network = torchvision.models.resnet18(num_classes=2)
    names = {"network": network, "inputs": torch.rand(2, 3, 64, 64), "targets": [0, 1]}
    names |= {"mask": np.eye(300, 451, dtype=bool)}
    for block in blocks("python"):
        if "Client(" not in block:
            exec(compile(block, "README.md", "exec"), names)


def test_there_are_commands_and_code() -> None:
    assert len(COMMANDS) > 5
    assert blocks("python")
