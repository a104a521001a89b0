"""Many photos: read ahead, through the CNN in batches, and explained one after the other.

However many there are, only a few are in memory at once.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from gradcam_core.explain import Explainer, check
from gradcam_core.explanation import Explanation
from gradcam_core.image import open_image
from gradcam_core.models.backbone import Encoded, batch_size
from gradcam_core.models.base import Model
from gradcam_core.models.compute_mode import standard_mode
from gradcam_core.models.model_cache import load
from gradcam_core.query import Query

READ_AHEAD = 8  # pictures that are read before their turn

P = TypeVar("P", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")
Outcome = Explanation | Exception


def explain_many(
    photos: Iterable[P],
    query: Query,
    model: Model | None = None,
    *,
    read: Callable[[Any], Image.Image] = open_image,
) -> Iterator[tuple[P, Outcome]]:
    """Explain many photos for one query, the CNN in batches; bad photos are reported, not raised.

    Args:
        photos: Files, or whatever `read` takes, hashable; an iterator is consumed lazily.
        query: For every photo. Guided or finer maps take one pass per photo.
        model: From `wrap`; None for the query's model.
        read: Returns a photo as RGB, or raises what `open_image` raises; runs in threads.

    Yields:
        Each photo in order, with its explanation or with a `ValueError` or `OSError`.

    Raises:
        ValueError: The query does not fit the model; see `explain.check`.

    Example:
        >>> for file, explanation in explain_many(Path("photos").glob("*.jpg"), Query()):
        ...     print(file, explanation)
    """
    model = load(query.model_name, query.task) if model is None else model
    query = check(query, model)
    return _explain_many(photos, query, model, read)


def _explain_many(
    photos: Iterable[P], query: Query, model: Model, read: Callable[[Any], Image.Image]
) -> Iterator[tuple[P, Outcome]]:
    pictures = in_threads(read, photos, threads=2, ahead=READ_AHEAD)
    if query.guided or query.detail != 1:
        for photo, opened in pictures:
            yield photo, _outcome(photo, partial(_explain_alone, opened, query, model))
        return
    explainer = Explainer()
    while batch := list(islice(pictures, batch_size())):
        for photo, encoded in _encode(batch, model, query.layer):
            if isinstance(encoded, Exception):
                yield photo, encoded
                continue

            def explain(one: tuple[Encoded, Image.Image] = encoded) -> Explanation:
                head = model.bind(one[0], query.question)
                return explainer.explain_head(head, one[1], query, [query.target])[0]

            yield photo, _outcome(photo, explain)


def _explain_alone(opened: "Future[Image.Image]", query: Query, model: Model) -> Explanation:
    return Explainer().explain(opened.result(), query, model)


def _outcome(photo: object, explain: Callable[[], Explanation]) -> Outcome:
    """Return an explanation with its source, or the error that it raised."""
    try:
        return replace(explain(), source=photo if isinstance(photo, Path) else None)
    except (ValueError, OSError) as error:
        return error


@standard_mode()
def _encode(
    batch: Iterable[tuple[P, "Future[Image.Image]"]], model: Model, layer: str | None
) -> list[tuple[P, tuple[Encoded, Image.Image] | Exception]]:
    """Run the CNN over the photos of a batch that could be read."""
    pictures: dict[P, Image.Image] = {}
    errors: dict[P, Exception] = {}
    photos = []
    for photo, opened in batch:
        photos.append(photo)
        try:
            pictures[photo] = opened.result()
        except (ValueError, OSError) as error:
            errors[photo] = error
    if not pictures:
        return [(photo, errors[photo]) for photo in photos]
    try:
        encoded = model.backbone.encode_many([*pictures.values()], layer)
    except ValueError as error:
        return [(photo, errors.get(photo, error)) for photo in photos]
    results = dict(zip(pictures, zip(encoded, pictures.values(), strict=True), strict=True))
    return [(photo, errors[photo] if photo in errors else results[photo]) for photo in photos]


def in_threads(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int
) -> Iterator[tuple[T, "Future[R]"]]:
    """Call a function of each item in threads, while the caller works.

    Args:
        function: Of an item.
        items: An iterator is consumed lazily.
        threads: The number of threads.
        ahead: The largest number of items started before their turn.

    Yields:
        Each item in order, with the future of its result.
    """
    started: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                started.append((item, pool.submit(function, item)))
                if len(started) > ahead:
                    yield started.popleft()
            while started:
                yield started.popleft()
        finally:
            for _, future in started:
                future.cancel()
