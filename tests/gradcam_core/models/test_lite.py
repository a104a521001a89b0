"""The embedded backbones see the whole picture, as they were trained to."""

import numpy as np
import torch
from PIL import Image

from gradcam_core.models.lite import to_pixels

HALF = (0.5, 0.5, 0.5)


def test_whole_picture_is_squashed() -> None:
    picture = Image.new("RGB", (600, 100), "black")
    picture.paste("white", (300, 0, 600, 100))
    pixels = to_pixels(picture, (64, 32), HALF, HALF)
    assert pixels.shape == (1, 3, 64, 32)
    assert pixels.dtype == torch.float32
    assert torch.allclose(pixels[..., :13], torch.tensor(-1.0), atol=0.02)
    assert torch.allclose(pixels[..., 19:], torch.tensor(1.0), atol=0.02)
    assert pixels.min() >= -1
    assert pixels.max() <= 1


def test_a_picture_of_the_right_size_is_taken_as_it_is() -> None:
    array = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    pixels = to_pixels(Image.fromarray(array), (32, 32), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 0.6), (0.3, 0.7)]):
        expected = (array[:, :, channel] / 255 - mean) / std
        assert np.allclose(pixels[0, channel].numpy(), expected, atol=1e-5)
