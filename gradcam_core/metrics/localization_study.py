"""Weakly supervised localisation and the pointing game over many photos: sections 4.1 and 4.3."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from gradcam_core.explanation import Explanation
from gradcam_core.metrics.boxes import Thing
from gradcam_core.metrics.localization import (
    THRESHOLD,
    Rectangle,
    bounding_box,
    overlap,
    points_at,
    segment,
)
from gradcam_core.models.base import LabelModel

_ENOUGH = 0.5  # intersection over union above which a box is found
_OFFERED = 5  # classes that a network may name


class Offer(NamedTuple):
    """One of the classes that a network names first, and its map.

    Attributes:
        present: Whether the thing is in the photo, by people's boxes.
        highest: The map's maximum, not normalised.
        points: Whether the maximum lies in one of its boxes.
        boxed: Whether the map's box overlaps with one of them by more than a half.
    """

    present: bool
    highest: float
    points: bool
    boxed: bool


class Judged(NamedTuple):
    """What one photo says of a method's maps.

    Attributes:
        offers: Of the network's five best, best first.
        points: For each kind of thing in the photo: whether its map's maximum lies on one.
    """

    offers: tuple[Offer, ...]
    points: tuple[bool, ...]


class Result(NamedTuple):
    """What many photos say; shares in [0, 1].

    Attributes:
        photos: How many.
        classified: (top-1, top-5) error of the classes alone.
        localised: (top-1, top-5) error of class and box: lower is better. The paper's section 4.1.
        pointing: Share of maps whose maximum lies on the thing: higher is better. Zhang et al.,
            ECCV 2016.
        pointing_or_none: The same of the five best, where a map below a threshold says "not there"
            and is right if it is not: higher is better. The paper's section 4.3. The threshold of
            each half of the photos is the best of the other half.
    """

    photos: int
    classified: tuple[float, float]
    localised: tuple[float, float]
    pointing: float
    pointing_or_none: float


def judge(
    model: LabelModel,
    photo: Image.Image,
    things: Sequence[Thing],
    explain: Callable[[str], Explanation],
    threshold: float = THRESHOLD,
) -> Judged | None:
    """Ask the maps of one photo whether they lie on its things.

    Args:
        model: A classifier.
        photo: RGB.
        things: Its boxes.
        explain: Class -> explanation.
        threshold: Of the maximum, above which a map's box is drawn.

    Returns:
        None if the model knows none of the things.
    """
    boxes: dict[int, list[Rectangle]] = {}
    encoded = model.encode(photo)
    points = []
    for label in dict.fromkeys(thing.label for thing in things):
        there = [thing.box_in(*photo.size) for thing in things if thing.label == label]
        try:
            ids = model.find(_as_typed(label))
            target = model.target(_as_typed(label), encoded=encoded) if ids else None
        except ValueError:
            continue
        if target is None:
            continue
        for index in ids:
            boxes.setdefault(index, []).extend(there)
        heatmap = explain(target.text).heatmap
        points.append(any(points_at(heatmap, box) for box in there))
    if not points:
        return None
    offers = []
    for best in model.predict(encoded, k=_OFFERED):
        explanation = explain(best.text)
        there = boxes.get(model.target(best.text, encoded=encoded).ids[0], [])
        found = bounding_box(segment(explanation.heatmap, threshold))
        offers.append(
            Offer(
                bool(there),
                float(explanation.raw.max()),
                any(points_at(explanation.heatmap, box) for box in there),
                found is not None and any(overlap(found, box) > _ENOUGH for box in there),
            )
        )
    return Judged(tuple(offers), tuple(points))


def summarise(judged: Iterable[Judged]) -> Result:
    """Count over photos.

    Raises:
        ValueError: There are none.
    """
    all_ = list(judged)
    if not all_:
        raise ValueError("There is no photo with boxes around things that the network knows.")

    def error(counts: Callable[[Offer], bool], first: int) -> float:
        found = [any(counts(offer) for offer in each.offers[:first]) for each in all_]
        return 1 - float(np.mean(found))

    halves = (all_[::2], all_[1::2])
    rejecting = [
        _right(offer, _best_threshold(other))
        for half, other in (halves, halves[::-1])
        for each in half
        for offer in each.offers
    ]
    return Result(
        len(all_),
        (error(lambda o: o.present, 1), error(lambda o: o.present, _OFFERED)),
        (error(lambda o: o.boxed, 1), error(lambda o: o.boxed, _OFFERED)),
        float(np.mean([point for each in all_ for point in each.points])),
        float(np.mean(rejecting)),
    )


def _right(offer: Offer, threshold: float) -> bool:
    return offer.points if offer.highest >= threshold else not offer.present


def _best_threshold(judged: Sequence[Judged]) -> float:
    offers = [offer for each in judged for offer in each.offers]
    candidates = sorted({0.0, *(offer.highest for offer in offers)})
    return max(candidates, key=lambda at: sum(_right(offer, at) for offer in offers))


def _as_typed(label: str) -> str:
    """Return a data set's name of a class as `Model.target` takes it: WordNet ids as the index."""
    if not re.fullmatch(r"n\d{8}", label):
        return label
    from timm.data import ImageNetInfo  # slow to import

    known: list[str] = ImageNetInfo("imagenet-1k").label_names()
    return str(known.index(label)) if label in known else label
