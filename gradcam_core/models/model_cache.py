"""Models in memory: loaded once, then shared."""

import os
import threading
from collections import defaultdict

import torch
from cachetools import LRUCache

from gradcam_core.models import registry
from gradcam_core.models.backbone import device
from gradcam_core.models.base import Model

# Beside the embedded models so many are held; the one used least recently goes.
_MAX_HELD = int(os.environ.get("GRADCAM_MODELS", "2"))

# By name and device: a forked process may have another device than the one that it comes from.
_embedded_models: dict[tuple[str, torch.device], Model] = {}
_other_models: LRUCache[tuple[str, torch.device], Model] = LRUCache(max(1, _MAX_HELD))
_guard = threading.Lock()
# Two requests for a model that is not there yet must get one and the same object; but nobody
# waits for the download of another model.
_loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def load(name: str, task: str | None = None) -> Model:
    """Return a model, ready to explain; loaded once, then shared.

    Embedded models stay; of the others the `GRADCAM_MODELS` (2) used last are held.

    Args:
        name: A name from `models()`; or, for an image classifier of `timm` or `transformers`, a
            local folder or its id on the Hugging Face Hub.
        task: Raise an error if it is not a model for this task.

    Raises:
        ValueError: There is no model of this name, or not for this task, or it cannot be used.
        FileNotFoundError: There is no such folder.
        ConnectionError: It is to be downloaded, and the hub cannot be reached.
    """
    registry.check_name(name, task)
    found = _held(name)
    if found is None:
        with _guard:
            lock = _loading[name]
        with lock:
            found = _held(name)
            if found is None:
                found = _load(name)
    return found


def _held(name: str) -> Model | None:
    key = (name, device())
    with _guard:
        return _embedded_models.get(key) or _other_models.get(key)


def _load(name: str) -> Model:
    model = registry.make(name)
    with _guard:
        held = _embedded_models if registry.is_embedded(name) else _other_models
        held[name, device()] = model
    return model
