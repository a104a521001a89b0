"""Boxes and points by hand."""

import numpy as np
import pytest

from gradcam_core.metrics.localization import (
    bounding_box,
    iou,
    points_at,
    segment,
    share_inside,
)

#            a large weak part, a small strong one that touches nothing, and faint noise
MAP = np.array(
    [
        [0.2, 0.3, 0.0, 0.0, 1.0],
        [0.3, 0.2, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.2, 0.0, 0.1],
        [0.0, 0.0, 0.0, 0.0, 0.0],
    ],
    np.float32,
)


def test_the_largest_connected_part_counts_not_the_strongest() -> None:
    mask = segment(MAP)
    assert mask.sum() == 5  # corners touch
    assert bounding_box(mask) == (0, 0, 3, 3)
    assert bounding_box(segment(MAP, threshold=0.25)) == (0, 0, 2, 2)
    assert bounding_box(segment(MAP, threshold=0.5)) == (4, 0, 5, 1)


def test_a_map_without_evidence_has_no_box_and_points_nowhere() -> None:
    empty = np.zeros((4, 5), np.float32)
    assert not segment(empty).any()
    assert bounding_box(segment(empty)) is None
    assert not points_at(empty, (0, 0, 5, 4))
    assert share_inside(empty, (0, 0, 5, 4)) == 0


def test_iou_by_hand() -> None:
    assert iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0
    assert iou((0, 0, 1, 1), (3, 3, 4, 4)) == 0


def test_pointing_and_share() -> None:
    assert points_at(MAP, (4, 0, 5, 1))
    assert not points_at(MAP, (0, 0, 4, 4))
    assert share_inside(MAP, (0, 0, 2, 2)) == pytest.approx(1.0 / MAP.sum())
    assert share_inside(MAP, (0, 0, 5, 4)) == pytest.approx(1)
