"""Concepts that explain a class: named directions among the channels, and what each contributes.

The Grad-CAM paper (section 7) names single channels. A single channel of the embedded network
means many things at once, so weighted sums of all channels are named instead (Zhou et al. 2018,
"Interpretable Basis Decomposition for Visual Explanation"). `training/channels.py` finds them and
measures how well the names fit.
"""

import csv
from dataclasses import dataclass
from functools import cache

import numpy as np
from safetensors.numpy import load_file

from gradcam_core.models.base import Head, ResolvedTarget
from gradcam_core.models.classifiers import Classifier, ClassifierHead
from gradcam_core.models.embedded import WEIGHTS

# Concepts with a smaller share of the evidence are left out: from these on, people agree in 90 % of
# cases that the photo shows them (benchmarks/reasons.py; figures in weights/lite0-names.md).
LEAST_FOR, LEAST_AGAINST = 0.2, 0.35
MOST = 3  # concepts for a class, and as many against it


@dataclass(frozen=True)
class Concept:
    """Something in the picture that counts for a class, or against it.

    Attributes:
        name: "dog", "snow", ...
        share: Its part of the class's score above the mean score of all classes, in [-1, 1];
            negative if it counts against the class. Relative to the sum of everything that counts
            for the class, named or not, or against it, whichever is larger.
        top10_correct: How many of the 10 photos with the strongest response show the concept, in
            0..10; measured on photos that did not define the direction.
        raw: (h, w) float32 >= 0, where it raises the score (or lowers it, if `share` < 0), in
            units of the score. Cells with the opposite effect are 0 here; including them, the mean
            over all cells is its contribution to the score.

    Examples:
        >>> for concept in explain("cat.jpg", target="tabby").concepts:
        ...     print(f"{concept.name}: {concept.share:.0%}")
        cat: 45%
    """

    name: str
    share: float
    top10_correct: int
    raw: np.ndarray

    @property
    def in_words(self) -> str:
        """Name and share: "dog (41 %)"."""
        return f"{self.name} ({100 * abs(self.share):.0f} %)"


@dataclass(frozen=True)
class _ConceptBasis:
    """Named directions among the channels of a network's last map.

    Attributes:
        names: Of the concepts.
        top10_correct: See `Concept`.
        directions: (concepts, C) float32.
        offset: (concepts,) float32, the typical response of a picture without the concept.
        thresholds: (concepts,) float32, the response above `offset` from which at least half of
            the photos show the concept.
        weights: (classes, concepts) float32, what a response of 1 adds to a class's score.
    """

    names: tuple[str, ...]
    top10_correct: tuple[int, ...]
    directions: np.ndarray
    offset: np.ndarray
    thresholds: np.ndarray
    weights: np.ndarray


@cache
def _basis(model: str) -> _ConceptBasis | None:
    """Return the concepts of a model by its name; None if it has none."""
    table = WEIGHTS / f"{model}-names.csv"
    if not table.exists():
        return None
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    arrays = load_file(table.with_suffix(".safetensors"))
    return _ConceptBasis(
        tuple(row["name"] for row in rows),
        tuple(int(row["of_ten"]) for row in rows),
        *(arrays[key].astype(np.float32) for key in ("directions", "offset", "seen", "parts")),
    )


def concepts(head: Head, target: ResolvedTarget) -> tuple[Concept, ...] | None:
    """Return the concepts seen in the picture that count for a class, then those against it.

    At most three for and three against, the strongest first; none with so small a
    share that people often do not see it in the picture. The contributions of
    all concepts add up to the named part of the class's score above the mean score of all classes.

    Args:
        head: From `Model.bind`.
        target: From `head.target`.

    Returns:
        None for a model without named concepts: all but the embedded classifier lite0.

    Examples:
        >>> head = model.bind(model.encode(image))
        >>> [concept.name for concept in concepts(head, head.target("tabby"))]
        ['cat']
    """
    # A wrapped network has none, even if it is called lite0.
    if type(head.model) is not Classifier or not isinstance(head, ClassifierHead):
        return None
    basis = _basis(head.model.name)
    if basis is None:
        return None
    (index,) = target.ids
    maps = head.encoded.head_input[0].detach().cpu().numpy()
    responses = basis.directions @ maps.mean((1, 2)) - basis.offset
    contributions = basis.weights[index] * responses
    score = (head.logits[index] - head.logits.mean()).item()
    unnamed = score - float(contributions.sum())
    supporting = float(contributions.clip(min=0).sum()) + max(unnamed, 0.0)
    opposing = -float(contributions.clip(max=0).sum()) + max(-unnamed, 0.0)
    seen = responses >= basis.thresholds
    share = np.where(seen, contributions / max(supporting, opposing), 0)
    order = share.argsort()[::-1].tolist()
    chosen = [i for i in order[:MOST] if share[i] >= LEAST_FOR]
    chosen += [i for i in order[: -MOST - 1 : -1] if share[i] <= -LEAST_AGAINST]
    # A response is linear in the map: the contribution is the mean of the cells' contributions.
    cells = np.tensordot(basis.directions[chosen], maps, 1) - basis.offset[chosen, None, None]
    signed = np.sign(share[chosen])[:, None, None] * basis.weights[index, chosen, None, None]
    return tuple(
        Concept(basis.names[i], float(share[i]), basis.top10_correct[i], raw.clip(min=0))
        for i, raw in zip(chosen, signed * cells, strict=True)
    )
