"""The embedded networks are timm's; they see the whole picture, as they were trained to."""

import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from gradcam_core.models.embedded.efficientnet_lite import efficientnet_lite
from gradcam_core.models.embedded.lite import squash

HALF = (0.5, 0.5, 0.5)


def test_whole_picture_is_squashed() -> None:
    picture = Image.new("RGB", (600, 100), "black")
    picture.paste("white", (300, 0, 600, 100))
    pixels = squash(picture, (64, 32), HALF, HALF)
    assert pixels.shape == (1, 3, 64, 32)
    assert pixels.dtype == torch.float32
    assert torch.allclose(pixels[..., :13], torch.tensor(-1.0), atol=0.02)
    assert torch.allclose(pixels[..., 19:], torch.tensor(1.0), atol=0.02)
    assert pixels.min() >= -1
    assert pixels.max() <= 1


def test_a_picture_of_the_right_size_is_not_resized() -> None:
    array = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    pixels = squash(Image.fromarray(array), (32, 32), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 0.6), (0.3, 0.7)]):
        expected = (array[:, :, channel] / 255 - mean) / std
        assert np.allclose(pixels[0, channel].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "width", "depth"), [("lite0", 1.0, 1.0), ("lite2", 1.1, 1.2)])
@torch.no_grad()
def test_the_network_is_timms(name: str, width: float, depth: float) -> None:
    expected = timm.create_model(f"tf_efficientnet_{name}").eval()
    stages, classifier = efficientnet_lite(width, depth)
    cnn = nn.Sequential(*stages.values())
    network = nn.Sequential(cnn, nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier).eval()
    tensors = expected.state_dict().values()
    for tensor in tensors:  # none may be left as it begins
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.2 + 0.9 * (tensor > 0.5))
    network.load_state_dict(dict(zip(network.state_dict(), tensors, strict=True)))
    pixels = torch.rand(2, 3, 65, 97)  # odd sides, so that padding is uneven
    assert torch.equal(cnn(pixels), expected.forward_features(pixels))
    assert torch.allclose(network(pixels), expected(pixels))


def test_no_large_library_is_imported_for_them() -> None:
    """To import timm takes two seconds, and torchvision with it 200 MB."""
    script = (
        "import sys, gradcam_core; gradcam_core.load('lite0-vqa');"
        "print({'timm', 'torchvision', 'transformers', 'torch._dynamo'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
