"""Maps are enlarged to the part of the picture that they belong to."""

import numpy as np
import pytest

from gradcam_core.image.geometry import enlarge, normalised


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
