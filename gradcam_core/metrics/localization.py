"""Does the map lie on the thing? Asked of people's boxes, or by making a box of the map."""

import numpy as np

Rectangle = tuple[int, int, int, int]  # left, top, right, bottom, in pixels; the last two excluded

THRESHOLD = 0.15  # of the maximum, the paper's section 4.1


def segment(heatmap: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """Return the largest connected part of a map above a share of its maximum.

    Weakly supervised localisation, the paper's section 4.1.

    Args:
        heatmap: (H, W) float32 >= 0.
        threshold: Of the maximum, in [0, 1].

    Returns:
        (H, W) bool; nothing is True where the map is zero throughout.
    """
    from scipy import ndimage  # slow to import, and only needed here

    if not heatmap.any():
        return np.zeros(heatmap.shape, bool)
    parts, count = ndimage.label(heatmap >= threshold * heatmap.max(), np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones(heatmap.shape), parts, range(1, count + 1))
    return parts == 1 + int(np.argmax(sizes))


def bounding_box(mask: np.ndarray) -> Rectangle | None:
    """Return the box around what is True in a mask (H, W); None where nothing is."""
    if not mask.any():
        return None
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def overlap(one: Rectangle, other: Rectangle) -> float:
    """Return two boxes' intersection over their union, in [0, 1]; over 0.5 counts as found."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (one, other)]
    return shared / (sum(areas) - shared)


def points_at(heatmap: np.ndarray, box: Rectangle) -> bool:
    """Play the pointing game: does the map's maximum lie in the box?

    Zhang et al., ECCV 2016 (arXiv 1608.00507); the paper's section 4.3.
    """
    row, column = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
    left, top, right, bottom = box
    return bool(heatmap.any() and top <= row < bottom and left <= column < right)


def share_inside(heatmap: np.ndarray, box: Rectangle) -> float:
    """Return the share of a map >= 0 that lies in a box, in [0, 1]; of a quarter of a collage
    this is grid pointing (Boehle et al., CVPR 2021, arXiv 2104.00032).
    """
    left, top, right, bottom = box
    whole = heatmap.sum()
    return float(heatmap[top:bottom, left:right].sum() / whole) if whole > 0 else 0.0
