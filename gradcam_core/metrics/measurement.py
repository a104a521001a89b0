"""What is judged: a map, with the model and the picture that it came from."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from torch import Tensor

from gradcam_core.image.geometry import enlarge, normalised
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Target


class Subject(NamedTuple):
    """One map, and all that it can be asked about.

    Attributes:
        model: The model that is explained.
        encoded: The picture.
        target: What is explained.
        raw: (h, w) float32 >= 0, the map.
    """

    model: Model
    encoded: Encoded
    target: Target
    raw: np.ndarray

    @property
    def pixels(self) -> Tensor:
        """(1, 3, H_in, W_in), the network's input."""
        return self.encoded.pixels

    def at_input(self) -> np.ndarray:
        """The map at the network's input, (H_in, W_in) float32 in [0, 1]."""
        height, width = self.pixels.shape[2:]
        return enlarge(normalised(self.raw), (height, width))


@dataclass(frozen=True)
class Finding:
    """What a metric says of a map.

    Attributes:
        value: Of the map.
        beside: The same of something to compare it with, by name; may be empty.
        curve: What the value is made of, if that can be drawn: values from left to right.
        curves_beside: The same of what stands in `beside`, where it has one.
        map: (h, w) float32, signed: what the map was compared with, if that is a map.
    """

    value: float
    beside: dict[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    curves_beside: dict[str, tuple[float, ...]] = field(default_factory=dict)
    map: np.ndarray | None = None


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation of two arrays of a shape, in [-1, 1].

    What is the same everywhere ranks nothing: 0.
    """
    from scipy.stats import spearmanr  # slow to import, and only needed for evidence

    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one.ravel(), other.ravel()).statistic)
