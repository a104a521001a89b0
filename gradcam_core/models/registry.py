"""Every model by name: what it is, and how to load it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from gradcam_core.models.base import Model
from gradcam_core.models.classifiers import load_lite0

_LITE0_LAYERS = ("stem", *(f"blocks.{i}" for i in range(7)), "conv_head")


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without loading it.

    Attributes:
        name: As given to `load` and `explain`.
        task: "classification", "captioning" or "vqa".
        backbone: The CNN that Grad-CAM looks at.
        layers: Its possible target layers, from input to output; the last is the default.
        licence: Of the weights.
        download_mb: Size of the download at first use; 0 for an embedded model.
        guided: Whether guided backpropagation is faithful (every non-linearity is a ReLU).
    """

    name: str
    task: str
    backbone: str
    layers: tuple[str, ...]
    licence: str
    download_mb: int
    guided: bool


_REGISTRY: dict[str, tuple[ModelInfo, Callable[[], Model]]] = {
    info.name: (info, loader)
    for info, loader in [
        (
            ModelInfo(
                name="lite0",
                task="classification",
                backbone="EfficientNet-Lite0",
                layers=_LITE0_LAYERS,
                licence="Apache-2.0",
                download_mb=0,
                guided=True,
            ),
            load_lite0,
        ),
    ]
}

TASKS = ("classification", "captioning", "vqa")

# Two requests for a model that is not there yet must get one and the same object.
_loading = threading.RLock()


def models(task: str | None = None) -> list[ModelInfo]:
    """List the models, the default of each task first.

    Args:
        task: Only the models of this task; all if None.

    Raises:
        ValueError: There is no such task.
    """
    if task is not None:
        _check_task(task)
    return [info for info, _ in _REGISTRY.values() if task in (None, info.task)]


def load(name: str) -> Model:
    """Return a model, ready to explain; loaded once, then shared.

    Raises:
        ValueError: There is no model of this name.
        FileNotFoundError: Its weights are not on this machine.
        ConnectionError: They are to be downloaded, and the hub cannot be reached.
    """
    if name not in _REGISTRY:
        raise ValueError(f"There is no model '{name}'. Known: {', '.join(_REGISTRY)}.")
    with _loading:
        return _load(name)


def default_model(task: str) -> str:
    """Return the name of the embedded model of `task`.

    Raises:
        ValueError: There is no such task, or no model for it.
    """
    found = models(task)
    if not found:
        raise ValueError(f"There is no model for {task} yet.")
    return found[0].name


@cache
def _load(name: str) -> Model:
    return _REGISTRY[name][1]()


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise ValueError(f"There is no task '{task}'. Known: {', '.join(TASKS)}.")
