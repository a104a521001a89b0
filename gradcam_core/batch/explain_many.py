"""Many photos: read ahead, through the CNN in batches, and explained one after the other.

However many there are, only a few are in memory at once.
"""

import warnings
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from torch import Tensor

from gradcam_core.explain import Explainer, Layer, check, query_for
from gradcam_core.explanation import Explanation
from gradcam_core.image import open_image
from gradcam_core.methods import DEFAULT_METHOD
from gradcam_core.models.backbone import Encoded, batch_size
from gradcam_core.models.base import Model
from gradcam_core.models.compute_mode import standard_mode
from gradcam_core.models.model_cache import load
from gradcam_core.query import FUSED, Query, Target, Task

READ_AHEAD = 8  # pictures that are read before their turn

P = TypeVar("P", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")
Outcome = Explanation | Exception
_Encoded = tuple[Encoded, Image.Image]


def explain_many(
    images: Iterable[Any],
    task: Task = "classification",
    target: Target | Iterable[Target | None] | None = None,
    question: str | None = None,
    model: str | Model | None = None,
    layer: Layer | Sequence[Layer] | None = None,
    method: str = DEFAULT_METHOD,
    guided: bool = False,
    detail: float = 1.0,
) -> Iterator[Explanation]:
    """Explain many pictures, the CNN in batches; only a few are in memory at once.

    Args:
        images: Paths, PIL images or arrays, as for `explain`; or preprocessed inputs of the network
            as tensors: (C, H, W) each, or batches (n, C, H, W), or pairs of a batch and its
            targets, as a `DataLoader` gives them. It is consumed lazily.
        target: As for `explain`; or one for each picture, if there are no targets in `images`.
        task: See `explain`.
        question: See `explain`.
        model: See `explain`.
        layer: See `explain`.
        method: See `explain`.
        guided: See `explain`; not for tensors.
        detail: See `explain`; not for tensors.

    Yields:
        The explanations in order. Files that cannot be read or explained are skipped, with a
        warning. The picture of a tensor is the tensor, scaled from black to white.

    Raises:
        ValueError: The query does not fit the model, or a picture that is no file cannot be
            explained; see `explain`.

    Examples:
        >>> for explanation in explain_many(Path("photos").glob("*.jpg"), target="tabby"):
        ...     print(explanation.source, explanation)
        >>> for explanation in explain_many(loader, model=wrap(network)):
        ...     explanation.raw
    """
    query, given = query_for(task, None, question, model, layer, method, guided, detail)
    resolved = load(query.model_name, query.task) if given is None else given
    return _each(_items(images, target), check(query, resolved), resolved)


def _each(items: Iterator["_Item"], query: Query, model: Model) -> Iterator[Explanation]:
    first = next(items, None)
    if first is None:
        return
    items = chain([first], items)
    if isinstance(first.image, Tensor):
        yield from _explain_tensors(items, query, model)
        return
    photos = _explain_photos(
        items, query, model, lambda item: open_image(item.image), lambda item: item.target
    )
    for item, outcome in photos:
        if isinstance(outcome, Explanation):
            is_file = isinstance(item.image, str | Path)
            yield replace(outcome, source=Path(item.image)) if is_file else outcome
        elif isinstance(item.image, str | Path):
            warnings.warn(f"Skipped {item.image}: {outcome}", stacklevel=2)
        else:
            raise outcome


@dataclass(frozen=True, eq=False)
class _Item:
    """A picture, or the network's input (C, H, W), and its target."""

    image: Any
    target: Target | None


def _items(images: Iterable[Any], target: Any) -> Iterator[_Item]:
    """Yield each picture or input with its target."""
    single = target is None or isinstance(target, str | int) or callable(target)
    targets = repeat(target) if single else iter(target)
    for each in images:
        batch, own = each if isinstance(each, list | tuple) and len(each) == 2 else (each, None)
        if isinstance(batch, list | tuple) and len(batch) == 1:  # as of a TensorDataset
            (batch,) = batch
        if not isinstance(batch, Tensor):
            rows = [batch]
        else:
            rows = [batch] if batch.ndim == 3 else list(batch)
        if own is not None:
            own = own.tolist() if isinstance(own, Tensor) else own
            targets = iter(own if isinstance(own, list | tuple) else [own])
        for row in rows:
            try:
                yield _Item(row, next(targets))
            except StopIteration:
                raise ValueError("There are fewer targets than pictures.") from None


@standard_mode()
def _explain_tensor(item: _Item, query: Query, model: Model) -> Explanation:
    pixels, backbone = item.image.detach()[None], model.backbone
    weights = (each for stage in backbone.stages.values() for each in stage.parameters())
    first = next((each for each in weights if each.is_floating_point()), pixels)
    encoded = backbone.encode_pixels(pixels.to(first.device, first.dtype), query.layer)
    head = model.bind(encoded, query.question)
    picture = _shown(item.image)
    (explanation,) = Explainer().explain_head(head, picture, query, [item.target])
    return explanation


def _explain_tensors(items: Iterable[_Item], query: Query, model: Model) -> Iterator[Explanation]:
    if query.guided or query.detail != 1 or FUSED in (query.layer or ""):
        raise ValueError("Tensors have no guided, finer or fused maps here.")
    for item in items:
        yield _explain_tensor(item, query, model)


def _shown(pixels: Tensor) -> Image.Image:
    """Return an input (C, H, W) as a picture, scaled from black to white."""
    values = pixels.detach().float().cpu()
    values = values[:3] if len(values) >= 3 else values[:1].expand(3, -1, -1)
    low, high = values.amin(), values.amax()
    scaled = (values - low) / (high - low).clamp(min=1e-12) * 255
    return Image.fromarray(scaled.round().byte().permute(1, 2, 0).contiguous().numpy())


def explain_photos(
    photos: Iterable[P],
    query: Query,
    model: Model | None = None,
    *,
    read: Callable[[Any], Image.Image] = open_image,
) -> Iterator[tuple[P, Outcome]]:
    """Explain many photos for one query, the CNN in batches; bad photos are reported, not raised.

    Args:
        photos: Files, or whatever `read` takes, hashable; an iterator is consumed lazily.
        query: What is asked of every photo. Guided, finer or fused maps take one pass per photo.
        model: From `wrap`; None for the query's model.
        read: Returns a photo as RGB, or raises what `open_image` raises; runs in threads.

    Yields:
        Each photo in order, with its explanation or with a `ValueError` or `OSError`.

    Raises:
        ValueError: The query does not fit the model; see `explain.check`.

    Examples:
        >>> for file, explanation in explain_photos(Path("photos").glob("*.jpg"), Query()):
        ...     print(file, explanation)
    """
    model = load(query.model_name, query.task) if model is None else model
    return _explain_photos(photos, check(query, model), model, read, lambda _: query.target)


def _explain_photos(
    photos: Iterable[P],
    query: Query,
    model: Model,
    read: Callable[[Any], Image.Image],
    target_of: Callable[[Any], Target | None],
) -> Iterator[tuple[P, Outcome]]:
    pictures = in_threads(read, photos, threads=2, ahead=READ_AHEAD)
    explainer = Explainer()
    if query.guided or query.detail != 1 or FUSED in (query.layer or ""):
        for photo, opened in pictures:

            def explain_alone(photo: P = photo, opened: Any = opened) -> Explanation:
                asked = replace(query, target=target_of(photo))
                return explainer.explain(opened.result(), asked, model)

            yield photo, _outcome(photo, explain_alone)
        return
    while batch := list(islice(pictures, batch_size())):
        for photo, encoded in _encode(batch, model, query.layer):
            if isinstance(encoded, Exception):
                yield photo, encoded
                continue

            def explain(photo: P = photo, one: _Encoded = encoded) -> Explanation:
                head = model.bind(one[0], query.question)
                return explainer.explain_head(head, one[1], query, [target_of(photo)])[0]

            yield photo, _outcome(photo, explain)


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
) -> Generator[tuple[T, "Future[R]"]]:
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
