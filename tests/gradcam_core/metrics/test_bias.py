"""Means of maps, by hand."""

import numpy as np
import pytest
from PIL import Image

from gradcam_core.metrics.bias import PhotoMap, mean_map


def test_photos_count_alike_however_sure_the_network_is() -> None:
    left, right = np.zeros((2, 56, 56), np.float32)
    left[:, :28] = 1
    right[:, 28:] = 0.5
    drawn = Image.new("RGB", (4, 4))
    photos = [PhotoMap("a", 0.9, left, drawn), PhotoMap("b", 0.1, right, drawn)]
    found = mean_map(photos)
    assert found[0, 0] == pytest.approx(0.5)
    assert found[0, -1] == pytest.approx(0.25)
