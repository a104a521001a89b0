"""Every model by name: what it is, and how to load it."""

import os
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cachetools import LRUCache

from gradcam_core.models import hub
from gradcam_core.models.base import Model
from gradcam_core.models.by_id import load_by_id
from gradcam_core.models.classifiers import load_lite
from gradcam_core.models.download import cached_hub_folder, hub_offer
from gradcam_core.models.lite import LAYERS
from gradcam_core.models.show_and_tell import load_lite_caption
from gradcam_core.models.torchvision_cnns import CNNS, has_weights, load_cnn
from gradcam_core.models.vqa_lstm import load_lite_vqa

TASKS = ("classification", "captioning", "vqa")


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without loading it.

    Attributes:
        name: As given to `load` and `explain`.
        task: "classification", "captioning" or "vqa".
        backbone: The network that Grad-CAM looks at.
        layers: Its possible target layers, from input to output; the last is the default. Empty
            where only loading tells.
        feature_map: Channels x height x width at the default layer; "" where only loading tells.
        licence: Of the weights.
        download_mb: Size of the download at first use, in 10^6 bytes; 0 for an embedded model.
        guided: Whether guided backpropagation is faithful (every non-linearity is a ReLU).
        convolutional: Whether the feature map is that of a convolutional network.
    """

    name: str
    task: str
    backbone: str
    layers: tuple[str, ...]
    feature_map: str
    licence: str
    download_mb: int
    guided: bool
    convolutional: bool = True


@dataclass(frozen=True)
class _Entry:
    info: ModelInfo
    load: Callable[[], Model]
    on_this_machine: Callable[[], bool]


def _embedded(
    name: str, task: str, number: int, cells: int, licence: str, load: Callable[[], Model]
) -> _Entry:
    info = ModelInfo(
        name,
        task,
        f"EfficientNet-Lite{number}",
        LAYERS,
        f"1280 x {cells} x {cells}",
        licence,
        download_mb=0,
        guided=True,
    )
    return _Entry(info, load, lambda: True)


def _torchvision(name: str) -> _Entry:
    cnn = CNNS[name]
    info = ModelInfo(
        name,
        "classification",
        cnn.title,
        cnn.layers,
        cnn.feature_map,
        "BSD-3-Clause",
        cnn.download_mb,
        guided=not cnn.not_relu,
    )
    return _Entry(info, partial(load_cnn, name), partial(has_weights, name))


def _hub(name: str) -> _Entry:
    writer = hub.WRITERS[name]
    info = ModelInfo(
        name,
        writer.task,
        writer.title,
        writer.layers,
        writer.feature_map,
        writer.licence,
        writer.download_mb,
        guided=False,
        convolutional=writer.convolutional,
    )
    return _Entry(
        info,
        partial(hub.load_writer, name),
        lambda: cached_hub_folder(writer.repository) is not None,
    )


_TRAINED_HERE = "Apache-2.0 backbone; head for research and education"

# The first model of each task is its default.
_REGISTRY: dict[str, _Entry] = {
    entry.info.name: entry
    for entry in [
        _embedded("lite0", "classification", 0, 7, "Apache-2.0", partial(load_lite, 0)),
        _embedded("lite2", "classification", 2, 9, "Apache-2.0", partial(load_lite, 2)),
        *map(_torchvision, CNNS),
        _embedded(
            "lite0-caption", "captioning", 0, 7, _TRAINED_HERE, partial(load_lite_caption, 0)
        ),
        _embedded(
            "lite2-caption", "captioning", 2, 9, _TRAINED_HERE, partial(load_lite_caption, 2)
        ),
        _embedded("lite0-vqa", "vqa", 0, 7, _TRAINED_HERE, partial(load_lite_vqa, 0)),
        _embedded("lite2-vqa", "vqa", 2, 9, _TRAINED_HERE, partial(load_lite_vqa, 2)),
        *map(_hub, hub.WRITERS),
    ]
}

# Beside the embedded models so many are held; the one used least recently goes.
_HELD = int(os.environ.get("GRADCAM_MODELS", "2"))

_embedded_models: dict[str, Model] = {}
_other_models: LRUCache[str, Model] = LRUCache(max(1, _HELD))
_guard = threading.Lock()
# Two requests for a model that is not there yet must get one and the same object; but nobody
# waits for the download of another model.
_loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def models(task: str | None = None) -> list[ModelInfo]:
    """List the models, the default of each task first.

    Args:
        task: Only the models of this task; all if None.

    Raises:
        ValueError: There is no such task.
    """
    if task not in (None, *TASKS):
        raise ValueError(f"There is no task '{task}'. Known: {', '.join(TASKS)}.")
    return [entry.info for entry in _REGISTRY.values() if task in (None, entry.info.task)]


def describe(name: str) -> tuple[ModelInfo, bool]:
    """Tell what a model is before it is loaded, and whether it is on this machine already.

    Args:
        name: As for `load`. For one that is only on the hub, the hub is asked.

    Raises:
        ValueError: There is no model of this name.
        ConnectionError: The hub cannot be reached.
    """
    if name in _REGISTRY:
        return _REGISTRY[name].info, _REGISTRY[name].on_this_machine()
    _check_id(name)
    here = Path(name).is_dir() or cached_hub_folder(name) is not None
    megabytes, licence = (0, "see its folder") if here else hub_offer(name)[1:]
    info = ModelInfo(name, "classification", name, (), "", licence, megabytes, guided=False)
    return info, here


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
    known_task = _REGISTRY[name].info.task if name in _REGISTRY else "classification"
    if name not in _REGISTRY:
        _check_id(name, task)
    if task not in (None, known_task):
        raise ValueError(_unknown(name, task))
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
    with _guard:
        return _embedded_models.get(name) or _other_models.get(name)


def _load(name: str) -> Model:
    model = _REGISTRY[name].load() if name in _REGISTRY else load_by_id(name)
    with _guard:
        embedded = name in _REGISTRY and not _REGISTRY[name].info.download_mb
        (_embedded_models if embedded else _other_models)[name] = model
    return model


def _check_id(name: str, task: str | None = None) -> None:
    """Raise an error for a name that can be neither a folder nor an id on the hub."""
    if Path(name).is_dir():
        return
    if name.startswith((".", "/", "~")) or Path(name).is_absolute():
        raise FileNotFoundError(f"There is no folder {name}.")
    if name.count("/") != 1:
        raise ValueError(_unknown(name, task))


def _unknown(name: str, task: str | None) -> str:
    known = ", ".join(info.name for info in models(task))
    ids = "; or a folder, or an id on the Hugging Face Hub such as timm/resnet18.a1_in1k"
    return (
        f"There is no model '{name}'{f' for {task}' if task else ''}. Known: {known}"
        f"{ids if task in (None, 'classification') else ''}."
    )
