"""Every model by name: what it is, and how to load it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from gradcam_core.models.base import Model
from gradcam_core.models.classifiers import load_lite0
from gradcam_core.models.show_and_tell import load_lite0_caption
from gradcam_core.models.vqa_lstm import load_lite0_vqa

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


def _embedded(name: str, task: str, licence: str) -> ModelInfo:
    return ModelInfo(
        name, task, "EfficientNet-Lite0", _LITE0_LAYERS, licence, download_mb=0, guided=True
    )


_TRAINED_HERE = "Apache-2.0 backbone; head for research and education"

# The first model of each task is its default.
_REGISTRY: dict[str, tuple[ModelInfo, Callable[[], Model]]] = {
    info.name: (info, loader)
    for info, loader in [
        (_embedded("lite0", "classification", "Apache-2.0"), load_lite0),
        (_embedded("lite0-caption", "captioning", _TRAINED_HERE), load_lite0_caption),
        (_embedded("lite0-vqa", "vqa", _TRAINED_HERE), load_lite0_vqa),
    ]
}

TASKS = ("classification", "captioning", "vqa")

# Two requests for a model that is not there yet must get one and the same object; who asks for
# one that is there does not wait.
_loaded: dict[str, Model] = {}
_loading = threading.Lock()


def models(task: str | None = None) -> list[ModelInfo]:
    """List the models, the default of each task first.

    Args:
        task: Only the models of this task; all if None.

    Raises:
        ValueError: There is no such task.
    """
    if task not in (None, *TASKS):
        raise ValueError(f"There is no task '{task}'. Known: {', '.join(TASKS)}.")
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
    if name not in _loaded:
        with _loading:
            if name not in _loaded:
                _loaded[name] = _REGISTRY[name][1]()
    return _loaded[name]
