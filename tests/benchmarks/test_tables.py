"""What the tables count, by hand."""

import numpy as np
from PIL import Image

from benchmarks.bias import THINGS, only
from benchmarks.evaluate import hit_and_miss
from benchmarks.evaluate_tables import cell


def test_a_map_hits_by_its_maximum_and_finds_by_its_box() -> None:
    raw = np.zeros((4, 4), np.float32)
    raw[1:3, 1:3] = 0.5
    raw[1, 1] = 1
    photo = Image.new("RGB", (4, 4))
    assert hit_and_miss(raw, photo, [(1, 1, 3, 3)]) == (True, False)
    assert hit_and_miss(raw, photo, [(0, 0, 2, 2)]) == (True, True)  # overlaps by 1 of 7
    assert hit_and_miss(raw, photo, [(0, 0, 2, 2), (2, 1, 3, 3), (0, 0, 3, 3)]) == (True, True)
    assert hit_and_miss(raw, photo, [(2, 1, 3, 3)]) == (False, True)


def test_a_mean_and_its_interval() -> None:
    draw = np.random.default_rng(0)
    assert cell([], draw) == "-"
    assert cell([0.25] * 9, draw) == "0.25 (0.25 to 0.25)"
    assert cell([0.0, 1.0] * 50, draw) == "0.50 (0.40 to 0.60)"  # 1.96 standard errors of 0.05


def test_a_photo_is_of_one_kind_by_its_captions() -> None:
    captions = [set(text.split()) for text in ("a dog runs", "two dogs", "a puppy plays", "grass")]
    assert only(THINGS, captions, least=3) == "dog"
    assert only(THINGS, captions, least=4) is None
    assert only(THINGS, [*captions, {"a", "boy", "watches"}], least=3) is None
