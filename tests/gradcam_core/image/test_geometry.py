"""Maps lie where they belong, whatever part of the picture a network is shown."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from gradcam_core.image.geometry import enlarge, normalised, seen_through


def test_enlarging_puts_every_cell_where_it_belongs() -> None:
    raw = np.zeros((7, 7), np.float32)
    raw[1, 5] = 1
    enlarged = enlarge(raw, (70, 140))
    assert enlarged.shape == (70, 140)
    assert enlarged.dtype == np.float32
    peak = np.argwhere(enlarged == enlarged.max()).mean(0)
    assert peak == pytest.approx([14.5, 109.5], abs=1)
    stacked = enlarge(np.dstack([raw, 2 * raw, -raw]), (70, 140))
    assert stacked.shape == (70, 140, 3)
    assert np.allclose(stacked[:, :, 1], 2 * enlarged)


# Left, top, right, bottom of the part that is seen of a picture of 400 x 200 pixels.
_PREPROCESSINGS = {
    "squashed": ([v2.Resize((64, 64))], (0, 0, 1, 1)),
    "middle square": ([v2.Resize(64), v2.CenterCrop(64)], (0.25, 0, 0.75, 1)),
    "cut on all sides": ([v2.Resize(80), v2.CenterCrop(64)], (0.3, 0.1, 0.7, 0.9)),
    "margins": ([v2.Pad((0, 100)), v2.Resize((64, 64))], (0, -0.5, 1, 1.5)),
}


@pytest.mark.parametrize(("steps", "box"), _PREPROCESSINGS.values(), ids=_PREPROCESSINGS.keys())
def test_what_a_preprocessing_shows_is_found_out(
    steps: list[nn.Module], box: tuple[float, ...]
) -> None:
    tail = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.4] * 3, [0.2] * 3)]
    # Margins of a picture are as large as its height is here: half of it above, half below.
    scaled = v2.Compose([v2.Resize((200, 400)), *steps, *tail])
    preprocess = seen_through(lambda image: scaled(image)[None])
    pixels, found = preprocess(Image.new("RGB", (400, 200), "grey"))
    assert pixels.shape == (1, 3, 64, 64)
    assert found == pytest.approx(box, abs=0.01)


def test_a_thread_thin_picture_is_refused_where_it_would_take_gigabytes() -> None:
    preprocess = seen_through(lambda image: torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"too narrow.*51 x 1"):
        preprocess(Image.new("RGB", (51, 1)))


def test_a_map_lies_on_its_part_of_the_picture() -> None:
    ones = np.ones((7, 7), np.float32)
    cropped = enlarge(ones, (100, 200), (0.25, 0.1, 0.75, 0.9))
    assert cropped[10:90, 50:150].all()
    assert cropped.sum() == 80 * 100
    ramp = np.arange(8, dtype=np.float32)[:, None].repeat(8, 1)
    padded = enlarge(ramp, (100, 200), (0, -0.5, 1, 1.5))  # the picture is the middle half
    assert padded.shape == (100, 200)
    assert padded[0, 0] == pytest.approx(1.5, abs=0.05)
    assert padded[-1, 0] == pytest.approx(5.5, abs=0.05)


def test_a_map_of_zeros_stays_zeros_and_others_reach_one() -> None:
    assert not normalised(np.zeros((3, 3), np.float32)).any()
    assert normalised(np.array([[1e-20, 0]], np.float32)).tolist() == [[1, 0]]


def test_a_grey_input_is_measured_too() -> None:
    steps = [v2.Grayscale(), v2.Resize(64), v2.CenterCrop(64), v2.ToImage()]
    preprocess = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)])
    _, box = seen_through(lambda image: preprocess(image)[None])(Image.new("RGB", (400, 200)))
    assert box == pytest.approx((0.25, 0, 0.75, 1), abs=0.01)


@pytest.mark.parametrize("name", ["edges", "equalised", "mirrored", "random", "not a number"])
def test_where_colours_do_not_tell_the_whole_picture_is_meant(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    def preprocess(image: Image.Image) -> torch.Tensor:
        values = to_tensor(image.resize((32, 32)))[None]
        match name:
            case "edges":
                return values.diff(dim=3).abs()
            case "equalised":
                return to_tensor(v2.functional.equalize(image.resize((32, 32))))[None].round()
            case "mirrored":
                return values.flip(3)
            case "random":
                return torch.randn(values.shape, generator=draw)
            case _:
                return values / 0 * 0

    assert seen_through(preprocess)(Image.new("RGB", (60, 40)))[1] == (0, 0, 1, 1)
