"""Models in memory: loaded once, then shared."""

import os
import threading
from collections import defaultdict

import torch
from cachetools import LRUCache

from gradcam_core.models import registry
from gradcam_core.models.backbone import device
from gradcam_core.models.base import Model
from gradcam_core.models.compute_mode import standard_mode

# How many models are cached besides the embedded ones; the least recently used is dropped.
_MAX_CACHED = max(1, int(os.environ.get("GRADCAM_MODELS", "2")))

# By name and device: a forked process may use another device than its parent.
_embedded_models: dict[tuple[str, torch.device], Model] = {}
_other_models: LRUCache[tuple[str, torch.device], Model] = LRUCache(_MAX_CACHED)
_cache_lock = threading.Lock()
# Requests for the same model share one download and one object; other models do not wait for it.
_loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


@standard_mode()
def load(name: str, task: str | None = None) -> Model:
    """Return a model; loads it at first use, then shares it.

    Embedded models stay in memory, as do the last `GRADCAM_MODELS` (2) others.

    Args:
        name: A name from `models()`; or, for an image classifier from `timm` or `transformers`, a
            local folder or an id on the Hugging Face Hub.
        task: The task that the model must be for; any if None.

    Raises:
        ValueError: There is no such model, it is for another task, or it cannot be used.
        FileNotFoundError: There is no such folder.
        ConnectionError: It has to be downloaded, and the hub cannot be reached.

    Examples:
        >>> load("lite0").layers["conv_head"]
        (1280, 7, 7)
    """
    registry.check_name(name, task)
    model = _cached(name)
    if model is None:
        with _cache_lock:
            lock = _loading[name]
        with lock:
            model = _cached(name) or _load(name)
    return model


def _cached(name: str) -> Model | None:
    key = (name, device())
    with _cache_lock:
        return _embedded_models.get(key) or _other_models.get(key)


def _load(name: str) -> Model:
    model = registry.create(name)
    with _cache_lock:
        cache = _embedded_models if registry.is_embedded(name) else _other_models
        cache[name, device()] = model
    return model
