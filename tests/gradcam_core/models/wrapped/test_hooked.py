"""What one run tells of a network, and runs from a map on."""

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gradcam_core.models.wrapped.hooked import HookedNetwork


class Branches(nn.Module):
    """One map, two ways from it, one of them past the other; then a way from the input, too."""

    def __init__(self, from_input: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.same = nn.Identity()
        self.left = nn.Conv2d(4, 4, 3, 1, 1)
        self.right = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True))
        self.last = nn.Conv2d(4, 6, 3, 1, 1)
        self.unused = nn.Conv2d(6, 6, 1)
        self.out = nn.Linear(6, 2)
        self.from_input = from_input

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.same(self.stem(pixels))
        x = self.left(x) + self.right(x)
        x += 1  # in place
        x = self.last(F.relu(x, inplace=True))
        self.unused(x)
        out = self.out(x.mean((2, 3)))
        return out + pixels.mean() if self.from_input else out


@pytest.fixture
def pixels() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(1, 3, 96, 96)


@pytest.mark.parametrize("from_input", [False, True])
def test_from_any_map_on_the_output_is_the_same(from_input: bool, pixels: Tensor) -> None:
    torch.manual_seed(1)
    network = Branches(from_input).eval()
    expected = network(pixels).detach()
    cut = HookedNetwork("branches", network, lambda image: pixels)
    assert "right.0" in cut.layers
    for layer in cut.layers:
        encoded = cut.encode_pixels(pixels, layer)
        assert torch.equal(encoded.head_input.value, expected)
        again = cut.from_layer(encoded.activations, layer, pixels).value
        assert torch.allclose(again, expected, atol=1e-6)
        if layer != "unused":
            # Its gradient is that of a small change.
            step = torch.randn_like(encoded.activations)
            (gradient,) = torch.autograd.grad(again[0, 0], encoded.activations)
            rise = (
                cut.from_layer(encoded.activations + 1e-3 * step, layer, pixels).value[0, 0]
                - again[0, 0]
            )
            assert rise.item() == pytest.approx(1e-3 * (gradient * step).sum().item(), abs=2e-4)


def test_pictures_are_taken_as_they_come() -> None:
    """Inputs of another size than that of the first run: the network takes any."""

    def as_input(image: Image.Image) -> Tensor:
        return torch.ones(1, 3, image.height, image.width)

    cut = HookedNetwork("branches", Branches().eval(), as_input)
    for size in ((64, 100), (200, 32)):
        encoded = cut.encode(Image.new("RGB", size))
        assert encoded.activations.shape[2:] == (size[1] // 2, size[0] // 2)
        again = cut.from_layer(encoded.activations, encoded.layer, encoded.pixels)
        assert torch.allclose(again.value, encoded.head_input.value, atol=1e-6)
