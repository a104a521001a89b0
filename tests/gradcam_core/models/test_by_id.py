"""Image classifiers by folder or id: small networks, saved and loaded by their libraries."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import transformers
from huggingface_hub import constants
from model_contract import check, hooked
from PIL import Image
from timm.models import save_for_hf
from torch import Tensor, nn

import gradcam_core
from gradcam_core import describe
from gradcam_core.image import open_image
from gradcam_core.models.by_id import load_by_id

_LABELS = ["boxer, boxer dog", "tabby", "tabby"]


def _save_timm(architecture: str) -> Callable[[Path], nn.Module]:
    def save(folder: Path) -> nn.Module:
        network = timm.create_model(architecture, num_classes=3)
        config = {"label_names": ["n1", "n2", "n3"]} | {
            "label_descriptions": dict(zip(["n1", "n2", "n3"], _LABELS, strict=True))
        }
        save_for_hf(network, folder, model_config=config, safe_serialization=True)
        return network.eval()

    return save


def _save_transformers(kind: str, **settings: object) -> Callable[[Path], nn.Module]:
    def save(folder: Path) -> nn.Module:
        config = getattr(transformers, f"{kind}Config")(
            id2label=dict(enumerate(_LABELS)), **settings
        )
        network = getattr(transformers, f"{kind}ForImageClassification")(config)
        network.save_pretrained(folder)
        transformers.ConvNextImageProcessor(size={"shortest_edge": 224}).save_pretrained(folder)
        return network.eval()

    return save


# What the last feature map's layer is called, and how the network is made.
_NETWORKS = {
    "timm-resnet": ("layer4", True, _save_timm("resnet18")),
    "timm-mobilenet": ("blocks", False, _save_timm("mobilenetv3_small_050")),
    "timm-convnext": ("norm_pre", False, _save_timm("convnext_atto")),
    "resnet": (
        "resnet.encoder.stages.3",
        True,
        _save_transformers("ResNet", embedding_size=8, hidden_sizes=[16, 16, 32, 32]),
    ),
    "convnext": (
        "convnext.encoder.stages.3",
        False,
        _save_transformers("ConvNext", depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 16, 32]),
    ),
    "regnet": (
        "regnet.encoder.stages.3",
        False,
        _save_transformers("RegNet", depths=[1, 1, 1, 1], hidden_sizes=[32, 64, 64, 64]),
    ),
}


@pytest.fixture(scope="module")
def picture(cat_file: Path) -> Image.Image:
    return open_image(cat_file)


@pytest.mark.parametrize("name", _NETWORKS)
def test_its_last_feature_map_is_found(name: str, picture: Image.Image, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer, guided, save = _NETWORKS[name]
    whole = save(tmp_path)
    model = load_by_id(str(tmp_path))
    assert model.backbone.layers == (layer,)
    assert (not model.backbone.other_activation) == guided
    assert model.labels == ("boxer", "tabby (1)", "tabby (2)")
    target = model.target("boxer dog")
    assert target.text == "boxer"

    def run(pixels: Tensor) -> tuple[Tensor, Tensor]:
        feature_map, output = hooked(whole.get_submodule(layer), lambda: whole(pixels))
        return feature_map, (output if isinstance(output, Tensor) else output.logits)[0, 0]

    check(model, picture, target, run)
    explanation = gradcam_core.explain(
        picture, target="tabby (2)", model=str(tmp_path), guided=guided
    )
    assert explanation.heatmap.shape == (300, 451)
    assert explanation.layer == layer


@pytest.mark.parametrize(
    "save",
    [
        _save_timm("vit_tiny_patch16_224"),
        _save_timm("swin_tiny_patch4_window7_224"),
        _save_transformers("ViT", hidden_size=24, num_hidden_layers=3, num_attention_heads=2),
    ],
    ids=["timm-vit", "timm-swin", "vit"],
)
def test_what_is_no_cnn_is_refused(save: Callable[[Path], nn.Module], tmp_path: Path) -> None:
    save(tmp_path)
    with pytest.raises(ValueError, match="does not look like a CNN"):
        load_by_id(str(tmp_path))


def test_a_checkpoint_without_a_classifier_is_refused(tmp_path: Path) -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 8])
    transformers.ResNetModel(config).save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="without the weights of a classifier"):
        load_by_id(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "no config.json"),
        ("{}", "neither"),
        ("{", "cannot be used"),
        ('{"model_type": "bert"}', "cannot be used"),
    ],
)
def test_other_folders_are_refused(config: str | None, message: str, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=message):
        load_by_id(str(tmp_path))


def test_what_the_hubs_own_cache_holds_needs_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Image.Image
) -> None:
    """The folders that huggingface_hub makes, filled by hand."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--somebody--small-resnet"
    snapshot = repository / "snapshots" / ("0" * 40)
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    _NETWORKS["resnet"][2](snapshot)
    info, here = describe("somebody/small-resnet")
    assert here
    assert info.task == "classification"
    explanation = gradcam_core.explain(picture, model="somebody/small-resnet")
    assert explanation.model == "somebody/small-resnet"
    assert explanation.target in ("boxer", "tabby (1)", "tabby (2)")
