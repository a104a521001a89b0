"""What can be asked of a heat map. To add a metric: its function, and a row here."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from gradcam_core.explanation import Explanation
from gradcam_core.metrics import faithfulness
from gradcam_core.metrics import randomization as sanity
from gradcam_core.metrics.adversarial import RADIUS, Fooled, fooled
from gradcam_core.metrics.localization import (
    bounding_box,
    overlap,
    points_at,
    segment,
    share_inside,
)
from gradcam_core.metrics.measurement import Finding, Subject
from gradcam_core.metrics.occlude import FILLINGS, cover
from gradcam_core.metrics.randomization import Step
from gradcam_core.models.base import LabelModel, Model
from gradcam_core.models.model_cache import load

__all__ = [
    "FILLINGS",
    "METRICS",
    "Finding",
    "Fooled",
    "Metric",
    "Step",
    "Subject",
    "bounding_box",
    "cover",
    "fool",
    "in_words",
    "measure",
    "overlap",
    "points_at",
    "sanity_check",
    "segment",
    "share_inside",
    "speaks_for",
]

_COMPARED_SIDE = 768  # pixels of a picture on which boxes are compared


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
    "road": Metric(
        "ROAD: removed least marked first, less most marked first",
        "Rong et al., ICML 2022",
        "higher",
        faithfulness.road,
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


# Metric -> whether a finding speaks for the map; what it says if it does, and if it does not.
_SAID: dict[str, tuple[Callable[[Finding], bool], str, str]] = {
    "deletion": (
        lambda f: f.value < f.beside["random order"],
        "greying what it marks takes the answer away sooner than chance",
        "greying what it marks takes the answer away no sooner than chance",
    ),
    "insertion": (
        lambda f: f.value > f.beside["random order"],
        "what it marks brings the answer back sooner than chance",
        "what it marks brings the answer back no sooner than chance",
    ),
    "occlusion-correlation": (
        faithfulness.ranks_alike,
        "covering the parts that it ranks high costs more than covering others",
        "covering the parts that it ranks high costs no more than covering others",
    ),
}


def speaks_for(findings: dict[str, Finding]) -> dict[str, bool]:
    """Tell of those findings from `measure` that can say so whether they speak for the map."""
    return {name: _SAID[name][0](findings[name]) for name in _SAID if name in findings}


def in_words(findings: dict[str, Finding]) -> str:
    """Say in one sentence what findings from `measure` say of a map.

    Raises:
        ValueError: None of the metrics is among them that can say so.
    """
    speaks = speaks_for(findings)
    if not speaks:
        raise ValueError(f"None of {', '.join(_SAID)} was measured.")
    agree = _listed([_SAID[name][1] for name, right in speaks.items() if right])
    against = _listed([_SAID[name][2] for name, right in speaks.items() if not right])
    if not against:
        return f"The map marks what the network uses: {agree}."
    if not agree:
        return f"The map does not show what the network uses: {against}."
    return f"The evidence is mixed: {agree}, but {against}."


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
    subject = _subject(explanation, model, explanation.detail)
    return sanity.cascade(subject, explanation.method)


def fool(
    explanation: Explanation,
    target: str | None = None,
    radius: float = RADIUS,
    model: Model | None = None,
) -> Fooled:
    """Change the picture unseen until a classifier says something else: does the map stay?

    The paper's section 6.2; see `adversarial.attack`.

    Args:
        explanation: Of the class that is really there.
        target: The class that it is made to say; None for the one that it finds least likely.
        radius: Largest change of a colour, as a share of its range, in (0, 1].
        model: As for `measure`.

    Raises:
        ValueError: The model is no classifier, or there is no such class, or it is the one that
            is explained.
    """
    if explanation.task != "classification":
        raise ValueError("Classifiers are made to say something else; captions and answers not.")
    found, encoded, there, _ = _subject(explanation, model)
    assert isinstance(found, LabelModel)
    if target is None:
        target = found.predict(encoded, k=len(found.labels))[-1].text
    goal = found.target(target, encoded=encoded)
    if goal == there:
        raise ValueError(f"“{goal.text}” is what is explained: choose another class.")
    picture = explanation.picture.copy()
    picture.thumbnail((_COMPARED_SIDE, _COMPARED_SIDE))
    return fooled(found, encoded, replace(explanation, picture=picture), goal, radius)


def _subject(explanation: Explanation, model: Model | None, detail: float = 1.0) -> Subject:
    model = load(explanation.model, explanation.task) if model is None else model
    encoded = model.encode(explanation.picture, explanation.layer, detail)
    target = model.target(explanation.target, explanation.question, encoded)
    return Subject(model, encoded, target, explanation.raw)
