"""Every model by name: what is said of it, where it comes from, how many are held."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import transformers
from huggingface_hub import constants

import gradcam_core
from gradcam_core import describe
from gradcam_core.models import registry
from gradcam_core.models.hub import download
from tests.support import hub_server

_NOWHERE = "http://127.0.0.1:9"  # nobody listens there


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub can be reached, and nothing is cached."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", _NOWHERE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", _NOWHERE)


def _save_resnet(folder: Path) -> Path:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 8])
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(folder)
    return folder


def test_embedded_models_are_as_said_and_loaded_once() -> None:
    for info in gradcam_core.models():
        if info.download_mb == 0:
            model = gradcam_core.load(info.name)
            assert model is gradcam_core.load(info.name)
            assert (model.name, model.task) == (info.name, info.task)
            assert (model.backbone.name, model.backbone.layers) == (info.backbone, info.layers)
            assert info.guided == (not model.backbone.other_activation)
            assert describe(info.name) == (info, True)


def test_of_every_model_it_is_said_what_it_cannot_do() -> None:
    for info in gradcam_core.models():
        assert re.fullmatch(r"[A-Z].{30,200}\.", info.limits), info.name


def test_the_first_model_of_each_task_is_embedded() -> None:
    for task in registry.TASKS:
        assert gradcam_core.models(task)[0].download_mb == 0
        assert {info.task for info in gradcam_core.models(task)} == {task}


def test_unknown_model_and_task() -> None:
    with pytest.raises(ValueError, match=r"no model 'resnet'.*lite0"):
        gradcam_core.load("resnet")
    with pytest.raises(ValueError, match=r"no model 'lite0' for vqa.*lite0-vqa"):
        gradcam_core.load("lite0", "vqa")
    with pytest.raises(ValueError, match="no model 'owner/name' for captioning"):
        gradcam_core.load("owner/name", "captioning")
    with pytest.raises(ValueError, match=r"no task 'detection'.*classification"):
        gradcam_core.models("detection")
    with pytest.raises(FileNotFoundError, match="no folder /nowhere"):
        gradcam_core.load("/nowhere")


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *[("resnet50", "classification"), ("timm/resnet18.a1_in1k", "classification")],
        *[("blip-base", "captioning"), ("fastvlm-0.5b-vqa", "vqa")],
    ],
)
def test_without_the_hub_there_is_a_sentence(
    no_hub: None, cat_file: Path, name: str, task: str
) -> None:
    question = "What is this?" if task == "vqa" else None
    with pytest.raises(ConnectionError, match=r"cannot be reached.*embedded models need no"):
        gradcam_core.explain(cat_file, task, question=question, model=name)
    assert gradcam_core.explain(cat_file, task, question=question).target


def test_a_hub_that_does_not_answer_is_given_up(
    no_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        monkeypatch.setattr(download, "_PATIENCE", 0.5)
        with pytest.raises(ConnectionError, match="cannot be reached"):
            gradcam_core.load("owner/name")


_DOWNLOAD = """
import gradcam_core
from gradcam_core import describe
info, here = describe("owner/net")
print(info.licence, 0 < info.download_mb < 2, here)
gradcam_core.load("owner/net")
print(describe("owner/net")[1])
try:
    gradcam_core.load("owner/other")
except ValueError as error:
    print(error)
"""


def test_a_model_is_told_of_and_downloaded_from_the_hub(tmp_path: Path) -> None:
    folder = _save_resnet(tmp_path / "net")
    (folder / "large.bin").write_bytes(bytes(2_000_000))  # needed by nobody
    # In a process of its own, for the hub's address is read once.
    with hub_server.serve({"owner/net": folder}) as address:
        done = subprocess.run(
            [sys.executable, "-c", _DOWNLOAD],
            env=os.environ
            | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache")}
            | {"PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.splitlines() == [
        "apache-2.0 True False",
        "True",
        f"There is no model 'owner/other' on {address}, or it is private.",
    ], done.stderr
    assert not list((tmp_path / "cache").rglob("large.bin"))


def test_the_model_used_least_recently_goes(tmp_path: Path) -> None:
    one, two, three = (str(_save_resnet(tmp_path / name)) for name in ("one", "two", "three"))
    first, second = gradcam_core.load(one), gradcam_core.load(two)
    assert gradcam_core.load(one) is first
    third = gradcam_core.load(three)
    assert gradcam_core.load(one) is first
    assert gradcam_core.load(three) is third
    assert gradcam_core.load(two) is not second
    assert gradcam_core.load("lite0") is gradcam_core.load("lite0")


def test_the_docs_list_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[3]
    monkeypatch.syspath_prepend(root / "docs")
    from model_table import END, START, table

    assert START + table() + END in (root / "docs" / "models.md").read_text("utf-8")
