"""Painting over a part of a picture."""

import numpy as np
import pytest
from PIL import Image

from gradcam_core.metrics import FILLS, occlude


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8))


@pytest.mark.parametrize("fill", FILLS)
def test_what_is_occluded_is_gone_and_the_rest_is_as_it_was(
    picture: Image.Image, fill: str
) -> None:
    before = np.asarray(picture).astype(int)
    mask = np.array([[True, False, False], [False, False, False]])
    after = np.asarray(occlude(picture, mask, fill)).astype(int)
    assert after.shape == before.shape
    outside = np.ones((60, 90), bool)
    outside[:30, :30] = False
    assert np.array_equal(after[outside], before[outside])
    occluded = after[:30, :30]
    inner = occluded[:24, :24]  # what is inpainted goes on from the noise around it
    assert inner.std() < 0.2 * before[:24, :24].std()  # no detail is left
    expected = 128 if fill == "grey" else before.mean((0, 1))
    near = {"blur": 12, "inpainted": 30}.get(fill, 1)  # the mean of what is there, or around it
    assert np.abs(occluded.mean((0, 1)) - expected).max() < near


def test_what_is_inpainted_goes_on_from_what_is_around_it() -> None:
    """A ramp is its neighbours' mean everywhere: it is the ramp again, at any size."""
    ramp = np.linspace(0, 250, 600).round().astype(np.uint8)
    picture = Image.fromarray(np.tile(ramp[None, :, None], (450, 1, 3)))
    mask = np.zeros((9, 12), bool)
    mask[3:6, 4:8] = True
    after = np.asarray(occlude(picture, mask, "inpainted")).astype(int)
    assert np.abs(after - np.asarray(picture)).max() <= 4


def test_an_empty_mask_changes_nothing_and_a_wrong_fill_is_reported(
    picture: Image.Image,
) -> None:
    nothing = np.zeros((7, 5), bool)
    assert occlude(picture, nothing).tobytes() == picture.tobytes()
    with pytest.raises(ValueError, match="Known: grey, mean, blur, inpainted"):
        occlude(picture, nothing, "rainbow")
