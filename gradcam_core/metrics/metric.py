"""What every metric takes and returns: a map with its model, a measurement, a registry row."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from gradcam_core.explanation import Explanation, Origin
from gradcam_core.image.geometry import enlarge, normalised
from gradcam_core.methods import DEFAULT_METHOD
from gradcam_core.models.base import Head, ResolvedTarget
from gradcam_core.models.compute_mode import standard_mode
from gradcam_core.models.model_cache import load

_TOLERANCE = 0.05  # relative, of a score: the page keeps pictures at a smaller size


class MeasuredMap(NamedTuple):
    """A heat map, with the model, picture and target that it explains.

    Attributes:
        head: The model that made the map, looking at the picture.
        target: The explained class, caption or answer.
        raw: (h, w) float32 >= 0, the map, not normalized, mirrored or turned like the network's
            input.
        method: The name of the method that made it.

    Examples:
        >>> measured = metrics.MeasuredMap.from_explanation(explanation)
        >>> metrics.METRICS["average-drop"].measure(measured).value
        0.42
    """

    head: Head
    target: ResolvedTarget
    raw: np.ndarray
    method: str = DEFAULT_METHOD

    @classmethod
    @standard_mode()
    def from_explanation(cls, explanation: Explanation, detail: float = 1.0) -> Self:
        """Return the map of an explanation; the model that made it encodes the picture again.

        Args:
            explanation: The model of an unpickled explanation is loaded by name.
            detail: Side of the network's input, see `explain`.

        Raises:
            ValueError: The model of an unpickled explanation cannot be loaded by name, or the
                model of that name is another one.
        """
        model, target = explanation.origin or _loaded(explanation)
        encoded = model.encode(explanation.picture, explanation.layer, detail)
        raw = encoded.placement.as_input(explanation.raw)
        return cls(model.bind(encoded, explanation.question), target, raw, explanation.method)

    def upright(self, values: np.ndarray) -> np.ndarray:
        """Return a map of the network's input, (h, w) or (h, w, c), upright like the picture."""
        return self.head.encoded.placement.upright(values)

    @property
    def pixels(self) -> Tensor:
        """The network's input, (1, 3, H_in, W_in) float32."""
        return self.head.encoded.pixels

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

    Examples:
        >>> deletion = metrics.measure(explanation, ["deletion"])["deletion"]
        >>> deletion.value, deletion.references["random order"]
        (0.39, 0.43)
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

    Examples:
        >>> metrics.METRICS["road"].question
        'Does removing the strongest parts cost more than removing the weakest?'
    """

    title: str
    question: str
    paper: str
    better: Literal["higher", "lower"]
    measure: Callable[[MeasuredMap], Measurement]


def _loaded(explanation: Explanation) -> Origin:
    """Load the model of an unpickled explanation by name, and check that it is the same one."""
    name = explanation.model
    try:
        model = load(name, explanation.task)
        encoded = model.encode(explanation.picture, explanation.layer)
        head = model.bind(encoded, explanation.question)
        target = head.target(explanation.target)
        score = head.own_score(target).terms.sum().item()
        if not math.isclose(score, explanation.score, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            raise ValueError(
                f"that one scores the target {score:.3g} instead of {explanation.score:.3g}."
            )
    except ValueError as error:
        raise ValueError(
            f"The model that made this unpickled explanation cannot be loaded as '{name}': {error}"
        ) from error
    return Origin(model, target)


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
