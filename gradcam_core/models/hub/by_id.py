"""Image classifiers from `timm` and `transformers`, by folder or id on the Hugging Face Hub."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from gradcam_core.models.backbone import device
from gradcam_core.models.hub.download import first_line, hub_folder
from gradcam_core.models.labels import imagenet_classes
from gradcam_core.models.wrapped.hooked import AsInput, HookedNetwork
from gradcam_core.models.wrapped.wrap import WrappedModel

# Limits for untrusted settings, far above those of real classifiers.
_MAX_SETTINGS_MB = 10
_MAX_CLASSES = 100_000


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
        network, as_input, classes, multi_label = _load(folder)
        backbone = HookedNetwork(name, network.to(device()), as_input, chain=True)
        if backbone.default_layer is None:
            raise ValueError(
                "it has no feature map that all later computation goes through, as CNNs and "
                "vision transformers have."
            )
        return WrappedModel(name, backbone, classes, multi_label)
    except Exception as error:  # unknown files raise errors of many types
        reason = first_line(error)
        raise ValueError(f"{name} cannot be used as an image classifier: {reason}") from error


def _load(folder: Path) -> _Loaded:
    settings = folder / "config.json"
    if not settings.is_file():
        raise ValueError(f"there is no config.json in {folder}.")
    if settings.stat().st_size > _MAX_SETTINGS_MB * 10**6:
        raise ValueError(f"its config.json is larger than {_MAX_SETTINGS_MB} MB.")
    config = json.loads(settings.read_text("utf-8"))
    if _classes_in(config) > _MAX_CLASSES:
        raise ValueError(f"its config.json asks for more than {_MAX_CLASSES:,} classes.")
    if "architecture" in config:
        return _timm(folder, config)
    if "model_type" in config:
        return _transformers(folder)
    raise ValueError("its config.json is from neither timm nor transformers.")


def _classes_in(settings: Any) -> int:
    """Return the largest number of classes in the settings, before anything is built."""
    if not isinstance(settings, dict):
        return 0
    counts = [_classes_in(inner) for inner in settings.values()]
    for key in ("num_classes", "num_labels", "id2label", "label2id", "label_names"):
        value = settings.get(key, 0)
        if isinstance(value, int | float):
            counts.append(int(value))
        elif isinstance(value, dict | list):
            counts.append(len(value))
    return max(counts, default=0)


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
