"""All models by name: what is known of each, and how to load it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gradcam_core.models.base import Model
from gradcam_core.models.embedded.answerer import load_lite_coattention, load_lite_vqa
from gradcam_core.models.embedded.captioner import load_lite_caption
from gradcam_core.models.embedded.lite import LAYERS, load_lite
from gradcam_core.models.hub import checkpoints, torchvision_cnns
from gradcam_core.models.hub.by_id import load_by_id
from gradcam_core.models.hub.download import cached_hub_folder, hub_info
from gradcam_core.models.info import NO_PEOPLE, TOP1, ModelInfo, check_task


@dataclass(frozen=True)
class _Entry:
    info: ModelInfo
    create: Callable[[], Model]
    on_this_machine: Callable[[], bool]


# What was measured, by the commands in docs/figures.md.
_CAPTIONS = (
    "It names the main thing in {} % of 200 photos of classes that it was not trained on. Colours "
    "are sometimes wrong, and it does not count."
)
_ANSWERS = (
    "Correct answers: “What is this?” {} % (200 photos of classes that it was not trained on), "
    "cat or dog {} % (280 photos), people’s own questions {} % (of 63). It can neither count nor "
    "locate things."
)


def _embedded(
    suffix: str, task: str, title: str, number: int, load: Callable[[int], Model], limits: str
) -> _Entry:
    backbone = f"EfficientNet-Lite{number}"
    cells = {0: 7, 2: 9}[number]
    trained_here = "" if task == "classification" else " backbone; head for research and education"
    info = ModelInfo(
        f"lite{number}{suffix}",
        task,
        title.format(backbone),
        2020,
        backbone,
        LAYERS,
        f"1280 x {cells} x {cells}",
        f"Apache-2.0{trained_here}",
        limits=limits,
    )
    return _Entry(info, partial(load, number), lambda: True)


def _captioner(number: int, limits: str) -> _Entry:
    title = "Show and Tell on {}"
    return _embedded("-caption", "captioning", title, number, load_lite_caption, limits)


def _answerer(number: int, limits: str) -> _Entry:
    return _embedded("-vqa", "vqa", "Deeper LSTM on {}", number, load_lite_vqa, limits)


_COATTENTION = _embedded(
    "-vqa-coattention",
    "vqa",
    "Co-attention on {}",
    0,
    load_lite_coattention,
    _ANSWERS.format(82, 99, 35),
)

# The first model of each task is its default, see `default_model`.
_REGISTRY: dict[str, _Entry] = {
    entry.info.name: entry
    for entry in [
        _embedded("", "classification", "{}", 0, load_lite, f"{TOP1.format(75.1)} {NO_PEOPLE}"),
        _embedded("", "classification", "{}", 2, load_lite, f"{TOP1.format(77.6)} {NO_PEOPLE}"),
        *(
            _Entry(
                info,
                partial(torchvision_cnns.load_cnn, name),
                partial(torchvision_cnns.has_weights, name),
            )
            for name, info in torchvision_cnns.CNNS.items()
        ),
        _captioner(0, _CAPTIONS.format(79)),
        _captioner(2, _CAPTIONS.format(80)),
        _answerer(0, _ANSWERS.format(82, 99, 32)),
        _answerer(2, _ANSWERS.format(82, "over 99", 29)),
        _COATTENTION,
        *(
            _Entry(
                checkpoint.info,
                partial(checkpoints.load_text_generator, name),
                partial(checkpoints.has_weights, name),
            )
            for name, checkpoint in checkpoints.CHECKPOINTS.items()
        ),
    ]
}


def models(task: str | None = None) -> list[ModelInfo]:
    """Return what is known of each model, the default of each task first.

    Args:
        task: Only the models for this task; all if None.

    Raises:
        ValueError: There is no such task.

    Examples:
        >>> [info.name for info in models("captioning")][:2]
        ['lite0-caption', 'lite2-caption']
    """
    if task is not None:
        check_task(task)
    return [entry.info for entry in _REGISTRY.values() if task in (None, entry.info.task)]


def default_model(task: str) -> ModelInfo:
    """Return the model that is used for a task unless another is named.

    Raises:
        ValueError: There is no such task.
    """
    return models(task)[0]


def describe(name: str) -> tuple[ModelInfo, bool]:
    """Return what is known of a model, and whether it is on this machine already.

    Args:
        name: As for `load`. For a model from the Hugging Face Hub that is not in `models()` and not
            downloaded yet, this asks the hub.

    Raises:
        ValueError: There is no such model.
        FileNotFoundError: There is no such folder.
        ConnectionError: The hub cannot be reached.

    Examples:
        >>> info, downloaded = describe("lite0")
        >>> info.backbone, downloaded
        ('EfficientNet-Lite0', True)
    """
    if name in _REGISTRY:
        return _REGISTRY[name].info, _REGISTRY[name].on_this_machine()
    check_name(name)
    here = Path(name).is_dir() or cached_hub_folder(name) is not None
    megabytes, licence = (0, "see its folder") if here else hub_info(name)[1:]
    return ModelInfo(name, "classification", name, 0, name, (), "", licence, megabytes), here


def check_name(name: str, task: str | None = None) -> None:
    """Check, without asking the hub, that a name can be that of a model for a task; see `load`.

    Raises:
        ValueError: It cannot.
        FileNotFoundError: There is no such folder.
    """
    known = name in _REGISTRY
    if task in (None, _REGISTRY[name].info.task if known else "classification"):
        if known or Path(name).is_dir():
            return
        if name.startswith((".", "/", "~")) or Path(name).is_absolute():
            raise FileNotFoundError(f"There is no folder {name}.")
        if name.count("/") == 1:
            return
    names = ", ".join(info.name for info in models(task))
    ids = "; or a folder, or an id on the Hugging Face Hub such as timm/resnet18.a1_in1k"
    raise ValueError(
        f"There is no model '{name}'{f' for {task}' if task else ''}. Known: {names}"
        f"{ids if task in (None, 'classification') else ''}."
    )


def create(name: str) -> Model:
    """Load a model anew; `load` is the same with a cache."""
    return _REGISTRY[name].create() if name in _REGISTRY else load_by_id(name)


def is_embedded(name: str) -> bool:
    """Return whether a model comes with the package."""
    return name in _REGISTRY and not _REGISTRY[name].info.download_mb
