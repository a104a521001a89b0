"""Pictures made of maps: their colours are matplotlib's, their mixture is as asked for."""

import matplotlib
import numpy as np
import pytest
from PIL import Image

from gradcam_core.image.render import COLOUR_MAPS, coloured, gradient_picture, overlay

RAMP = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(4, 0)


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_colours_are_matplotlibs(name: str) -> None:
    expected = matplotlib.colormaps[name](RAMP, bytes=True)[:, :, :3]
    assert np.array_equal(np.asarray(coloured(RAMP, name)), expected)


@pytest.mark.parametrize("opacity", [0.0, 0.25, 1.0])
def test_an_overlay_is_a_weighted_mean(opacity: float) -> None:
    picture = Image.effect_noise((256, 4), 80).convert("RGB")
    found = np.asarray(overlay(picture, RAMP, "viridis", opacity)).astype(float)
    colours = np.asarray(coloured(RAMP, "viridis")).astype(float)
    expected = (1 - opacity) * np.asarray(picture) + opacity * colours
    assert np.abs(found - expected).max() <= 1


def test_an_overlay_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="match"):
        overlay(Image.new("RGB", (9, 9)), RAMP)


def test_a_gradients_zero_is_grey_and_its_signs_are_opposite() -> None:
    gradient = np.zeros((10, 10, 3), np.float32)
    gradient[2, 3] = 1e-6
    gradient[7, 7] = -1e-6
    pixels = np.asarray(gradient_picture(gradient, (10, 10))).astype(int)
    assert pixels[2, 3].tolist() == [255] * 3
    assert pixels[7, 7].tolist() == [0] * 3
    assert set(pixels[0].ravel()) <= {127, 128}


def test_a_gradient_lies_on_its_part_of_the_picture() -> None:
    gradient = np.ones((8, 8, 3), np.float32)
    pixels = np.asarray(gradient_picture(gradient, (100, 50), (0.25, 0, 0.75, 1)))
    assert (pixels[:, 25:75] == 255).all()
    assert (pixels[:, :25] == 128).all()
    assert (pixels[:, 75:] == 128).all()
