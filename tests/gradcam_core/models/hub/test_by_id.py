"""Image classifiers by folder or id: small networks, saved and loaded with their libraries."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from huggingface_hub import constants
from PIL import Image
from timm.models import save_for_hf
from torch import Tensor, nn

import gradcam_core
from gradcam_core import describe
from gradcam_core.image.open import open_image
from gradcam_core.models.hub.by_id import load_by_id
from tests.support import hub_cache
from tests.support.model_contract import check, hooked, near

_LABELS = ["boxer, boxer dog", "tabby", "tabby"]


def _save_timm(architecture: str, **settings: object) -> Callable[[Path], nn.Module]:
    def save(folder: Path) -> nn.Module:
        network = timm.create_model(architecture, num_classes=3, **settings)
        config = {"label_names": ["n1", "n2", "n3"]} | {
            "label_descriptions": dict(zip(["n1", "n2", "n3"], _LABELS, strict=True))
        }
        save_for_hf(
            network, folder, model_config=config, model_args=settings, safe_serialization=True
        )
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


# Name -> the layer of the last feature map, whether guided applies, how to save the network.
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
def test_the_last_feature_map_is_found(name: str, picture: Image.Image, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer, guided, save = _NETWORKS[name]
    whole = save(tmp_path)
    model = load_by_id(str(tmp_path))
    assert list(model.layers)[-1] == layer
    assert (not model.backbone.other_activation) == guided
    assert model.labels == ("boxer", "tabby (1)", "tabby (2)")
    assert model.bind(model.encode(picture)).target("boxer dog").text == "boxer"

    def run(pixels: Tensor) -> tuple[Tensor, Tensor]:
        feature_map, output = hooked(whole.get_submodule(layer), lambda: whole(pixels))
        return feature_map, (output if isinstance(output, Tensor) else output.logits)[0, 0]

    check(model, picture, "boxer", run)
    explanation = gradcam_core.explain(
        picture, target="tabby (2)", model=str(tmp_path), guided=guided
    )
    assert explanation.heatmap.shape == (300, 451)
    assert explanation.layer == layer


@pytest.mark.parametrize("name", ["timm-resnet", "convnext"])
def test_every_map_that_all_later_computation_goes_through_is_a_layer(
    name: str, picture: Image.Image, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    whole = _NETWORKS[name][2](tmp_path)
    model = load_by_id(str(tmp_path))
    layers = list(model.layers)
    assert {"timm-resnet": "layer2", "convnext": "convnext.encoder.stages.1"}[name] in layers
    # In a branch, or the same map under another name.
    assert not {"layer2.1.conv2", "layer2.1", "convnext.encoder.stages.1.layers.0"} & set(layers)
    for layer in layers[:-1:3]:
        encoded = model.encode(picture, layer)
        assert encoded.activations.shape[1:] == model.layers[layer]
        head = model.bind(encoded)
        (score,) = head.scores([head.target("boxer")])
        (gradient,) = torch.autograd.grad(score.terms.sum(), encoded.activations)
        pixels = encoded.pixels.clone().requires_grad_()
        feature_map, output = hooked(whole.get_submodule(layer), lambda p=pixels: whole(p))
        logits = output if isinstance(output, Tensor) else output.logits
        (expected,) = torch.autograd.grad(logits[0, 0], feature_map)
        assert near(encoded.activations, feature_map)
        assert near(gradient, expected)


def _class_token(tokens: Tensor) -> Tensor:
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (14, 14))


_TRANSFORMERS = {
    "timm-vit": ("blocks.10", _class_token, _save_timm("vit_tiny_patch16_224")),
    "timm-deit": (
        "blocks.10",
        lambda tokens: tokens[:, 2:].transpose(1, 2).unflatten(2, (14, 14)),
        _save_timm("deit_tiny_distilled_patch16_224"),
    ),
    "timm-swin": (
        "norm",
        lambda cells: cells.permute(0, 3, 1, 2),
        _save_timm(
            "swin_tiny_patch4_window7_224",
            **{"embed_dim": 12, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 3, 6]},
        ),
    ),
    "vit": (
        "vit.layers.1",
        _class_token,
        _save_transformers("ViT", hidden_size=24, num_hidden_layers=3, num_attention_heads=2),
    ),
    "deit": (
        "deit.layers.0",
        lambda tokens: tokens[:, 2:].transpose(1, 2).unflatten(2, (14, 14)),
        _save_transformers("DeiT", hidden_size=24, num_hidden_layers=2, num_attention_heads=2),
    ),
    "swin": (
        "swin.layernorm",
        lambda tokens: tokens.transpose(1, 2).unflatten(2, (7, 7)),
        _save_transformers("Swin", embed_dim=12, depths=[1, 1, 2, 1], num_heads=[1, 2, 3, 6]),
    ),
}


@pytest.mark.parametrize("name", _TRANSFORMERS)
def test_the_last_tokens_with_a_gradient_are_the_map(
    name: str, picture: Image.Image, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    layer, as_map, save = _TRANSFORMERS[name]
    whole = save(tmp_path)
    model = load_by_id(str(tmp_path))
    assert list(model.layers)[-1] == layer
    assert not model.convolutional

    def run(pixels: Tensor) -> tuple[Tensor, Tensor]:
        tokens, output = hooked(whole.get_submodule(layer), lambda: whole(pixels))
        return tokens, (output if isinstance(output, Tensor) else output.logits)[0, 0]

    check(model, picture, "boxer", run, as_map)
    assert gradcam_core.explain(picture, model=str(tmp_path)).remarks


def test_a_transformer_of_latents_is_explained_at_the_tokens_of_its_pixels(
    picture: Image.Image, tmp_path: Path
) -> None:
    """Its latents are no map, and no convolution makes its tokens."""
    config = transformers.PerceiverConfig(
        num_latents=5,
        d_latents=16,
        num_blocks=1,
        num_self_attends_per_block=1,
        num_self_attention_heads=2,
        num_cross_attention_heads=1,
        image_size=32,
    )
    network = transformers.PerceiverForImageClassificationFourier(config)
    network.save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(tmp_path)
    model = load_by_id(str(tmp_path))
    assert gradcam_core.explain(picture, model=model, target=0).raw.shape == (32, 32)
    latents = "perceiver.encoder.self_attends.0"
    with pytest.raises(ValueError, match=latents):
        gradcam_core.explain(picture, model=model, target=0, layer=latents)


def test_networks_without_a_feature_map_are_refused(tmp_path: Path) -> None:
    """A transformer whose only patch is the whole picture."""
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=32,
    )
    network = transformers.ViTForImageClassification(config)
    network.save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no feature map"):
        load_by_id(str(tmp_path))


def test_a_single_output_goes_through_a_sigmoid(picture: Image.Image, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model("resnet18", num_classes=1).eval()
    nn.init.normal_(whole.fc.weight)
    save_for_hf(whole, tmp_path, model_config={"label_names": ["cat"]}, safe_serialization=True)
    model = load_by_id(str(tmp_path))
    logit = whole(model.encode(picture).pixels).item()
    found = {p.text: p.probability for p in gradcam_core.explain(picture, model=model).predictions}
    assert found["cat"] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)
    assert found["not cat"] == pytest.approx(1 - found["cat"], abs=1e-6)


def test_the_problem_type_is_read_from_the_settings(picture: Image.Image, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save = _save_transformers(
        "ResNet", hidden_sizes=[8, 8, 8, 8], problem_type="multi_label_classification"
    )
    whole = save(tmp_path)
    model = load_by_id(str(tmp_path))
    logits = whole(model.encode(picture).pixels).logits[0]
    found = {p.text: p.probability for p in gradcam_core.explain(picture, model=model).predictions}
    assert found["boxer"] == pytest.approx(logits[0].sigmoid().item(), abs=1e-5)
    _save_transformers("ResNet", hidden_sizes=[8, 8, 8, 8], problem_type="regression")(tmp_path)
    with pytest.raises(ValueError, match="regression"):
        load_by_id(str(tmp_path))


@pytest.mark.parametrize(
    "settings",
    [
        {"architecture": "resnet18", "num_classes": 10**9},
        {"architecture": "resnet18", "pretrained_cfg": {"num_classes": 1e9}},
        {"architecture": "resnet18", "model_args": {"num_classes": 10**6}},
        {"model_type": "resnet", "id2label": {str(i): "" for i in range(100_001)}},
        {"model_type": "resnet", "num_labels": 10**9},
    ],
)
def test_settings_with_very_many_classes_are_refused(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(settings))
    built: list[str] = []
    monkeypatch.setattr(nn.Module, "__init__", lambda self, *args: built.append("a module"))
    with pytest.raises(ValueError, match="100,000"):
        load_by_id(str(tmp_path))
    assert not built


def test_very_large_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"x": "' + "x" * 10_000_000 + '"}')
    with pytest.raises(ValueError, match="10 MB"):
        load_by_id(str(tmp_path))


def test_a_checkpoint_without_a_classifier_is_refused(tmp_path: Path) -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 8])
    transformers.ResNetModel(config).save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="weights"):
        load_by_id(str(tmp_path))


@pytest.mark.parametrize("config", [None, "{}", "{", '{"model_type": "bert"}'])
def test_other_folders_are_refused(config: str | None, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        load_by_id(str(tmp_path))


def test_models_in_the_hubs_cache_need_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Image.Image
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    _NETWORKS["resnet"][2](hub_cache.snapshot(tmp_path, "somebody/small-resnet"))
    info, here = describe("somebody/small-resnet")
    assert here
    assert info.task == "classification"
    explanation = gradcam_core.explain(picture, model="somebody/small-resnet")
    assert explanation.model == "somebody/small-resnet"
    assert explanation.target in ("boxer", "tabby (1)", "tabby (2)")
