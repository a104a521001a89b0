"""Very many photos: read ahead, through the CNN in batches, and explained one after the other.

However many there are, no more than a few are in memory at once.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from gradcam_core.explain import explain, explain_encoded
from gradcam_core.explanation import Explanation
from gradcam_core.image.open import open_image
from gradcam_core.methods import DEFAULT_METHOD
from gradcam_core.models.backbone import Encoded, pictures_a_pass
from gradcam_core.models.base import Model

AHEAD = 8  # pictures that are read before their turn

P = TypeVar("P", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")


def explain_many(
    photos: Iterable[P],
    model: Model,
    *,
    read: Callable[[Any], Image.Image] = open_image,
    target: str | None = None,
    question: str | None = None,
    layer: str | None = None,
    guided: bool = False,
    method: str = DEFAULT_METHOD,
    detail: float = 1.0,
) -> Iterator[tuple[P, Explanation | Exception]]:
    """Explain photos one after the other, the CNN in batches; a bad photo stops no other.

    Args:
        photos: Files, or what `read` takes, hashable; asked for as they are needed.
        model: From `load`.
        read: Returns a photo as RGB, or raises what `open_image` raises; called in threads.
        target: As for `explain`, of every photo.
        question: As for `explain`, of every photo.
        layer: As for `explain`.
        guided: As for `explain`; each photo needs a pass of its own then.
        method: As for `explain`.
        detail: As for `explain`; each photo needs a pass of its own then.

    Yields:
        Each photo in its order, with its explanation; or with what is wrong, a `ValueError` or an
        `OSError` as `explain` raises it.
    """
    pictures = beside(read, photos, threads=2, ahead=AHEAD)
    if guided or detail != 1:
        for photo, opened in pictures:
            try:
                explanation = explain(
                    opened.result(),
                    model.task,
                    target,
                    question,
                    model,
                    layer,
                    guided,
                    method,
                    detail,
                )
            except (ValueError, OSError) as error:
                yield photo, error
            else:
                yield photo, replace(explanation, source=_file(photo))
        return
    while batch := list(islice(pictures, pictures_a_pass())):
        for photo, encoded in _encoded(batch, model, layer):
            if isinstance(encoded, Exception):
                yield photo, encoded
                continue
            try:
                (explanation,) = explain_encoded(
                    model,
                    *encoded,
                    [target],
                    question=question,
                    method=method,
                    source=_file(photo),
                )
            except (ValueError, OSError) as error:
                yield photo, error
            else:
                yield photo, explanation


def _file(photo: object) -> Path | None:
    return photo if isinstance(photo, Path) else None


def _encoded(
    batch: Iterable[tuple[P, "Future[Image.Image]"]], model: Model, layer: str | None
) -> list[tuple[P, tuple[Encoded, Image.Image] | Exception]]:
    """Run the CNN over those of a batch that could be read."""
    pictures: dict[P, Image.Image] = {}
    wrong: dict[P, Exception] = {}
    photos = []
    for photo, opened in batch:
        photos.append(photo)
        try:
            pictures[photo] = opened.result()
        except (ValueError, OSError) as error:
            wrong[photo] = error
    if not pictures:
        return [(photo, wrong[photo]) for photo in photos]
    try:
        encoded = model.backbone.encode_many([*pictures.values()], layer)
    except ValueError as error:
        return [(photo, wrong.get(photo, error)) for photo in photos]
    found = dict(zip(pictures, zip(encoded, pictures.values(), strict=True), strict=True))
    return [(photo, wrong[photo] if photo in wrong else found[photo]) for photo in photos]


def beside(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int
) -> Iterator[tuple[T, "Future[R]"]]:
    """Call a function of each item in threads, beside what the caller does.

    Args:
        function: Of an item.
        items: Asked for as they are needed.
        threads: How many.
        ahead: How many items at most are begun before their turn.

    Yields:
        Each item in its order, with its result, which may have to be waited for.
    """
    begun: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                begun.append((item, pool.submit(function, item)))
                if len(begun) > ahead:
                    yield begun.popleft()
            while begun:
                yield begun.popleft()
        finally:
            for _, future in begun:  # nobody waits for them any more
                future.cancel()
