"""Concepts: which photos show them, how well names fit, and the decomposition of classes."""

import numpy as np
import pytest

from training.channels import Annotations, Photos, decompose, directions, has_concept, judge
from training.datasets import Box

BIRD = {"imagenet": "bird", "captions": "bird duck", "boxes": "bird", "never": "scenes"}


@pytest.mark.parametrize(
    ("source", "known", "has"),
    [
        ("imagenet", Annotations(label=14), 1),  # indigo bunting
        ("imagenet", Annotations(label=207), 0),  # golden retriever
        ("scenes", Annotations(label="sea"), 0),
        ("daquar", Annotations(label=""), -1),
        ("flickr8k", Annotations([{"two", "ducks"}, {"a", "bird"}, {"a", "lake"}]), 1),
        # A single caption may be wrong.
        ("flickr8k", Annotations([{"two", "ducks"}, {"a", "lake"}]), -1),
        ("flickr8k", Annotations([{"a", "duckling"}]), 0),
        ("coco", Annotations(None, [Box("bird", 0.1, 0.1, 0.5, 0.5)]), 1),
        (
            "coco",
            Annotations(None, [Box("bird", 0.1, 0.1, 0.1, 0.1)]),
            -1,
        ),  # too small to be visible
        ("coco", Annotations(None, [Box("cat", 0.1, 0.1, 0.5, 0.5)]), 0),
        ("coco", Annotations(None, None), -1),
    ],
)
def test_which_photos_show_a_concept(source: str, known: Annotations, has: int) -> None:
    assert has_concept(source, known, BIRD) == has


def test_names_are_judged_by_the_strongest_annotated_photos() -> None:
    scores = np.arange(40.0)[:, None]
    has = np.zeros((40, 1), np.int8)
    has[[39, 38, 31, 2]] = 1
    has[[37, 36]] = -1
    found = judge(scores, has, np.arange(40) != 39)
    assert (found.photos[0], found.strongest[0]) == (3, 2)  # 38, 35 .. 27


def test_directions_find_concepts_and_decompose_classes() -> None:
    rng = np.random.default_rng(0)
    n = 600
    has = rng.integers(0, 2, (n, 2)).astype(np.int8)
    values = rng.normal(size=(n, 6)).astype(np.float32)
    values[:, :2] += 4 * has
    photos = Photos(np.full(n, "coco"), [""] * n, values, values, has)
    rows = np.arange(n) < 400
    weight = np.array([[2.0, -1.0, 0, 0, 0, 0], [-2.0, 1.0, 0, 0, 0, 0]])
    made = directions(photos, rows, weight, [[], []])
    assert abs(made.basis[0, 0]) > 5 * abs(made.basis[0, 1:]).max()
    scores = (values - made.mean) @ made.basis.T
    assert (judge(scores, has, ~rows).strongest == 10).all()
    parts = decompose(photos, scores, weight, [frozenset()] * 2, rows)
    assert (np.sign(parts) == [[1, -1], [-1, 1]]).all()
    logits = (values - made.mean) @ weight.T
    assert np.corrcoef((scores @ parts.T)[~rows, 0], logits[~rows, 0])[0, 1] > 0.99
