"""Boxes in a picture, and maps enlarged to fill them."""

import numpy as np
import torch
from torch.nn import functional as F

# (left, top, right, bottom) as shares of a picture's sides: the part that a network's input
# shows. Less than 0 or more than 1 where the input has a margin around the picture.
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def normalised(raw: np.ndarray) -> np.ndarray:
    """Scale a map >= 0 to a maximum of 1; a map of zeros stays one."""
    highest = raw.max()
    return raw / highest if highest > 0 else raw


def enlarge(values: np.ndarray, size: tuple[int, int], box: Box = WHOLE) -> np.ndarray:
    """Enlarge a map bilinearly to the part of the picture that it belongs to.

    Args:
        values: (h, w) or (h, w, c) float32.
        size: (H, W) of the picture, in pixels.
        box: The part that `values` belong to.

    Returns:
        (H, W) or (H, W, c) float32; zeros outside of `box`.
    """
    height, width = size
    left, top, right, bottom = in_pixels(box, width, height)
    stack = torch.from_numpy(values.reshape(*values.shape[:2], -1)).permute(2, 0, 1)
    enlarged = F.interpolate(
        stack[None],
        size=(bottom - top, right - left),
        mode="bilinear",
        align_corners=False,
    )[0]
    # Negative padding cuts off what lies outside of the picture.
    placed = F.pad(enlarged, (left, width - right, top, height - bottom))
    return placed.permute(1, 2, 0).reshape(*size, *values.shape[2:]).numpy()


def in_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of a box in the pixels of a picture; at least one each."""
    left, top, right, bottom = (
        round(share * side) for share, side in zip(box, (width, height) * 2, strict=True)
    )
    return left, top, max(right, left + 1), max(bottom, top + 1)
