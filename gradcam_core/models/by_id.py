"""Any image classifier with a CNN, by its id on the Hugging Face Hub or by its folder."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.geometry import seen_through
from gradcam_core.models.backbone import Backbone, device
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.cut import cut
from gradcam_core.models.download import first_line, hub_folder
from gradcam_core.models.labels import distinct, imagenet_classes
from gradcam_core.models.nonlinearity import NonLinearities

AsInput = Callable[[Image.Image], Tensor]  # RGB picture -> (1, 3, H, W) float32


def load_by_id(name: str) -> Classifier:
    """Return a `timm` or `transformers` image classifier, cut at its last feature map.

    Args:
        name: A local folder, or "owner/name" on the hub, as "timm/resnet18.a1_in1k" or
            "microsoft/resnet-50"; downloaded at first use.

    Raises:
        ConnectionError: It is not on this machine, and cannot be downloaded.
        ValueError: It does not exist, or it is no image classifier with a CNN.
    """
    folder = Path(name) if Path(name).is_dir() else hub_folder(name)
    try:
        network, as_input, classes = _load(folder)
        network = network.eval().requires_grad_(False).to(device())
        for module in network.modules():
            if hasattr(module, "inplace"):
                module.inplace = False  # a feature map must outlive the ReLU after it
        noise = Image.effect_noise((320, 240), 64).convert("RGB")
        with NonLinearities() as others:
            layer, start, rest = cut(network, as_input(noise).to(device()))
    except Exception as error:  # foreign files raise whatever the libraries trip over
        why = first_line(error)
        raise ValueError(f"{name} cannot be used as an image classifier: {why}") from error
    other_activation = " and ".join(sorted(others.seen))
    backbone = Backbone(
        name, {layer: start}, seen_through(as_input), other_activation=other_activation
    )
    return Classifier(name, backbone, rest, distinct(classes))


def _load(folder: Path) -> tuple[nn.Module, AsInput, Sequence[Sequence[str]]]:
    """Return a network, its preprocessing, and its class names with their synonyms."""
    settings = folder / "config.json"
    if not settings.is_file():
        raise ValueError(f"there is no config.json in {folder}.")
    config = json.loads(settings.read_text("utf-8"))
    if "architecture" in config:
        return _timm(folder, config)
    if "model_type" in config:
        return _transformers(folder)
    raise ValueError("its config.json is neither that of timm nor that of transformers.")


def _timm(folder: Path, config: dict[str, Any]) -> tuple[nn.Module, AsInput, list[tuple[str, ...]]]:
    import timm

    network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    transform = timm.data.create_transform(
        **timm.data.resolve_data_config({}, model=network), is_training=False
    )
    count = network.num_classes
    names = config.get("label_names") or config.get("pretrained_cfg", {}).get("label_names")
    if names and len(names) == count:
        descriptions = config.get("label_descriptions") or {}
        classes = [tuple(descriptions.get(name, name).split(", ")) for name in names]
    elif count == 1000:
        classes = imagenet_classes()
    else:
        classes = [(f"class {i}",) for i in range(count)]
    return network, lambda image: transform(image)[None], classes


def _transformers(folder: Path) -> tuple[nn.Module, AsInput, list[tuple[str, ...]]]:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    network, loaded = AutoModelForImageClassification.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
    )
    if loaded["missing_keys"]:
        raise ValueError("it comes without the weights of a classifier.")
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    labels = network.config.id2label
    classes = [tuple(labels[i].split(", ")) for i in range(len(labels))]
    return network, lambda image: processor(image, return_tensors="pt")["pixel_values"], classes
