"""What every metric takes and returns: a map with its model, a measurement, a registry row."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from gradcam_core.explanation import Explanation
from gradcam_core.image.geometry import enlarge, normalised
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Target
from gradcam_core.models.model_cache import load


class MeasuredMap(NamedTuple):
    """A heat map, with the model, picture and target that it explains.

    Attributes:
        model: The explained model.
        encoded: The picture, at the network's own input size.
        target: The explained class, caption or answer.
        raw: (h, w) float32 >= 0, the map, not normalised.
    """

    model: Model
    encoded: Encoded
    target: Target
    raw: np.ndarray

    @classmethod
    def from_explanation(
        cls, explanation: Explanation, model: Model | None = None, detail: float = 1.0
    ) -> Self:
        """Encode the picture of an explanation again, by the model that was explained.

        Args:
            explanation: Its map is measured.
            model: The explained model; None to load it by name.
            detail: Scale of the network's input side, see `explain`.

        Raises:
            ValueError: There is no model of that name.
        """
        if model is None:
            model = load(explanation.model, explanation.task)
        encoded = model.encode(explanation.picture, explanation.layer, detail)
        target = model.target(explanation.target, explanation.question, encoded)
        return cls(model, encoded, target, explanation.raw)

    @property
    def pixels(self) -> Tensor:
        """The network's input, (1, 3, H_in, W_in) float32."""
        return self.encoded.pixels

    def at_input(self) -> np.ndarray:
        """Return the map enlarged to the network's input, (H_in, W_in) float32 in [0, 1]."""
        height, width = self.pixels.shape[2:]
        return enlarge(normalised(self.raw), (height, width))


@dataclass(frozen=True)
class Measurement:
    """What a metric measured of one map.

    Attributes:
        value: The metric's value for the map.
        references: Values to compare it with, by name: of a random order, for example. May be
            empty.
        curve: The values that `value` summarises, from left to right; empty where there is no
            curve.
        reference_curves: The same for those of `references` that have a curve.
        map: (h, w) float32, signed: the map that `raw` was compared with; None where there is
            none.
    """

    value: float
    references: dict[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    reference_curves: dict[str, tuple[float, ...]] = field(default_factory=dict)
    map: np.ndarray | None = None


@dataclass(frozen=True)
class Metric:
    """A row of the registry `METRICS`.

    Attributes:
        title: Name, as shown to users.
        question: The question that it answers about a map.
        paper: Authors, venue and year.
        better: Whether higher or lower values are better.
        measure: The function.
        supports: Whether a measurement supports the map as an explanation; None for metrics that
            have no value to compare with, which `verdict` leaves out.
        verdict: What to say of a map if `supports` is True, and if it is False: a clause without a
            full stop.
    """

    title: str
    question: str
    paper: str
    better: Literal["higher", "lower"]
    measure: Callable[[MeasuredMap], Measurement]
    supports: Callable[[Measurement], bool] | None = None
    verdict: tuple[str, str] = ("", "")


def rank_correlation(raw: np.ndarray, reference: np.ndarray) -> float:
    """Return Spearman's rank correlation of two maps, in [-1, 1].

    Args:
        raw: (h, w) float.
        reference: (h', w') float, of as many cells or fewer: a finer `raw` is averaged over them.

    Returns:
        The correlation; 0 where either map has the same value everywhere, and so ranks nothing.
    """
    from scipy.stats import spearmanr  # slow to import, and only needed here

    if raw.shape != reference.shape:
        finer = torch.from_numpy(raw)[None]
        raw = torch.nn.functional.adaptive_avg_pool2d(finer, reference.shape)[0].numpy()
    if np.ptp(raw) == 0 or np.ptp(reference) == 0:
        return 0.0
    return float(spearmanr(raw.ravel(), reference.ravel()).statistic)
