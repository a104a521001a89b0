"""The CNN of a model, cut at the target layer.

Grad-CAM needs the gradient at one feature map and nothing before it. So the CNN is kept as a
chain of stages: up to the target layer it runs without a graph, and from there on the head of
each task starts at the map. At the last layer that costs no more than an ordinary forward pass
(at an earlier one, the stages behind it run twice); it leaves nothing on the network, so threads
can share it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.image.geometry import WHOLE, Box


@dataclass(frozen=True)
class Encoded:
    """A picture after the CNN.

    Carries no graph, so it can be cached and shared by threads; but for that of
    `methods.pixels.encode_guided`, and that of `logits`.

    Attributes:
        layer: Name of the target layer.
        activations: (1, C, h, w) float32, the feature map A at `layer`: a leaf that requires
            grad, the tensor gradients are taken at.
        features: What the head reads, float32: the last feature map (1, C', h', w'), the same
            numbers as `activations` when `layer` is the last; or all tokens of a transformer; or
            the output of a network of one's own, of whatever kind.
        pixels: (1, 3, H_in, W_in) float32, the network's normalised input.
        box: The part of the picture that `pixels` show.
        logits: Of one model and question, with the graph from `activations`; see
            `LabelModel.read`. For one explanation, never kept.
    """

    layer: str
    activations: Tensor
    features: Any
    pixels: Tensor
    box: Box = WHOLE
    logits: Tensor | None = None


Preprocess = Callable[[Image.Image], tuple[Tensor, Box]]
# The same, of a picture at so many times the side that the network was trained for.
FinerPreprocess = Callable[[Image.Image, float], tuple[Tensor, Box]]

MAX_DETAIL = 2.0


class Backbone:
    """A frozen CNN as a chain of named stages, the last of which gives the map the heads read."""

    def __init__(
        self,
        name: str,
        stages: Mapping[str, nn.Module],
        preprocess: Preprocess,
        layers: tuple[str, ...] | None = None,
        other_activation: str = "",
        where: torch.device | None = None,
        finer: FinerPreprocess | None = None,
    ) -> None:
        """Freeze the stages, and put them where they run fastest, or where it is said.

        Args:
            name: Name of the network.
            stages: Name -> module; each takes what the one before it gives.
            preprocess: Picture (RGB, any size) -> the network's normalised input
                (1, 3, H_in, W_in) float32, and the part of the picture that it shows.
            layers: Names of the stages that may be target layers, from input to output; the last
                is the default. None for all.
            other_activation: Its non-linearity, if that is not ReLU: guided backpropagation has no
                meaning there.
            where: The device to run on, the stages' memory layout left as it is; None for the GPU
                if there is one, else the CPU with channels last.
            finer: As `preprocess`, of a larger picture, for finer maps; None where the network
                takes one size only.
        """
        self.name = name
        self.other_activation = other_activation
        self._device = device() if where is None else where
        self._stages = nn.ModuleList(stages.values()).eval().requires_grad_(False).to(self._device)
        if where is None and self._device.type == "cpu":
            # Convolutions are faster there where the channels of a cell lie side by side, as what
            # such weights give does; values are the same up to rounding. A GPU was not measured.
            self._stages.to(memory_format=torch.channels_last)
        self._names = tuple(stages)
        self.layers = self._names if layers is None else layers
        self._preprocess = preprocess
        self._finer = finer

    def encode(
        self, image: Image.Image, layer: str | nn.Module | None = None, detail: float = 1.0
    ) -> Encoded:
        """Run the CNN once over a picture.

        Args:
            image: RGB picture of any size (see `gradcam_core.image.open_image`).
            layer: One of `layers`; None for the default, the last. Of a network of one's own
                also a module, see `wrap`.
            detail: See `pixels`.

        Raises:
            ValueError: There is no such layer; or see `pixels`.
        """
        name = self.layer_named(layer)
        pixels, box = self.pixels(image, detail)
        return self.encode_pixels(pixels, name, box)

    def encode_many(self, images: Sequence[Image.Image], layer: str | None = None) -> list[Encoded]:
        """Do the same for many pictures, in one pass where their inputs are of one size.

        Raises:
            ValueError: There is no such layer.
        """
        name = self.layer_named(layer)
        inputs = [self.pixels(image) for image in images]
        if len({pixels.shape for pixels, _ in inputs}) != 1:
            return [self.encode_pixels(pixels, name, box) for pixels, box in inputs]
        with torch.no_grad():
            maps, features = self.run(torch.cat([pixels for pixels, _ in inputs]), name)
        # Copies: who keeps one picture's map keeps not those of all.
        return [
            Encoded(name, activations.clone().requires_grad_(), of_one.clone(), pixels, box)
            for activations, of_one, (pixels, box) in zip(
                maps.split(1), features.split(1), inputs, strict=True
            )
        ]

    def layer_named(self, layer: str | nn.Module | None) -> str:
        """Return the name of a layer, of the default for None.

        Raises:
            ValueError: There is no such layer.
        """
        if layer is None:
            return self.layers[-1]
        if layer not in self.layers:
            shown = layer if isinstance(layer, str) else type(layer).__name__
            raise ValueError(
                f"{self.name} has no layer '{shown}'. Its layers: {', '.join(self.layers)}."
            )
        return str(layer)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The stages by name, from input to output."""
        return dict(zip(self._names, self._stages, strict=True))

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape (C, h, w) of each layer's map of a square picture."""
        maps, _ = self.pixels(Image.new("RGB", (256, 256)))
        shapes = {}
        with torch.no_grad():
            for name, stage in self.stages.items():
                maps = stage(maps)
                shapes[name] = tuple(maps.shape[1:])
        return {layer: shapes[layer] for layer in self.layers}

    def pixels(self, image: Image.Image, detail: float = 1.0) -> tuple[Tensor, Box]:
        """Return the network's input for a picture, and the part of the picture that it shows.

        Args:
            image: As for `encode`.
            detail: Times the side that the network was trained for, 1 to `MAX_DETAIL`: feature
                maps have so many times the cells a side.

        Raises:
            ValueError: There is no such detail, or the network takes one size only.
        """
        if not 1 <= detail <= MAX_DETAIL:
            raise ValueError(f"The detail is from 1 to {MAX_DETAIL:g}, not {detail:g}.")
        if detail == 1:
            pixels, box = self._preprocess(image)
        elif self._finer is None:
            raise ValueError(
                f"{self.name} takes pictures of one size: finer maps are those of the embedded "
                "networks."
            )
        else:
            pixels, box = self._finer(image, detail)
        return pixels.to(self._device), box

    def encode_pixels(self, pixels: Tensor, layer: str | None = None, box: Box = WHOLE) -> Encoded:
        """Do the same from the network's normalised input, (1, 3, H_in, W_in) float32.

        If `pixels` require a gradient, `features` keep the graph that leads back to them.
        """
        layer = self.layer_named(layer)
        with torch.set_grad_enabled(pixels.requires_grad):
            activations, features = self.run(pixels, layer)
        # A detached alias, so that `features` itself stays free of requires_grad.
        return Encoded(layer, activations.detach().requires_grad_(), features, pixels, box)

    def run(self, pixels: Tensor, layer: str) -> tuple[Tensor, Any]:
        """Return the feature map A (1, C, h, w) of `layer`, and what the heads read."""
        activations = self.to_layer(pixels, layer)
        return activations, self.from_layer(activations, layer)

    def features(self, pixels: Tensor) -> Tensor:
        """Return what the heads read for `pixels` (1, 3, H_in, W_in), differentiable in them."""
        for stage in self._stages:
            pixels = stage(pixels)
        return pixels

    def features_of_each(self, pixels: Tensor) -> list[Any]:
        """Return what the heads read for each of many inputs (n, 3, H_in, W_in)."""
        return list(self.features(pixels).split(1))

    def to_layer(self, pixels: Tensor, layer: str) -> Tensor:
        """Return the feature map A (1, C, h, w) of `layer` for `pixels` (1, 3, H_in, W_in)."""
        for stage in [*self._stages][: self._position(layer) + 1]:  # a slice would be a module
            pixels = stage(pixels)
        return pixels

    def from_layer(self, activations: Tensor, layer: str, pixels: Tensor | None = None) -> Any:
        """Return what the heads read for the map A of `layer`.

        Args:
            activations: A, (1, C, h, w) float32.
            layer: Its name.
            pixels: What A was made of, for networks in which it is not all that counts; here it
                is.
        """
        for stage in [*self._stages][self._position(layer) + 1 :]:
            activations = stage(activations)
        return activations

    def _position(self, layer: str) -> int:
        return self._names.index(self.layer_named(layer))


def device() -> torch.device:
    """Return where models run: where `GRADCAM_DEVICE` says; without it, on the GPU if there is one.

    ("cpu" keeps a GPU free, and its memory.)
    """
    found = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(os.environ.get("GRADCAM_DEVICE") or found)


def pictures_a_pass() -> int:
    """Return how many pictures go through the CNN at once; a GPU wants more of them than a CPU.

    (In a CPU's cache there is no room for what a layer gives of many: docs/scale.md.)
    """
    return 8 if device().type == "cuda" else 2
