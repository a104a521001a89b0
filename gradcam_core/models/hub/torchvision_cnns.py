"""The CNNs of the paper and newer ones, from torchvision.

Each is cut into the stages that its `forward` runs through, so that each can be a target layer.
"""

import re
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.image.placement import with_placement
from gradcam_core.models.backbone import Backbone
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.folding import optimize_for_inference
from gradcam_core.models.hub.download import has_torch_file, has_torch_weights, torch_weights
from gradcam_core.models.info import NO_PEOPLE, TOP1, ModelInfo
from gradcam_core.models.labels import distinct, imagenet_classes
from gradcam_core.models.nonlinearity import disable_inplace

_RESNET = ("layer1", "layer2", "layer3", "layer4")
_GOOGLENET = tuple(
    f"inception{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
)
_INCEPTION_V3 = tuple(
    f"Mixed_{name}" for name in ("5b", "5c", "5d", *(f"6{x}" for x in "abcde"), "7a", "7b", "7c")
)


# `top1` is the accuracy that torchvision publishes for the weights, in percent.
def _cnn(
    name: str,
    title: str,
    year: int,
    download_mb: int,
    feature_map: str,
    top1: float,
    layers: tuple[str, ...],
    other_activation: str = "",
) -> ModelInfo:
    return ModelInfo(
        name,
        "classification",
        title,
        year,
        title,
        layers,
        feature_map,
        "BSD-3-Clause",
        download_mb,
        other_activation,
        limits=f"{TOP1.format(top1)} {NO_PEOPLE}",
    )


def _features(*numbers: int) -> tuple[str, ...]:
    return tuple(f"features.{number}" for number in numbers)


_DENSENET = (*(f"features.denseblock{i}" for i in (1, 2, 3)), "features")
_SQUEEZENET = _features(3, 4, 6, 7, *range(9, 13))


CNNS = {
    info.name: info
    for info in (
        # AlexNet: after each ReLU. VGG: after the last ReLU before each pooling.
        _cnn("alexnet", "AlexNet", 2012, 233, "256 x 13 x 13", 56.522, _features(1, 4, 7, 9, 11)),
        _cnn("vgg16", "VGG-16", 2014, 528, "512 x 14 x 14", 71.592, _features(3, 8, 15, 22, 29)),
        _cnn("vgg19", "VGG-19", 2014, 548, "512 x 14 x 14", 72.376, _features(3, 8, 17, 26, 35)),
        _cnn("googlenet", "GoogLeNet", 2014, 50, "1024 x 7 x 7", 69.778, _GOOGLENET),
        _cnn("resnet18", "ResNet-18", 2015, 45, "512 x 7 x 7", 69.758, _RESNET),
        _cnn("resnet50", "ResNet-50", 2015, 98, "2048 x 7 x 7", 76.13, _RESNET),
        _cnn("resnet152", "ResNet-152", 2015, 230, "2048 x 7 x 7", 78.312, _RESNET),
        _cnn("densenet121", "DenseNet-121", 2016, 31, "1024 x 7 x 7", 74.434, _DENSENET),
        _cnn("squeezenet1_1", "SqueezeNet 1.1", 2016, 5, "512 x 13 x 13", 58.178, _SQUEEZENET),
        _cnn(
            "mobilenet_v3_large",
            "MobileNetV3-Large",
            2019,
            21,
            "960 x 7 x 7",
            74.042,
            _features(*range(17)),
            "Hardswish",
        ),
        _cnn("inception_v3", "Inception v3", 2015, 104, "2048 x 8 x 8", 77.294, _INCEPTION_V3),
        _cnn(
            "convnext_tiny",
            "ConvNeXt-Tiny",
            2022,
            109,
            "768 x 7 x 7",
            82.52,
            _features(1, 3, 5, 7),
            "GELU",
        ),
    )
}

# Ported from TensorFlow, with inputs in [-1, 1].
_FROM_TENSORFLOW = ("googlenet", "inception_v3")


def load_cnn(name: str) -> Classifier:
    """Return a torchvision network with its ImageNet-1k weights; downloads them at first use.

    Args:
        name: A key of `CNNS`.

    Raises:
        ConnectionError: The weights are not on this machine, and cannot be downloaded.
        ValueError: The weights file is damaged.
    """
    from torchvision import models  # slow to import

    weights = _weights(name)
    state = torch_weights(weights.url, CNNS[name].title)
    # On "meta" without memory or initialization; the loaded weights are assigned below.
    settings = {"init_weights": False} if name in _FROM_TENSORFLOW else {}
    with torch.device("meta"):
        network = models.get_model(name, **settings)
    if name == "densenet121":  # its file has old parameter names: "norm.1" for "norm1"
        state = {
            re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", key): value
            for key, value in state.items()
        }
    network.load_state_dict(state, assign=True)
    return split(name, network, weights)


def has_weights(name: str) -> bool:
    """Return whether the weights are on this machine already."""
    # Files' names begin with the network's. torchvision knows the rest, but is slow to import.
    return has_torch_file(name) and has_torch_weights(_weights(name).url)


def _weights(name: str) -> Any:
    """Return torchvision's record of the weights: address, preprocessing, class names."""
    from torchvision import models

    return models.get_model_weights(name).IMAGENET1K_V1


def split(name: str, network: nn.Module, weights: Any) -> Classifier:
    """Cut a network into stages and a head.

    Args:
        name: A key of `CNNS`.
        network: The torchvision network; its modules are reused and modified.
        weights: Its member of torchvision's `WeightsEnum`.
    """
    disable_inplace(network)
    cnn = CNNS[name]
    transform = weights.transforms()
    if name in _FROM_TENSORFLOW:  # torchvision converts its usual normalisation inside the network
        transform.mean = transform.std = [0.5, 0.5, 0.5]

    def preprocess(image: Image.Image) -> Tensor:
        return transform(image)[None]

    stages = optimize_for_inference(_stages(network), cnn.layers)
    backbone = Backbone(
        cnn.title, stages, with_placement(preprocess), cnn.layers, cnn.other_activation
    )
    shown = weights.meta["categories"]
    classes = [(own, *others) for own, others in zip(shown, imagenet_classes(), strict=True)]
    return Classifier(name, backbone, _head(network), distinct(classes))


def _stages(network: Any) -> dict[str, nn.Module]:
    """Return the modules of the convolutional part, in the order they run in."""
    if hasattr(network, "features"):
        stages = {f"features.{name}": part for name, part in network.features.named_children()}
        if "features.norm5" in stages:  # DenseNet: the output of `features`
            stages["features"] = stages.pop("features.norm5")
        return stages
    children = dict(network.named_children())
    before_pooling = list(children)[: list(children).index("avgpool")]
    # Auxiliary classifiers are for training only.
    return {name: children[name] for name in before_pooling if not name.lower().startswith("aux")}


def _head(network: Any) -> nn.Module:
    """Return the part from the last feature map to the logits; dropout is off in evaluation."""
    match type(network).__name__:
        case "AlexNet" | "VGG" | "MobileNetV3":
            parts = [network.avgpool, nn.Flatten(), network.classifier]
        case "ConvNeXt":
            parts = [network.avgpool, network.classifier]
        case "SqueezeNet":
            parts = [network.classifier, nn.Flatten()]
        case "DenseNet":
            parts = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.classifier]
        case _:
            parts = [network.avgpool, nn.Flatten(), network.fc]
    return nn.Sequential(*parts)
