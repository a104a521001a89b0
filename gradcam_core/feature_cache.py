"""What is kept between two explanations: feature maps, and what was computed from them.

A second query about a picture needs no second pass through the CNN. Models are kept by
`models.model_cache`.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

from cachetools import LRUCache, cached
from PIL import Image

from gradcam_core.methods.gradients import Maps
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Prediction
from gradcam_core.models.wrapped.parts import tensors_in

# Cached pictures are no larger than this per side; `Explanation.save` then writes this size.
DISPLAY_SIDE = 768

_FEATURE_BYTES = 256 * 2**20  # of feature maps, inputs and pictures; 1 to 15 MB each
_PREDICTIONS = 1024
_MAP_BYTES = 64 * 2**20  # of slow methods; some kilobytes each, at the input some hundred

Value = TypeVar("Value")
Picture = tuple[Encoded, Image.Image]  # after the CNN, and the picture at display size


class FeatureCache:
    """Least-recently-used caches, bounded in bytes; threads may share it.

    Attributes:
        lookups: How often each cache ("pictures", "predictions" or "maps") has had what was looked
            for (True) or not (False).

    Examples:
        >>> explainer = Explainer(FeatureCache())
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lookups: Counter[tuple[str, bool]] = Counter()
        self._pictures: LRUCache[Hashable, Picture] = LRUCache(_FEATURE_BYTES, _picture_bytes)
        self._predictions: LRUCache[Hashable, list[Prediction]] = LRUCache(_PREDICTIONS)
        self._maps: LRUCache[Hashable, Maps] = LRUCache(_MAP_BYTES, _map_bytes)

    def picture(self, key: Hashable, compute: Callable[[], Picture]) -> Picture:
        """Return an encoded picture, computed if it is not cached."""
        return self._get("pictures", self._pictures, key, compute)

    def predictions(
        self, key: Hashable, compute: Callable[[], list[Prediction]]
    ) -> list[Prediction]:
        """Return a model's predictions, computed if they are not cached."""
        return self._get("predictions", self._predictions, key, compute)

    def maps(self, key: Hashable, compute: Callable[[], Maps]) -> Maps:
        """Return the maps of a slow method, computed if they are not cached."""
        return self._get("maps", self._maps, key, compute)

    def has_picture(self, key: Hashable) -> bool:
        """Whether a picture is cached."""
        with self._lock:
            return key in self._pictures

    def add_picture(self, key: Hashable, picture: Picture) -> None:
        """Cache an encoded picture."""
        with self._lock:
            self._pictures[key] = picture

    def _get(
        self,
        name: str,
        cache: "LRUCache[Hashable, Value]",
        key: Hashable,
        compute: Callable[[], Value],
    ) -> Value:
        with self._lock:
            self.lookups[name, key in cache] += 1
        # `cached` computes outside the lock, and does not keep what is larger than the cache.
        value: Value = cached(cache, key=lambda: key, lock=self._lock)(compute)()
        return value


def digest(file: Path) -> str:
    """Return the SHA-256 of a file's content: several uploads of one picture share it."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _picture_bytes(picture: Picture) -> int:
    encoded, image = picture
    head_input = getattr(encoded.head_input, "value", encoded.head_input)  # of an `Output`
    tensors: list[Any] = [encoded.activations, encoded.pixels, *tensors_in(head_input)]
    return sum(tensor.nbytes for tensor in tensors) + 3 * image.width * image.height


def _map_bytes(maps: Maps) -> int:
    return maps.attribution.nbytes + maps.counterfactual.nbytes + maps.words.nbytes
