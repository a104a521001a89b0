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
    "in_words",
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


def in_words(findings: dict[str, Finding]) -> str:
    """Say in one sentence what findings from `measure` say of a map.

    Raises:
        ValueError: None of the metrics is among them that can say so.
    """
    said: dict[str, tuple[str, Callable[[Finding], bool]]] = {
        "deletion": ("greying what it marks", lambda f: f.value < f.beside["random order"]),
        "insertion": ("showing what it marks", lambda f: f.value > f.beside["random order"]),
        "occlusion-correlation": ("covering part after part", lambda f: f.value > 0),
    }
    verdicts = {said[name][0]: said[name][1](findings[name]) for name in said if name in findings}
    if not verdicts:
        raise ValueError(f"None of {', '.join(said)} was measured.")
    agree = [how for how, right in verdicts.items() if right]
    if len(agree) == len(verdicts):
        return f"The map marks what the network uses: {_listed(agree)} changes the answer most."
    if not agree:
        return "The map does not show what the network uses: chance does as well or better."
    against = [how for how, right in verdicts.items() if not right]
    return (
        f"The evidence is mixed: {_listed(agree)} speaks for the map, {_listed(against)} does not."
    )


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


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
