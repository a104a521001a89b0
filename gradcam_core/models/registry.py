"""Every model by name: what it is, and how to load it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gradcam_core.models.base import Model
from gradcam_core.models.embedded.answerer import load_lite_coattention, load_lite_vqa
from gradcam_core.models.embedded.captioner import load_lite_caption
from gradcam_core.models.embedded.lite import LAYERS, load_lite
from gradcam_core.models.hub import torchvision_cnns, vision_language
from gradcam_core.models.hub.by_id import load_by_id
from gradcam_core.models.hub.download import cached_hub_folder, hub_offer
from gradcam_core.models.info import NO_PEOPLE, RIGHT, ModelInfo, check_task


@dataclass(frozen=True)
class _Entry:
    info: ModelInfo
    load: Callable[[], Model]
    on_this_machine: Callable[[], bool]


_TRAINED_HERE = "Apache-2.0 backbone; head for research and education"


# From docs/figures.md, where the commands are.
_CAPTIONS = (
    "It names the thing in {} of 100 photos that it was not trained on. Colours are sometimes "
    "wrong, and it does not count."
)
_ANSWERS = (
    "Right about “What is this?” for {} of 100 photos that it was not trained on, about cat or dog "
    "for {}, about people’s own questions for {}. It cannot count, nor say where a thing is."
)
_LIMITS = {
    "lite0": f"{RIGHT.format(82.2)}. {NO_PEOPLE}",
    "lite2": f"{RIGHT.format(84.8)}. {NO_PEOPLE}",
    "lite0-caption": _CAPTIONS.format(79),
    "lite2-caption": _CAPTIONS.format(80),
    "lite0-vqa": _ANSWERS.format(82, 99, 32),
    "lite2-vqa": _ANSWERS.format(82, "over 99", 29),
    "lite0-vqa-coattention": _ANSWERS.format(82, 99, 35),
}


def _embedded(
    name: str, task: str, title: str, number: int, licence: str, load: Callable[[int], Model]
) -> _Entry:
    backbone = f"EfficientNet-Lite{number}"
    cells = {0: 7, 2: 9}[number]
    info = ModelInfo(
        name,
        task,
        title.format(backbone),
        2020,
        backbone,
        LAYERS,
        f"1280 x {cells} x {cells}",
        licence,
        limits=_LIMITS[name],
    )
    return _Entry(info, partial(load, number), lambda: True)


# The first model of each task is its default.
_REGISTRY: dict[str, _Entry] = {
    entry.info.name: entry
    for entry in [
        _embedded("lite0", "classification", "{}", 0, "Apache-2.0", load_lite),
        _embedded("lite2", "classification", "{}", 2, "Apache-2.0", load_lite),
        *(
            _Entry(
                info,
                partial(torchvision_cnns.load_cnn, name),
                partial(torchvision_cnns.has_weights, name),
            )
            for name, info in torchvision_cnns.CNNS.items()
        ),
        *(
            _embedded(
                f"lite{number}-caption",
                "captioning",
                "Show and Tell on {}",
                number,
                _TRAINED_HERE,
                load_lite_caption,
            )
            for number in (0, 2)
        ),
        *(
            _embedded(
                f"lite{number}-vqa",
                "vqa",
                "Deeper LSTM on {}",
                number,
                _TRAINED_HERE,
                load_lite_vqa,
            )
            for number in (0, 2)
        ),
        _embedded(
            "lite0-vqa-coattention",
            "vqa",
            "Co-attention on {}",
            0,
            _TRAINED_HERE,
            load_lite_coattention,
        ),
        *(
            _Entry(
                checkpoint.info,
                partial(vision_language.load_text_generator, name),
                partial(vision_language.has_weights, name),
            )
            for name, checkpoint in vision_language.CHECKPOINTS.items()
        ),
    ]
}


def models(task: str | None = None) -> list[ModelInfo]:
    """List the models, the default of each task first.

    Args:
        task: Only the models of this task; all if None.

    Raises:
        ValueError: There is no such task.
    """
    if task is not None:
        check_task(task)
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
    return ModelInfo(name, "classification", name, 0, name, (), "", licence, megabytes), here


def check_name(name: str, task: str | None = None) -> None:
    """Raise an error for a name that is no model's, or not for a task; see `held.load`."""
    known_task = _REGISTRY[name].info.task if name in _REGISTRY else "classification"
    if name not in _REGISTRY:
        _check_id(name, task)
    if task not in (None, known_task):
        raise ValueError(_unknown(name, task))


def make(name: str) -> Model:
    """Load a model, whether or not there is one like it in memory already; see `held.load`."""
    return _REGISTRY[name].load() if name in _REGISTRY else load_by_id(name)


def is_embedded(name: str) -> bool:
    """Tell whether a model comes with the package."""
    return name in _REGISTRY and not _REGISTRY[name].info.download_mb


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
