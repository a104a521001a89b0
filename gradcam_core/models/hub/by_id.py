"""Image classifiers from `timm` and `transformers`, by folder or id on the Hugging Face Hub."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from gradcam_core.models.backbone import device
from gradcam_core.models.hub import trial
from gradcam_core.models.hub.download import first_line, hub_folder
from gradcam_core.models.labels import imagenet_classes
from gradcam_core.models.wrapped.hooked import AsInput, HookedNetwork
from gradcam_core.models.wrapped.wrap import WrappedModel

# Limits for untrusted settings, far above those of real classifiers.
_MAX_SETTINGS_MB = 10
_MAX_CLASSES = 100_000
_MAX_NAME = 1000
_MAX_SIDE = 4096
_MAX_MODULES = 5_000

# The files that are read.
_SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")
_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")

_CLASSES = re.compile("num_classes|num_labels|id2label|label_names")
_SIDES = re.compile(
    "((test_)?input|img|image|crop|pad)_size|size|(shortest|longest)_edge|(max_|min_)?(height|width)"
)


class _Loaded(NamedTuple):
    """A network, its preprocessing, its classes (names and synonyms), and whether several apply."""

    network: nn.Module
    as_input: AsInput
    classes: list[tuple[str, ...]]
    multi_label: bool = False


def load_by_id(name: str) -> WrappedModel:
    """Return a `timm` or `transformers` image classifier.

    Its layers are the feature maps that all later computation goes through.

    Args:
        name: A local folder, or "owner/name" on the hub, such as "timm/resnet18.a1_in1k" or
            "microsoft/resnet-50", which is downloaded at first use.

    Raises:
        ConnectionError: It is not on this machine, and cannot be downloaded.
        ValueError: It does not exist, or is not an image classifier with a feature map.
    """
    folder = Path(name) if Path(name).is_dir() else hub_folder(name)
    try:
        trial.check(folder, _check_files(folder))
        return _open(name, folder)
    except Exception as error:  # unknown files raise errors of many types
        reason = first_line(error)
        raise ValueError(f"{name} cannot be used as an image classifier: {reason}") from error


def try_folder(folder: Path) -> str:
    """Load, run and explain the classifier in a folder; return why that is impossible, or "".

    For a process of its own: it changes how modules are made.

    Raises:
        MemoryError: There is not enough memory.
    """
    count = 0

    def limit_modules(*_: object) -> None:
        nonlocal count
        count += 1
        if count > _MAX_MODULES:
            raise ValueError(f"its settings ask for more than {_MAX_MODULES:,} layers.")

    register_module_module_registration_hook(limit_modules)
    try:
        model = _open(str(folder), folder)
        head = model.bind(model.encode(Image.new("RGB", (256, 256))))
        score, *_ = head.scores([head.target(0)])
        score.terms.sum().backward()
    except Exception as error:  # as above
        reason = first_line(error)
        if isinstance(error, MemoryError) or re.search("alloc", reason):
            raise MemoryError from None
        return reason
    return ""


def _open(name: str, folder: Path) -> WrappedModel:
    _check_archives(folder)
    network, as_input, classes, multi_label = _load(folder)
    if any(len(name) > _MAX_NAME for names in classes for name in names):
        raise ValueError(f"a class has a name of more than {_MAX_NAME:,} characters.")
    backbone = HookedNetwork(name, network.to(device()), as_input, chain=True)
    if backbone.default_layer is None:
        raise ValueError(
            "it has no feature map that all later computation goes through, as CNNs and vision "
            "transformers have."
        )
    return WrappedModel(name, backbone, classes, multi_label)


def _check_files(folder: Path) -> int:
    """Return the size of the weights' files in bytes, after a look at every file's kind and size.

    Raises:
        ValueError: The files ask for too much, or for other files.
    """
    weights = 0
    for path in folder.iterdir():
        if path.is_dir():
            continue
        if not path.is_file():  # a device, a pipe, a broken link
            raise ValueError(f"its {path.name} is not a regular file.")
        if path.name in _SETTINGS or path.name.endswith(".index.json"):
            _check_settings(path)
        elif path.suffix in _WEIGHTS:
            weights += path.stat().st_size
            with path.open("rb") as file:
                header = int.from_bytes(file.read(8), "little")
            if path.suffix == ".safetensors" and header > _MAX_SETTINGS_MB * 10**6:
                raise ValueError(
                    f"the header of its {path.name} is larger than {_MAX_SETTINGS_MB} MB."
                )
    return weights


def _check_archives(folder: Path) -> None:
    """Refuse weights that are compressed: they can be a thousand times as large as their file."""
    for path in folder.iterdir():
        if path.suffix in _WEIGHTS and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if sum(part.file_size for part in archive.infolist()) > path.stat().st_size:
                    raise ValueError(f"its {path.name} is compressed.")


def _check_settings(path: Path) -> None:
    if path.stat().st_size > _MAX_SETTINGS_MB * 10**6:
        raise ValueError(f"its {path.name} is larger than {_MAX_SETTINGS_MB} MB.")
    settings = json.loads(path.read_text("utf-8"))
    if _largest(settings, _CLASSES) > _MAX_CLASSES:
        raise ValueError(f"its {path.name} asks for more than {_MAX_CLASSES:,} classes.")
    if _largest(settings, _SIDES) > _MAX_SIDE:
        raise ValueError(
            f"its {path.name} asks for pictures of more than {_MAX_SIDE:,} pixels a side."
        )
    if path.name.endswith(".index.json"):
        for part in set(settings["weight_map"].values()):
            if Path(part).name != part:
                raise ValueError(f"its {path.name} names files outside of its folder.")


def _load(folder: Path) -> _Loaded:
    settings = folder / "config.json"
    if not settings.is_file():
        raise ValueError(f"there is no config.json in {folder}.")
    config = json.loads(settings.read_text("utf-8"))
    if "architecture" in config:
        return _timm(folder, config)
    if "model_type" in config:
        return _transformers(folder)
    raise ValueError("its config.json is from neither timm nor transformers.")


def _largest(settings: Any, keys: re.Pattern[str], found: bool = False) -> float:
    """Return the largest number, or length of a list, among the values of some keys.

    Args:
        settings: A value from JSON.
        keys: Of the values.
        found: Whether this is the value of such a key.
    """
    if isinstance(settings, dict):
        inner = [
            _largest(value, keys, found or bool(keys.fullmatch(key)))
            for key, value in settings.items()
        ]
        return max([len(inner) * found, *inner])
    if isinstance(settings, list):
        return max([len(settings) * found, *(_largest(value, keys, found) for value in settings)])
    return settings if found and isinstance(settings, int | float) else 0


def _timm(folder: Path, config: dict[str, Any]) -> _Loaded:
    import timm

    network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    transform = timm.data.create_transform(
        **timm.data.resolve_data_config({}, model=network), is_training=False
    )
    count = network.num_classes
    if count < 1:
        raise ValueError("it comes without a classifier.")
    names = config.get("label_names") or config.get("pretrained_cfg", {}).get("label_names")
    if names and len(names) == count:
        if not all(isinstance(name, str) for name in names):
            raise ValueError("its label_names are not all texts.")
        descriptions = config.get("label_descriptions") or {}
        classes = [tuple(descriptions.get(name, name).split(", ")) for name in names]
    elif count == 1000:
        classes = imagenet_classes()
    else:
        classes = [(f"class {i}",) for i in range(count)]
    return _Loaded(network, lambda image: transform(image)[None], classes)


def _transformers(folder: Path) -> _Loaded:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    network, loaded = AutoModelForImageClassification.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
    )
    if loaded["missing_keys"]:
        raise ValueError("it comes without the weights of a classifier.")
    problem = network.config.problem_type
    if problem == "regression":
        raise ValueError("it predicts quantities, not classes (problem_type: regression).")
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    labels = network.config.id2label
    return _Loaded(
        network,
        lambda image: processor(image, return_tensors="pt")["pixel_values"],
        [tuple(labels[i].split(", ")) for i in range(len(labels))],
        problem == "multi_label_classification",
    )
