"""Where things lie in a picture: boxes, enlarging, which part of it a preprocessing shows."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

_MAX_RATIO = 50  # of the longer to the shorter side
_MAX_ERROR = 0.05  # of a picture's side

# (left, top, right, bottom) as shares of a picture's sides: the part that a network's input
# shows. Less than 0 or more than 1 where the input has a margin around the picture.
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def normalised(raw: np.ndarray) -> np.ndarray:
    """Scale a map >= 0 to a maximum of 1; zeros stay zeros: no evidence never looks like some."""
    highest = raw.max()
    return raw / highest if highest > 0 else raw


def enlarge(values: np.ndarray, size: tuple[int, int], box: Box = WHOLE) -> np.ndarray:
    """Stretch a map over the part of the picture that it belongs to, bilinearly.

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


def seen_through(
    preprocess: Callable[[Image.Image], Tensor],
) -> Callable[[Image.Image], tuple[Tensor, Box]]:
    """Let a preprocessing also tell which part of a picture it shows; see `visible_box`.

    What it returns raises ValueError for a picture longer than `_MAX_RATIO`.
    """

    @lru_cache(256)
    def box_of(size: tuple[int, int]) -> Box:
        return visible_box(preprocess, size)

    def both(image: Image.Image) -> tuple[Tensor, Box]:
        # Those that scale the shorter side would make gigabytes of a thread-thin picture.
        if max(image.size) > _MAX_RATIO * min(image.size):
            raise ValueError(
                f"The picture is too narrow for this model ({image.width} x {image.height}): "
                f"its sides may be as {_MAX_RATIO} to 1."
            )
        return preprocess(image), box_of(image.size)

    return both


def visible_box(preprocess: Callable[[Image.Image], Tensor], size: tuple[int, int]) -> Box:
    """Find out which part of a picture a preprocessing shows to the network.

    Libraries crop, squash and pad in ways of their own. So it is not read from their settings but
    seen: a picture goes through whose colours tell where each pixel comes from.

    Args:
        preprocess: Picture (RGB) -> (1, C, H_in, W_in) float32; linear in the colours.
        size: (width, height) of the picture, in pixels.

    Returns:
        The part; `WHOLE` where the colours do not tell, as of a preprocessing that draws edges.
    """
    scale = min(1.0, 512 / max(size))  # what counts is the shape
    width, height = (max(2, round(side * scale)) for side in size)
    across = np.tile(np.linspace(0, 255, 2 * width + 1)[1::2], (height, 1))
    down = np.tile(np.linspace(0, 255, 2 * height + 1)[1::2, None], (1, width))
    black, white, x, y = (
        preprocess(Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB"))[0, 0].double()
        for grey in (0 * across, 0 * across + 255, across, down)
    )
    # Where black and white look the same there is no picture but a margin.
    span = torch.where((white - black).abs() > 1e-3, white - black, torch.nan)
    across_ends = _ends(((x - black) / span).nanmean(0))
    down_ends = _ends(((y - black) / span).nanmean(1))
    if across_ends is None or down_ends is None:
        return WHOLE
    return across_ends[0], down_ends[0], across_ends[1], down_ends[1]


def _ends(shares: Tensor) -> tuple[float, float] | None:
    """Fit a line through the places that an input's pixels come from; return those of its edges.

    None if they do not lie on one that goes up.
    """
    n = len(shares)
    known = ~shares.isnan()
    centres = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    # The outermost pixels are blurred with what is beyond.
    keep = known & known.roll(1) & known.roll(-1)
    if keep.sum() < 2:
        return None
    design = torch.stack([centres[keep], torch.ones_like(centres[keep])], 1)
    line = torch.linalg.lstsq(design, shares[keep][:, None]).solution
    slope, start = line[:, 0].tolist()
    error = (design @ line - shares[keep][:, None]).abs().max().item()
    if slope <= 0 or error > _MAX_ERROR:
        return None
    # The colours tell to about a third of a per cent; an edge of the picture is meant exactly.
    first, last = (
        round(end) if abs(end - round(end)) < 4e-3 else end for end in (start, start + slope)
    )
    return float(first), float(last)
