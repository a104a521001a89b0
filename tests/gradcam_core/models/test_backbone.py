"""A chain of stages, cut anywhere, is the whole chain."""

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.image.placement import WHOLE_PICTURE, Placement
from gradcam_core.models.backbone import Backbone, device
from gradcam_core.models.wrapped.wrap import wrap


def _grey(image: Image.Image) -> tuple[Tensor, Placement]:
    return torch.full((1, 3, 32, 32), image.getpixel((0, 0))[0] / 255), WHOLE_PICTURE


@pytest.fixture
def chain() -> Backbone:
    torch.manual_seed(0)
    stages = {
        "one": nn.Conv2d(3, 4, 3, 2),
        "between": nn.Dropout(0.9),
        "two": nn.Conv2d(4, 5, 3, 2),
        "three": nn.ReLU(),
    }
    return Backbone("chain", stages, _grey, ("one", "two", "three"))


def test_from_a_layer_on_it_is_the_whole(chain: Backbone) -> None:
    pixels = torch.randn(1, 3, 32, 32)
    whole = chain.head_input(pixels)
    for layer in chain.layers:
        encoded = chain.encode_pixels(pixels, layer)
        assert torch.equal(encoded.head_input, whole)
        assert torch.equal(chain.from_layer(encoded.activations, layer), whole)
        assert encoded.activations.shape[1:] == chain.shapes[layer]
        assert encoded.activations.is_leaf
        assert encoded.activations.requires_grad
        assert encoded.has_graph
        (gradient,) = torch.autograd.grad(encoded.head_input.sum(), encoded.activations)
        assert gradient.shape == encoded.activations.shape
        assert not encoded.without_graph().has_graph or layer == chain.layers[-1]
    batch = torch.cat([pixels, -pixels])
    first, second = chain.head_inputs(batch)
    assert torch.allclose(first, whole, atol=1e-6)
    assert torch.allclose(second, chain.head_input(-pixels), atol=1e-6)


def test_it_is_frozen_and_its_last_layer_is_the_default(chain: Backbone) -> None:
    assert not any(p.requires_grad for stage in chain.stages.values() for p in stage.parameters())
    assert not any(stage.training for stage in chain.stages.values())
    assert chain.encode(Image.new("RGB", (8, 8), "white")).layer == "three"


@pytest.mark.parametrize("layer", ["between", "four", nn.ReLU()])
def test_other_layers_are_refused(chain: Backbone, layer: str | nn.Module) -> None:
    with pytest.raises(ValueError, match=r"chain has no layer '(between|four|ReLU)'.*one, two"):
        chain.encode(Image.new("RGB", (8, 8)), layer)


@pytest.mark.skipif(device().type != "cpu", reason="a GPU's networks keep their layout")
def test_networks_are_channels_last_but_wrapped_ones_keep_their_layout(chain: Backbone) -> None:
    def channels_last(tensor: Tensor) -> bool:
        return tensor.is_contiguous(memory_format=torch.channels_last)

    encoded = chain.encode_pixels(torch.randn(1, 3, 32, 32), "two")
    assert channels_last(chain.stages["two"].weight)
    assert channels_last(encoded.activations)
    assert channels_last(encoded.head_input)
    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    own(torch.randn(1, 3, 224, 224))
    wrap(own, copy=False)
    assert own[0].weight.is_contiguous()
