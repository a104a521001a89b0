"""All models by name: facts, downloads, and the cache in memory."""

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
from gradcam_core.models.info import TASKS
from gradcam_core.query import Query
from tests.support import hub_server

_NOWHERE = "http://127.0.0.1:9"  # no server there


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub can be reached, and no file is cached."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", _NOWHERE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", _NOWHERE)


def _save_resnet(folder: Path) -> Path:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 8])
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(folder)
    return folder


def test_embedded_models_match_their_entries_and_are_loaded_once() -> None:
    for info in gradcam_core.models():
        if info.download_mb == 0:
            model = gradcam_core.load(info.name)
            assert model is gradcam_core.load(info.name)
            assert (model.name, model.task) == (info.name, info.task)
            assert (model.backbone.name, model.backbone.layers) == (info.backbone, info.layers)
            assert info.guided == (not model.backbone.other_activation)
            assert describe(info.name) == (info, True)


def test_every_model_has_limits_in_sentences() -> None:
    for info in gradcam_core.models():
        assert re.fullmatch(r"[A-Z].{30,250}\.", info.limits), info.name


def test_published_accuracy_of_the_embedded_classifiers() -> None:
    for name, top1 in (("lite0", "75.1"), ("lite2", "77.6")):
        assert f" {top1} %" in describe(name)[0].limits


def test_the_default_of_each_task_is_its_first_model_and_embedded() -> None:
    for task in TASKS:
        default = registry.default_model(task)
        assert default == gradcam_core.models(task)[0]
        assert registry.is_embedded(default.name)
        assert {info.task for info in gradcam_core.models(task)} == {task}
        assert Query(task).model_name == default.name


def test_unknown_model_and_task() -> None:
    with pytest.raises(ValueError, match=r"resnet.*lite0"):
        gradcam_core.load("resnet")
    with pytest.raises(ValueError, match=r"lite0.*vqa.*lite0-vqa"):
        gradcam_core.load("lite0", "vqa")
    with pytest.raises(ValueError, match=r"owner/name.*captioning"):
        gradcam_core.load("owner/name", "captioning")
    with pytest.raises(ValueError, match=r"detection.*classification"):
        gradcam_core.models("detection")
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        gradcam_core.load("/nowhere")


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *[("resnet50", "classification"), ("timm/resnet18.a1_in1k", "classification")],
        *[("blip-base", "captioning"), ("fastvlm-0.5b-vqa", "vqa")],
    ],
)
def test_without_the_hub_only_embedded_models_work(
    no_hub: None, cat_file: Path, name: str, task: str
) -> None:
    question = "What is this?" if task == "vqa" else None
    with pytest.raises(ConnectionError):
        gradcam_core.explain(cat_file, task, question=question, model=name)
    assert gradcam_core.explain(cat_file, task, question=question).target


def test_a_hub_that_does_not_answer_times_out(
    no_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(download, "TIMEOUT", 0.5)
        with pytest.raises(ConnectionError, match="owner/name"):
            gradcam_core.load("owner/name")


_DOWNLOAD = """
import gradcam_core
from gradcam_core import describe
info, downloaded = describe("owner/net")
print(info.licence, 0 < info.download_mb < 2, downloaded)
gradcam_core.load("owner/net")
print(describe("owner/net")[1])
try:
    gradcam_core.load("owner/other")
except ValueError as error:
    print("owner/other" in str(error))
"""


@pytest.mark.slow
def test_a_model_is_described_and_downloaded_from_the_hub(tmp_path: Path) -> None:
    folder = _save_resnet(tmp_path / "net")
    (folder / "large.bin").write_bytes(bytes(2_000_000))  # not needed
    # In another process, because the hub's address is read on import.
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
        "True",
    ], done.stderr
    assert not list((tmp_path / "cache").rglob("large.bin"))


def test_the_least_recently_used_model_is_dropped(tmp_path: Path) -> None:
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
