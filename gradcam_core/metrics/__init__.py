"""Metrics of heat maps, grouped by the question that they answer.

- `faithfulness`: does the map show what the network uses?
- `localization`: does it lie on the object? `localization_study` asks this of many photos.
- `randomization`: does it depend on what the network has learned?
- `robustness`: does it still show the object when the network is attacked?
- `bias`: where does the network look for a class, over many photos?

`verdict` says in one sentence what they amount to.

A faithfulness metric is a function from `MeasuredMap` to `Measurement`, and a row of `METRICS`.
"""

from collections.abc import Iterable

from gradcam_core.explanation import Explanation
from gradcam_core.metrics import faithfulness
from gradcam_core.metrics.faithfulness_correlation import faithfulness_correlation
from gradcam_core.metrics.localization import bounding_box, iou, points_at, segment, share_inside
from gradcam_core.metrics.metric import MeasuredMap, Measurement, Metric
from gradcam_core.metrics.occlude import FILLS, occlude
from gradcam_core.metrics.randomization import SanityStep, sanity_check
from gradcam_core.metrics.robustness import AttackResult, attack
from gradcam_core.metrics.verdict import supports, verdict
from gradcam_core.models.compute_mode import standard_mode

__all__ = [
    "FILLS",
    "METRICS",
    "AttackResult",
    "MeasuredMap",
    "Measurement",
    "Metric",
    "SanityStep",
    "attack",
    "bounding_box",
    "iou",
    "measure",
    "occlude",
    "points_at",
    "sanity_check",
    "segment",
    "share_inside",
    "supports",
    "verdict",
]

# Probability of a label and of a caption; nothing that is taken from a smaller one is seen.
_LEAST_OF_LABEL, _LEAST_OF_CAPTION = 1e-4, 1e-12

METRICS: dict[str, Metric] = {
    "faithfulness-correlation": Metric(
        "Faithfulness correlation",
        "Does the answer depend on the parts that the map marks, more than on others?",
        "Bhatt et al., IJCAI 2020",
        "higher",
        faithfulness_correlation,
    ),
    "occlusion-correlation": Metric(
        "Rank correlation with occlusion",
        "Does the score fall most where the map is strongest?",
        "Selvaraju et al., IJCV 2019, section 5.3",
        "higher",
        faithfulness.occlusion_correlation,
    ),
    "deletion": Metric(
        "Deletion, area under the curve",
        "How soon is the answer gone when the strongest parts turn grey first?",
        "Petsiuk et al., BMVC 2018",
        "lower",
        faithfulness.deletion,
    ),
    "insertion": Metric(
        "Insertion, area under the curve",
        "How soon is the answer back when the strongest parts return first to a blurred picture?",
        "Petsiuk et al., BMVC 2018",
        "higher",
        faithfulness.insertion,
    ),
    "average-drop": Metric(
        "Average drop",
        "How much of the probability is lost when only the highlighted parts are visible?",
        "Chattopadhay et al., WACV 2018",
        "lower",
        faithfulness.average_drop,
    ),
    "road": Metric(
        "ROAD (remove and debias)",
        "Does removing the strongest parts cost more than removing the weakest?",
        "Rong et al., ICML 2022",
        "higher",
        faithfulness.road,
    ),
}
"""The metrics by the names that `measure` takes: `METRICS["deletion"].paper`."""


@standard_mode()
def measure(
    explanation: Explanation, metrics: Iterable[str] = tuple(METRICS)
) -> dict[str, Measurement]:
    """Measure whether a map shows what the network uses.

    Each metric takes from two to some hundred forward passes.

    Args:
        explanation: Of a class, caption or answer. The model that made it is measured.
        metrics: Names from `METRICS`.

    Returns:
        Name of a metric -> measurement.

    Raises:
        ValueError: There is no such metric; or the target is too unlikely to measure (a label
            below 0.01 %), or a function of the output, which has no probability (the correlations
            need none); or the explanation was pickled, and its model cannot be loaded by name.

    Examples:
        >>> explanation = gradcam_core.explain("cat.jpg")
        >>> metrics.measure(explanation, ["deletion"])["deletion"].value
        0.39
    """
    names = list(metrics)
    for name in names:
        if name not in METRICS:
            raise ValueError(f"There is no metric '{name}'. Known: {', '.join(METRICS)}.")
    if set(names) - {"occlusion-correlation"}:  # which is of scores
        _check_probability(explanation)
    measured = MeasuredMap.from_explanation(explanation)
    return {name: METRICS[name].measure(measured) for name in names}


def _check_probability(explanation: Explanation) -> None:
    """Raise a ValueError if a target is too unlikely to measure."""
    least = _LEAST_OF_CAPTION if explanation.rank is None else _LEAST_OF_LABEL
    if explanation.probability is not None and explanation.probability < least:
        raise ValueError(
            f"“{explanation.target}” is too unlikely to measure: its probability is "
            f"{explanation.probability:.1g} here, so nothing can be taken from it."
        )
