"""Localization: does the map lie on the object? Compares a map with annotated boxes."""

import numpy as np

Rectangle = tuple[int, int, int, int]  # left, top, right, bottom, in pixels; the last two excluded

THRESHOLD = 0.15  # share of the maximum above which the map counts, the paper's section 4.1
MIN_IOU = 0.5  # a box that overlaps by more is correct, the paper's section 4.1


def segment(heatmap: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """Return the largest connected part of a map above a share of its maximum.

    Weakly supervised segmentation and localization, the paper's section 4.1. Cells that touch at
    a corner are connected.

    Args:
        heatmap: (H, W) float >= 0.
        threshold: Share of the maximum, in [0, 1].

    Returns:
        (H, W) bool; all False where the map is zero everywhere.

    Examples:
        >>> mask = metrics.segment(explanation.heatmap, threshold=0.5)
        >>> mask.shape, metrics.bounding_box(mask)
        ((300, 451), (62, 30, 354, 260))
    """
    from scipy import ndimage  # slow to import, and only needed here

    if not heatmap.any():
        return np.zeros(heatmap.shape, bool)
    parts, count = ndimage.label(heatmap >= threshold * heatmap.max(), np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones(heatmap.shape), parts, range(1, count + 1))
    return parts == 1 + int(np.argmax(sizes))


def bounding_box(mask: np.ndarray) -> Rectangle | None:
    """Return the box around the True pixels of a mask (H, W); None if there are none.

    Examples:
        >>> metrics.bounding_box(metrics.segment(explanation.heatmap, 0.5))
        (62, 30, 354, 260)
    """
    if not mask.any():
        return None
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def iou(box: Rectangle, other: Rectangle) -> float:
    """Return the intersection over union of two boxes, in [0, 1].

    Examples:
        >>> metrics.iou((0, 0, 2, 2), (0, 0, 2, 4))
        0.5
    """
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (box, other)]
    return shared / (sum(areas) - shared)


def points_at(heatmap: np.ndarray, box: Rectangle) -> bool:
    """Return whether the maximum of a map (H, W) lies in a box: the pointing game.

    Zhang et al., ECCV 2016 (arXiv 1608.00507); the paper's section 4.3. False for a map of zeros.

    Examples:
        >>> metrics.points_at(explanation.heatmap, (100, 0, 300, 200))
        True
    """
    row, column = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
    left, top, right, bottom = box
    return bool(heatmap.any() and top <= row < bottom and left <= column < right)


def share_inside(heatmap: np.ndarray, box: Rectangle) -> float:
    """Return the share of a map (H, W) >= 0 that lies in a box, in [0, 1]: energy inside the box.

    For one quarter of a 2 x 2 collage, this is grid pointing (Böhle et al., CVPR 2021, arXiv
    2104.00032). 0 for a map of zeros.

    Examples:
        >>> metrics.share_inside(explanation.heatmap, (100, 0, 300, 200))
        0.46
    """
    left, top, right, bottom = box
    whole = heatmap.sum()
    return float(heatmap[top:bottom, left:right].sum() / whole) if whole > 0 else 0.0
