"""What can be asked of a heat map. To add a metric: its function, and a row here."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from gradcam_core.evidence import faithfulness, sanity
from gradcam_core.evidence.localisation import (
    bounding_box,
    overlap,
    points_at,
    segment,
    share_inside,
)
from gradcam_core.evidence.sanity import Step
from gradcam_core.evidence.subject import Finding, Subject
from gradcam_core.explanation import Explanation
from gradcam_core.models.base import Model
from gradcam_core.models.held import load

__all__ = [
    "METRICS",
    "Finding",
    "Metric",
    "Step",
    "Subject",
    "bounding_box",
    "measure",
    "overlap",
    "points_at",
    "sanity_check",
    "segment",
    "share_inside",
]


@dataclass(frozen=True)
class Metric:
    """A question to a map, answered by a number.

    Attributes:
        title: Its name.
        paper: Authors, where and when.
        better: Which direction is better.
        measure: Map -> finding.
    """

    title: str
    paper: str
    better: Literal["higher", "lower"]
    measure: Callable[[Subject], Finding]


METRICS: dict[str, Metric] = {
    "occlusion-correlation": Metric(
        "Rank correlation with occlusion",
        "Selvaraju et al., IJCV 2019, section 5.3",
        "higher",
        faithfulness.occlusion_correlation,
    ),
    "deletion": Metric(
        "Deletion, area under the curve",
        "Petsiuk et al., BMVC 2018",
        "lower",
        faithfulness.deletion,
    ),
    "insertion": Metric(
        "Insertion, area under the curve",
        "Petsiuk et al., BMVC 2018",
        "higher",
        faithfulness.insertion,
    ),
    "average-drop": Metric(
        "Drop of the probability when only the marked is seen",
        "Chattopadhay et al., WACV 2018",
        "lower",
        faithfulness.average_drop,
    ),
}


def measure(
    explanation: Explanation, metrics: Iterable[str] = tuple(METRICS), model: Model | None = None
) -> dict[str, Finding]:
    """Ask an explanation for its evidence: is the map what the network uses?

    Each metric costs from two to some hundred forward passes.

    Args:
        explanation: Of a class, caption or answer.
        metrics: Names from `METRICS`.
        model: What was explained, if it has no name that `load` knows (a network of your own).

    Returns:
        A finding for each name.

    Raises:
        ValueError: There is no such metric, or the explanation has no probability to measure.
    """
    names = list(metrics)
    for name in names:
        if name not in METRICS:
            raise ValueError(f"There is no metric '{name}'. Known: {', '.join(METRICS)}.")
    subject = _subject(explanation, model)
    return {name: METRICS[name].measure(subject) for name in names}


def sanity_check(explanation: Explanation, model: Model | None = None) -> Iterator[Step]:
    """Randomise a classifier from the top and draw the map at each step; see `sanity.cascade`.

    Args:
        explanation: Of a class.
        model: As for `measure`.

    Raises:
        ValueError: The model is no classifier.
    """
    return sanity.cascade(_subject(explanation, model), explanation.method)


def _subject(explanation: Explanation, model: Model | None) -> Subject:
    model = load(explanation.model, explanation.task) if model is None else model
    encoded = model.encode(explanation.picture, explanation.layer)
    target = model.target(explanation.target, explanation.question, encoded)
    return Subject(model, encoded, target, explanation.raw)
