"""What visitors may have downloaded from the hubs."""

import contextlib
from pathlib import Path

import pytest

import gradcam_core
from demo.compute import service
from demo.hosting import downloads

SPACE = {"SPACE_ID": "us/grad-cam"}


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
def test_which_ids_are_offered(settings: dict[str, str], offered: bool) -> None:
    said = contextlib.nullcontext() if offered else pytest.raises(ValueError, match="not offer")
    with said:
        downloads.check_allowed("timm/resnet18.a1_in1k", settings)


def test_the_listed_models_are_offered_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", SPACE["SPACE_ID"])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for task in ("classification", "captioning", "vqa"):
        for info in gradcam_core.models(task):
            assert service.model_info(info.name, task)[0] == info
    with pytest.raises(ValueError, match="does not offer timm/resnet18"):
        service.model_info("timm/resnet18", "classification")


def test_there_is_room_for_so_many_bytes_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the caches counts, also of a download that was broken off."""
    monkeypatch.setattr(downloads, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (vgg,) = (info for info in gradcam_core.models() if info.name == "vgg16")
    for file in ("hub/models--a--b/blobs/x.incomplete", "torch/hub/checkpoints/y.pth"):
        (tmp_path / file).parent.mkdir(parents=True)
        with (tmp_path / file).open("wb") as sparse:
            sparse.truncate(10**9)
    downloads.check_room(vgg, {"GRADCAM_MODELS_GB": "2.6"})
    downloads.check_room(vgg, {})
    with pytest.raises(ValueError, match=r"no room for VGG-16 \(528 MB\)"):
        downloads.check_room(vgg, {"GRADCAM_MODELS_GB": "2.5"})
    with (tmp_path / file).open("wb") as sparse:
        sparse.truncate(20 * 10**9)
    with pytest.raises(ValueError, match="no room"):
        downloads.check_room(vgg, SPACE)
    monkeypatch.setattr(downloads, "_FREE", 2**60)
    with pytest.raises(ValueError, match="no room"):
        downloads.check_room(vgg, {})


def test_downloads_hold_up_nobody_else(
    cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with downloads.turn(), downloads.turn():
        with pytest.raises(ValueError, match="2 models are being downloaded already"):
            service.explain(cat_file, service.Wanted("classification", model="vgg16"))
        assert (
            service.explain(cat_file, service.Wanted("classification")).explanation.target
            == "Egyptian cat"
        )
    with downloads.turn(), downloads.turn():  # they were given back
        pass
