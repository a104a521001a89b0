"""Attention from layer to layer, against the same by numpy from the attention that libraries tell.

The networks have random weights; those of the hub are saved and loaded by their library.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import nn
from torchvision.models import VisionTransformer

import gradcam_core
from gradcam_core import Model, wrap
from gradcam_core.image.open import open_image

_SMALL = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
# Kind -> settings, and the rows that the classes are read from.
_READ: dict[str, tuple[dict[str, Any], slice]] = {
    "ViT": (_SMALL, slice(0, 1)),
    "DeiT": (_SMALL, slice(0, 1)),
    "Beit": (_SMALL, slice(1, None)),  # the mean of the patches
}


@pytest.fixture(scope="module")
def picture(cat_file: Path) -> Image.Image:
    return open_image(cat_file)


def _saved(kind: str, folder: Path, **settings: Any) -> None:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        id2label={0: "boxer", 1: "tabby", 2: "moped"}, **settings
    )
    network = getattr(transformers, f"{kind}ForImageClassification")(config)
    for parameter in network.parameters():  # else attention is nearly the same everywhere
        nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 224}).save_pretrained(folder)


@pytest.mark.parametrize("kind", _READ)
def test_against_numpy(kind: str, picture: Image.Image, tmp_path: Path) -> None:
    settings, rows = _READ[kind]
    _saved(kind, tmp_path, **settings)
    model = gradcam_core.load(str(tmp_path), "classification")
    network = transformers.AutoModelForImageClassification.from_pretrained(
        tmp_path, attn_implementation="eager"
    ).eval()
    pixels = model.encode(picture).pixels
    output = network(pixels, output_attentions=True)
    gradients = torch.autograd.grad(output.logits[0, 1], output.attentions)
    first = output.attentions[0].shape[-1] - 14 * 14  # the patches' first token
    identity = np.eye(first + 14 * 14)
    mixed, relevant, against = identity, identity, identity
    for attention, gradient in zip(output.attentions, gradients, strict=True):
        a, g = attention[0].detach().double().numpy(), gradient[0].double().numpy()
        mixed = 0.5 * (a.mean(0) + identity) @ mixed
        relevant = relevant + np.maximum(a * g, 0).mean(0) @ relevant
        against = against + np.maximum(-a * g, 0).mean(0) @ against

    def patches(of_tokens: np.ndarray) -> np.ndarray:
        return of_tokens[rows].mean(0)[first:].reshape(14, 14)

    by_rollout = gradcam_core.explain(
        picture, target="tabby", model=model, method="attention-rollout"
    )
    assert by_rollout.score == pytest.approx(output.logits[0, 1].item(), abs=1e-4)
    np.testing.assert_allclose(by_rollout.raw, patches(mixed), rtol=1e-3)
    assert not by_rollout.raw_counterfactual.any()

    by_gradient = gradcam_core.explain(
        picture, target="tabby", model=model, method="attention-gradient"
    )
    for found, expected in (
        (by_gradient.raw, patches(relevant - identity)),
        (by_gradient.raw_counterfactual, patches(against - identity)),
    ):
        assert np.ptp(expected) > 0
        np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())


def test_attention_of_torchs_own_module(picture: Image.Image) -> None:
    """As torchvision's: the module that computes it tells no gradient of it by itself."""
    torch.manual_seed(0)
    network = VisionTransformer(224, 32, 2, 2, 24, 48, num_classes=3).eval()
    nn.init.normal_(network.heads.head.weight)
    model = wrap(network)
    pixels = model.encode(picture).pixels
    modules = [each for each in network.modules() if isinstance(each, nn.MultiheadAttention)]
    inputs: list[torch.Tensor] = []
    hooks = [each.register_forward_pre_hook(lambda m, a: inputs.append(a[0])) for each in modules]
    logits = network(pixels)
    for hook in hooks:
        hook.remove()
    identity = np.eye(50)
    mixed = identity
    for module, tokens in zip(modules, inputs, strict=True):
        _, a = module(tokens, tokens, tokens, need_weights=True)
        mixed = 0.5 * (a[0].detach().numpy() + identity) @ mixed
    found = gradcam_core.explain(picture, target=1, model=model, method="attention-rollout")
    assert found.score == pytest.approx(logits[0, 1].item(), abs=1e-4)
    np.testing.assert_allclose(found.raw, mixed[0, 1:].reshape(7, 7), rtol=1e-3)
    by_class = [
        gradcam_core.explain(picture, target=i, model=model, method="attention-gradient").raw
        for i in (0, 1)
    ]
    assert by_class[0].any()
    assert not np.allclose(by_class[0], by_class[1], rtol=0.1, atol=0)


def test_networks_without_such_attention_are_refused(
    picture: Image.Image, tmp_path: Path, lite0: Model
) -> None:
    with pytest.raises(ValueError, match="transformers, and lite0"):
        gradcam_core.explain(picture, model=lite0, method="attention-rollout")
    windows = {"embed_dim": 12, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 3, 6]}
    _saved("Swin", tmp_path, **windows)
    with pytest.raises(ValueError, match="all patches attend to each other"):
        gradcam_core.explain(picture, model=str(tmp_path), method="attention-gradient")
