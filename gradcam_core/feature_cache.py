"""What is kept between two explanations: feature maps, and what the models said of them.

Models are held by `models.held`. Page, command line and workers ask here, so that a second
question about a picture costs no second pass through the CNN.
"""

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cachetools import LRUCache, cached
from PIL import Image

from gradcam_core.explain import explain_encoded
from gradcam_core.explanation import Explanation
from gradcam_core.image.open import open_image
from gradcam_core.methods import DEFAULT_METHOD, METHODS, method_named
from gradcam_core.methods.gradients import Maps, one_by_one
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import LabelModel, Model, Prediction, Target
from gradcam_core.models.model_cache import load
from gradcam_core.models.registry import models
from gradcam_core.models.wrapped.analysis import tensors_in

# Pictures are kept no larger than this; `Explanation.save` of a cached one is of this size.
DISPLAY_SIDE = 768

_CACHE_BYTES = 256 * 2**20  # of feature maps, inputs and pictures; 1 to 15 MB each
_CACHED_PREDICTIONS = 1024
_MAP_BYTES = 64 * 2**20  # of slow methods; some kilobytes each, at the input some hundred
_SUGGESTED = 8


def explain_file(
    file: Path,
    task: str = "classification",
    target: str | None = None,
    question: str | None = None,
    model: str | None = None,
    layer: str | None = None,
    guided: bool = False,
    method: str = DEFAULT_METHOD,
) -> Explanation:
    """Explain a picture file; the CNN runs only if it has not seen the picture yet.

    Takes what `explain` takes, but files and names only, and raises what it raises. What it
    takes and returns can be pickled. The explanation's picture is at most `DISPLAY_SIDE` a side.
    """
    name = models(task)[0].name if model is None else model
    slow = method_named(method).slow
    loaded = load(name, task)
    digest = _digest(file)
    encoded, picture = _encode(digest, file, loaded.backbone, layer or loaded.backbone.layers[-1])
    (explanation,) = explain_encoded(
        loaded,
        encoded,
        picture,
        [target],
        question=question,
        predictions=_predict(digest, loaded, encoded, question),
        with_guided=guided,
        method=method,
        maps=one_by_one(partial(_slow_maps, digest, method)) if slow else None,
        source=file,
    )
    return explanation


@dataclass(frozen=True, eq=False)
class Unseen:
    """A picture that the CNN has not seen.

    Attributes:
        digest: Of its file.
        picture: Opened.
        backbone: The CNN.
        layer: The target layer.
    """

    digest: str
    picture: Image.Image
    backbone: Backbone
    layer: str


def open_unseen(file: Path, model: str, layer: str | None = None) -> Unseen | None:
    """Open a picture file for `encode_together`; None if the CNN has seen it.

    Raises:
        ValueError, FileNotFoundError, ConnectionError: See `explain_file`.
    """
    backbone = load(model).backbone
    layer, digest = backbone.layer_named(layer), _digest(file)
    if (digest, backbone.name, layer) in _maps:
        return None
    return Unseen(digest, open_image(file), backbone, layer)


def encode_together(unseen: Iterable[Unseen]) -> None:
    """Run the CNN once over several pictures; `explain_file` finds their feature maps then."""
    together: defaultdict[tuple[Backbone, str], list[Unseen]] = defaultdict(list)
    for one in unseen:
        together[one.backbone, one.layer].append(one)
    for (backbone, layer), ones in together.items():
        encoded = backbone.encode_many([one.picture for one in ones], layer)
        for one, of_one in zip(ones, encoded, strict=True):
            one.picture.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
            with _maps_lock:
                _maps[one.digest, backbone.name, layer] = of_one, one.picture


def suggest_file(
    file: Path, task: str, text: str, question: str | None = None, model: str | None = None
) -> list[Prediction]:
    """Return what a text may mean of which not all may be typed yet, the best fits first.

    Of labels that fit equally well, the likelier in the picture come first; at most eight, and none
    for captions. Takes what `explain_file` takes, and raises what it raises; of the text, only its
    length is an error.
    """
    loaded = load(models(task)[0].name if model is None else model, task)
    if not isinstance(loaded, LabelModel):
        return []
    encoded, _ = _encode(_digest(file), file, loaded.backbone, loaded.backbone.layers[-1])
    known = loaded.predict(encoded, question, k=len(loaded.labels))
    likely = {label.text: label for label in known}
    return [likely[text] for text in loaded.suggestions(text, encoded, question, _SUGGESTED)]


def _digest(file: Path) -> str:
    """Tell pictures apart by what is in the file: each tab has its own upload of the same one."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _size(entry: tuple[Encoded, Image.Image]) -> int:
    """Return the bytes of a cached picture."""
    encoded, picture = entry
    tensors = (encoded.activations, encoded.pixels, *tensors_in(encoded.features))
    return sum(tensor.nbytes for tensor in tensors) + 3 * picture.width * picture.height


_maps = LRUCache[tuple[str, str, str], tuple[Encoded, Image.Image]](_CACHE_BYTES, getsizeof=_size)
_maps_lock = threading.Lock()


@cached(
    _maps,
    key=lambda digest, path, backbone, layer: (digest, backbone.name, layer),
    lock=_maps_lock,
)
def _encode(digest: str, path: Path, backbone: Backbone, layer: str) -> tuple[Encoded, Image.Image]:
    picture = open_image(path)
    encoded = backbone.encode(picture, layer)
    picture.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
    return encoded, picture


# What a model itself says does not change with the target that is explained, nor with the layer.
@cached(
    LRUCache(_CACHED_PREDICTIONS),
    key=lambda digest, model, encoded, question: (digest, model.name, question),
    lock=threading.Lock(),
)
def _predict(digest: str, model: Model, encoded: Encoded, question: str | None) -> list[Prediction]:
    return model.predict(encoded, question)


@cached(
    LRUCache(
        _MAP_BYTES,
        getsizeof=lambda maps: (
            maps.evidence.nbytes + maps.counterevidence.nbytes + maps.words.nbytes
        ),
    ),
    key=lambda digest, method, model, encoded, target: (
        *(digest, method, model.name, encoded.layer, target),
    ),
    lock=threading.Lock(),
)
def _slow_maps(digest: str, method: str, model: Model, encoded: Encoded, target: Target) -> Maps:
    return METHODS[method].maps(model, encoded, target)
