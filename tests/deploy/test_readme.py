"""The commands and the Python code in README.md run as they stand; what Spaces reads in it."""

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

import gradcam_core
from deploy.space_rehearsal import front_matter
from gradcam_core.models.hub import blip
from gradcam_core.models.hub.download import cached_hub_folder
from tests.support import hub_cache
from tests.support.program import ROOT

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


def test_a_space_has_a_strong_model_for_each_kind_of_text_without_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the build of a Space downloads is all that the model needs to count as here."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    preloaded = front_matter(ROOT / "README.md")["preload_from_hub"]
    assert all(len(line.split()) == 2 for line in preloaded), preloaded  # else TensorFlow's, too
    files = dict(line.split() for line in preloaded)
    for checkpoint in (blip.CAPTIONING, blip.VQA):
        assert cached_hub_folder(checkpoint.repository) is None
        folder = hub_cache.snapshot(tmp_path, checkpoint.repository)
        folder.mkdir(parents=True)
        for name in files[checkpoint.repository].split(","):
            (folder / name).touch()
        assert cached_hub_folder(checkpoint.repository) == folder
        assert gradcam_core.describe(checkpoint.info.name)[1]


def test_the_front_matter_has_what_the_hub_documents() -> None:
    """See https://huggingface.co/docs/hub/spaces-config-reference."""
    settings = front_matter(ROOT / "README.md")
    documented = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version"}
    documented |= {"suggested_hardware", "app_file", "models", "tags", "preload_from_hub"}
    documented |= {"license", "short_description", "thumbnail"}
    assert settings.keys() <= documented
    assert settings["suggested_hardware"] in ("cpu-basic", "cpu-upgrade")
    assert "visual-question-answering" in settings["tags"]
