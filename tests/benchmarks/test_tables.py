"""What the tables count, by hand."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.bias import THINGS, only
from benchmarks.evaluate import hit_and_miss
from benchmarks.evaluate_tables import cell, comparisons, holm


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


def test_holm_multiplies_by_the_number_of_hypotheses_that_are_left() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.001]) == pytest.approx([0.9, 0.002])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_differences_are_paired_and_turned_so_that_more_is_better() -> None:
    """Photos differ by far more than methods."""
    draw = np.random.default_rng(0)
    rows = []
    for photo in range(60):
        level = draw.uniform(0, 0.5)
        values = {"Grad-CAM": level, "RISE": level - 0.05, "centre": level + draw.normal(0, 0.1)}
        rows += [
            (str(photo), variant, metric, value + draw.normal(0, 0.001))
            for metric in ("deletion", "insertion", "sanity, head")
            for variant, value in values.items()
        ]
    rows.append(("one more", "RISE", "deletion", 0.9))  # of which there is no other map
    found = {(c.metric, c.variant, c.other): c for c in comparisons(rows)}
    assert found["deletion", "RISE", "Grad-CAM"].outcome == "better"
    assert found["insertion", "RISE", "Grad-CAM"].outcome == "worse"
    assert found["sanity, head", "RISE", "Grad-CAM"].photos == 60
    assert found["deletion", "centre", "Grad-CAM"].outcome == "no difference seen"
    rise = found["deletion", "RISE", "Grad-CAM"]
    assert rise.mean == pytest.approx(0.05, abs=0.001)
    assert rise.low < rise.mean < rise.high
    # (1.96 + 0.84)^2 (s / 0.05)^2 for a normal difference of standard deviation s
    centre = found["deletion", "centre", "Grad-CAM"]
    assert rise.needed == 3  # the fewest that there can be
    assert centre.needed == pytest.approx(7.85 * (0.1 / 0.05) ** 2, rel=0.4)


def test_many_comparisons_of_equals_see_no_difference() -> None:
    draw = np.random.default_rng(1)
    rows = [
        (str(photo), variant, metric, draw.normal())
        for photo in range(30)
        for variant in ("Grad-CAM", "Grad-CAM++", "c-MWP", "Gradient", "centre", "random")
        for metric in ("occlusion", "deletion", "insertion", "drop", "increase", "road")
    ]
    assert {each.outcome for each in comparisons(rows)} == {"no difference seen"}
