"""Limits of model downloads."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradcam_core
from demo.compute.local import LocalCompute
from demo.hosting import downloads
from demo.hosting.downloads import DownloadRefusedError, download_slot
from demo.hosting.settings import Settings
from demo.service import Service, model_info
from gradcam_core import Query

SPACE = {"SPACE_ID": "us/grad-cam"}


@contextlib.contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(DownloadRefusedError) as caught:
        yield
    assert caught.value.code == code


def use(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "settings", lambda: Settings(**settings))


@pytest.mark.parametrize(
    ("settings", "offered"),
    [
        ({}, True),
        ({"GRADIO_SERVER_NAME": "127.0.0.1"}, True),
        ({"GRADIO_SERVER_NAME": "0.0.0.0"}, False),
        (SPACE, False),
        (SPACE | {"GRADCAM_HUB_MODELS": "*"}, True),
        (SPACE | {"GRADCAM_HUB_MODELS": "microsoft/resnet-50, timm/*"}, True),
        ({"GRADCAM_HUB_MODELS": "microsoft/resnet-50"}, False),
        ({"GRADCAM_HUB_MODELS": ""}, False),
    ],
)
def test_which_ids_are_offered(
    settings: dict[str, str], offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(settings, monkeypatch)
    expected = contextlib.nullcontext() if offered else refused("not_offered")
    with expected:
        downloads.check_offered("timm/resnet18.a1_in1k")


def test_the_listed_models_are_offered_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    use(SPACE, monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for task in ("classification", "captioning", "vqa"):
        for info in gradcam_core.models(task):
            assert model_info(Query(task, model=info.name))[0] == info
    with refused("not_offered"):
        model_info(Query(model="timm/resnet18"))


def test_the_caches_of_models_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unfinished downloads count too."""
    monkeypatch.setattr(downloads, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (vgg,) = (info for info in gradcam_core.models() if info.name == "vgg16")
    for file in ("hub/models--a--b/blobs/x.incomplete", "torch/hub/checkpoints/y.pth"):
        (tmp_path / file).parent.mkdir(parents=True)
        with (tmp_path / file).open("wb") as sparse:
            sparse.truncate(10**9)
    for settings in ({"GRADCAM_MODELS_GB": "2.6"}, {}):
        use(settings, monkeypatch)
        downloads.check_space(vgg)
    use({"GRADCAM_MODELS_GB": "2.5"}, monkeypatch)
    with refused("no_space"):
        downloads.check_space(vgg)
    with (tmp_path / file).open("wb") as sparse:
        sparse.truncate(20 * 10**9)
    with refused("no_space"):
        downloads.check_space(vgg)
    monkeypatch.setattr(downloads, "MIN_FREE", 2**60)
    with refused("no_space"):
        downloads.check_space(vgg)


def test_downloads_block_no_other_requests(
    cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    service = Service(LocalCompute())
    with download_slot(), download_slot():
        with refused("busy"):
            service.explain(cat_file, Query(model="vgg16"), download=True)
        assert service.explain(cat_file, Query()).explanation.target == "Egyptian cat"
    with download_slot(), download_slot():  # the slots are free again
        pass
