"""One map from the maps of several layers."""

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def fuse(maps: Sequence[Tensor]) -> Tensor:
    """Return the mean of maps, each divided by its maximum and enlarged to the finest of them.

    As in pytorch-grad-cam, which also subtracts each map's minimum, and enlarges to the input's
    size.

    Args:
        maps: (N, T, h, w) or (N, T, d, h, w) each, with sides of their own.

    Returns:
        (N, T, h, w) or (N, T, d, h, w), from 0 to 1.
    """
    finest = max((each.shape[2:] for each in maps), key=math.prod)
    mode = "trilinear" if len(finest) == 3 else "bilinear"
    total = maps[0].new_zeros(*maps[0].shape[:2], *finest)
    for each in maps:
        highest = each.flatten(2).amax(2).view(*each.shape[:2], *[1] * len(finest))
        # No map of zeros becomes NaN.
        share = each / highest.where(highest > 0, 1.0)
        large = share if each.shape[2:] == finest else F.interpolate(share, finest, mode=mode)
        total += large / len(maps)
    return total
