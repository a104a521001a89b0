"""Localization error and pointing game over many photos: the paper's sections 4.1 and 4.3."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from gradcam_core.explain import Explainer, check
from gradcam_core.metrics.boxes import LabelledBox
from gradcam_core.metrics.localization import (
    MIN_IOU,
    THRESHOLD,
    Rectangle,
    bounding_box,
    iou,
    points_at,
    segment,
)
from gradcam_core.models.base import LabelHead
from gradcam_core.models.model_cache import load
from gradcam_core.query import Query

_TOP = 5  # predictions of a photo that count


class TopClass(NamedTuple):
    """One of the network's five best predictions of a photo, and its map.

    Attributes:
        present: Whether the photo has a box of the class.
        maximum: The map's maximum, not normalized.
        pointed: Whether the map's maximum lies in such a box.
        localized: Whether the map's box overlaps with such a box by more than `MIN_IOU`.
    """

    present: bool
    maximum: float
    pointed: bool
    localized: bool


class PhotoResult(NamedTuple):
    """The result for one photo.

    Attributes:
        top: The network's five best predictions, best first.
        pointed: For each class that is present in the photo: whether its map's maximum lies in one
            of its boxes.
    """

    top: tuple[TopClass, ...]
    pointed: tuple[bool, ...]


class StudyResult(NamedTuple):
    """The result for many photos; errors and shares are in [0, 1].

    Attributes:
        photos: Number of photos.
        classification_error: (top-1, top-5) of the classes alone; lower is better.
        localization_error: (top-1, top-5) of class and box, the paper's section 4.1; lower is
            better.
        pointing: Share of maps whose maximum lies on the object; higher is better. Zhang et al.,
            ECCV 2016.
        pointing_with_none: The paper's section 4.3: the same for the five best predictions, where
            a map below a threshold means "not there", which is correct if it is not; higher is
            better. The threshold for each half of the photos is the best one of the other half.
    """

    photos: int
    classification_error: tuple[float, float]
    localization_error: tuple[float, float]
    pointing: float
    pointing_with_none: float


def evaluate_photo(
    photo: Image.Image,
    objects: Sequence[LabelledBox],
    query: Query,
    threshold: float = THRESHOLD,
) -> PhotoResult | None:
    """Compare the maps of one photo with the boxes of its objects, in one pass of the CNN.

    Args:
        photo: RGB.
        objects: Its labelled boxes.
        query: Classifier, layer, method and detail; its target is ignored.
        threshold: Share of a map's maximum above which its box is drawn.

    Returns:
        None if the model has no class for any of the objects.

    Raises:
        ValueError: The model is not a classifier, or see `explain`.
    """
    model = load(query.model_name, query.task)
    query = check(query, model)
    head = model.bind(model.encode(photo, query.layer), query.question)
    if query.task != "classification" or not isinstance(head, LabelHead):
        raise ValueError(f"Localization is for classifiers, not for {query.task}.")
    present: list[tuple[str, list[Rectangle]]] = []  # each label's likeliest class, its boxes
    boxes: dict[int, list[Rectangle]] = {}  # of every class that a label may mean
    for label in dict.fromkeys(each.label for each in objects):
        there = [each.scaled_to(*photo.size) for each in objects if each.label == label]
        try:
            ids = head.model.find(_class_name(label))
        except ValueError:
            continue
        if ids:
            present.append((head.target(_class_name(label)).text, there))
        for index in ids:
            boxes.setdefault(index, []).extend(there)
    if not present:
        return None
    predicted = [head.target(prediction.text) for prediction in head.predictions(_TOP)]
    names = list(dict.fromkeys([name for name, _ in present] + [each.text for each in predicted]))
    finer = None if query.detail == 1 else model.encode(photo, query.layer, query.detail)
    explanations = Explainer().explain_head(head, photo, query, names, finer=finer)
    maps = {name: (each, each.heatmap) for name, each in zip(names, explanations, strict=True)}
    top = []
    for target in predicted:
        explanation, heatmap = maps[target.text]
        there = boxes.get(target.ids[0], [])
        drawn = bounding_box(segment(heatmap, threshold))
        top.append(
            TopClass(
                bool(there),
                float(explanation.raw.max()),
                any(points_at(heatmap, box) for box in there),
                drawn is not None and any(iou(drawn, box) > MIN_IOU for box in there),
            )
        )
    pointed = [any(points_at(maps[name][1], box) for box in there) for name, there in present]
    return PhotoResult(tuple(top), tuple(pointed))


def summarise(results: Iterable[PhotoResult]) -> StudyResult:
    """Summarize the results of many photos.

    Raises:
        ValueError: There are none.
    """
    photos = list(results)
    if not photos:
        raise ValueError("No photo has a box of an object that the network has a class for.")

    def error(correct: Callable[[TopClass], bool], first: int) -> float:
        hits = [any(correct(each) for each in photo.top[:first]) for photo in photos]
        return 1 - float(np.mean(hits))

    halves = (photos[::2], photos[1::2])
    with_none = [
        _correct(each, _best_threshold(other))
        for half, other in (halves, halves[::-1])
        for photo in half
        for each in photo.top
    ]
    return StudyResult(
        len(photos),
        (error(lambda top: top.present, 1), error(lambda top: top.present, _TOP)),
        (error(lambda top: top.localized, 1), error(lambda top: top.localized, _TOP)),
        float(np.mean([pointed for photo in photos for pointed in photo.pointed])),
        float(np.mean(with_none)),
    )


def _correct(top: TopClass, threshold: float) -> bool:
    return top.pointed if top.maximum >= threshold else not top.present


def _best_threshold(photos: Sequence[PhotoResult]) -> float:
    tops = [each for photo in photos for each in photo.top]
    candidates = sorted({0.0, *(each.maximum for each in tops)})
    return max(candidates, key=lambda threshold: sum(_correct(each, threshold) for each in tops))


def _class_name(label: str) -> str:
    """Return a label as `Model.target` takes it: for a WordNet id, the index of its class."""
    if not re.fullmatch(r"n\d{8}", label):
        return label
    from timm.data import ImageNetInfo  # slow to import

    known: list[str] = ImageNetInfo("imagenet-1k").label_names()
    return str(known.index(label)) if label in known else label
