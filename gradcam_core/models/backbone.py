"""The CNN of a model, cut at the target layer.

Grad-CAM needs the gradient at one feature map and nothing before it. So the CNN is kept as a
chain of stages. Up to the target layer it runs without a graph; the task head starts at the map.
At the last layer this costs no more than a plain forward pass (at an earlier one, the stages after
it run twice). Nothing is left on the network, so threads can share it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.image.placement import WHOLE_PICTURE, Placement


@dataclass(frozen=True)
class Encoded:
    """A picture after the CNN.

    Its graph begins at `activations`, so that threads can share it; except from
    `methods.guided.encode_guided`, where it begins at `pixels`.

    Attributes:
        layer: Name of the target layer.
        activations: (1, C, h, w) float32, the feature map A at `layer`: a leaf that requires
            grad, the tensor gradients are taken at.
        head_input: What the head reads, float32: the last feature map (1, C', h', w'), equal to
            `activations` when `layer` is the last; or all tokens of a transformer; or, for a
            network from `wrap`, its output.
        pixels: (1, C, H_in, W_in) float32, the network's normalized input.
        placement: Where `pixels` lie in the picture.
        has_graph: Whether a graph leads from `head_input` back to `activations`.
    """

    layer: str
    activations: Tensor
    head_input: Any
    pixels: Tensor
    placement: Placement = WHOLE_PICTURE
    has_graph: bool = False

    def without_graph(self) -> "Encoded":
        """Return the picture as it may be cached: a graph takes much memory."""
        if self.head_input is self.activations:
            return self
        detached = detach(self.head_input)
        return replace(self, head_input=detached, pixels=self.pixels.detach(), has_graph=False)


Preprocess = Callable[[Image.Image], tuple[Tensor, Placement]]
# The same with the input's side multiplied by a factor.
FinerPreprocess = Callable[[Image.Image, float], tuple[Tensor, Placement]]

MAX_DETAIL = 2.0
"""The finest maps: `explain("cat.jpg", detail=MAX_DETAIL)`."""


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
        """Freeze the stages and move them to a device.

        Args:
            name: Name of the network.
            stages: Name -> module; each takes the output of the one before it.
            preprocess: Picture (RGB, any size) -> the network's normalized input
                (1, C, H_in, W_in) float32, and where it lies in the picture.
            layers: Names of the stages that may be target layers, from input to output; the last
                is the default. None for all.
            other_activation: Its non-linearity if that is not ReLU: guided backpropagation is
                undefined then.
            where: The device to run on, keeping the stages' memory layout; None for the
                GPU if there is one, else the CPU with channels last.
            finer: As `preprocess`, with a larger input for finer maps; None where the network
                takes one size only.
        """
        self.name = name
        self.other_activation = other_activation
        self._device = device() if where is None else where
        self._stages = nn.ModuleList(stages.values()).eval().requires_grad_(False).to(self._device)
        if where is None and self._device.type == "cpu":
            # CPU convolutions are faster with channels last; values agree up to rounding. GPUs
            # were not measured.
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
            layer: One of `layers`; None for the default, the last. For a network from `wrap`
                also a module of it.
            detail: See `preprocess`.

        Raises:
            ValueError: There is no such layer; or see `preprocess`.
        """
        name = self.layer_named(layer)
        pixels, placement = self.preprocess(image, detail)
        return self.encode_pixels(pixels, name, placement)

    def encode_many(self, images: Sequence[Image.Image], layer: str | None = None) -> list[Encoded]:
        """Encode many pictures, in one pass if their inputs have the same size.

        Raises:
            ValueError: There is no such layer.
        """
        name = self.layer_named(layer)
        inputs = [self.preprocess(image) for image in images]
        if len({pixels.shape for pixels, _ in inputs}) != 1:
            return [self.encode_pixels(pixels, name, placement) for pixels, placement in inputs]
        with torch.no_grad():
            maps, head_inputs = self.run(torch.cat([pixels for pixels, _ in inputs]), name)
        found = []
        for activations, head_input, given in zip(
            maps.split(1), head_inputs.split(1), inputs, strict=True
        ):
            # Copies, so that a cached picture does not keep the whole batch in memory.
            leaf = activations.clone().requires_grad_()
            last = name == self.layers[-1]
            found.append(Encoded(name, leaf, leaf if last else head_input.clone(), *given, last))
        return found

    def layer_named(self, layer: str | nn.Module | None) -> str:
        """Return the name of a layer, the default's for None.

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
        """The shape (C, h, w) of each layer's map for a square picture."""
        maps, _ = self.preprocess(Image.new("RGB", (256, 256)))
        shapes = {}
        with torch.no_grad():
            for name, stage in self.stages.items():
                maps = stage(maps)
                shapes[name] = tuple(maps.shape[1:])
        return {layer: shapes[layer] for layer in self.layers}

    def preprocess(self, image: Image.Image, detail: float = 1.0) -> tuple[Tensor, Placement]:
        """Return the network's input for a picture, and where it lies in the picture.

        Args:
            image: As for `encode`.
            detail: The input's side in multiples of the network's own, 1 to `MAX_DETAIL`: feature
                maps have that many times the cells per side.

        Raises:
            ValueError: The detail is out of range, or the network takes one size only; or see
                `with_placement`.
        """
        check_detail(detail)
        if detail == 1:
            pixels, placement = self._preprocess(image)
        elif self._finer is None:
            raise ValueError(
                f"{self.name} takes one input size: only the embedded networks have finer maps."
            )
        else:
            pixels, placement = self._finer(image, detail)
        return pixels.to(self._device), placement

    def encode_pixels(
        self, pixels: Tensor, layer: str | None = None, placement: Placement = WHOLE_PICTURE
    ) -> Encoded:
        """Encode a network's normalized input, (1, 3, H_in, W_in) float32; see `encode`.

        If `pixels` require a gradient, the graph of `head_input` begins there.
        """
        layer = self.layer_named(layer)
        if not pixels.requires_grad:
            return Encoded(layer, *self.cut(pixels, layer), pixels, placement, has_graph=True)
        with torch.enable_grad():
            activations, head_input = self.run(pixels, layer)
        return Encoded(layer, activations.detach().requires_grad_(), head_input, pixels, placement)

    def cut(self, pixels: Tensor, layer: str) -> tuple[Tensor, Any]:
        """Return the feature map A of `layer`, and what the heads read, differentiable in A only.

        Args:
            pixels: (n, 3, H_in, W_in) float32.
            layer: One of `layers`.

        Returns:
            A leaf (n, C, h, w) that requires a gradient; and the head input.
        """
        with torch.no_grad():
            activations = self.to_layer(pixels, layer)
        leaf = activations.detach().requires_grad_()
        with torch.enable_grad():
            return leaf, self.from_layer(leaf, layer)

    def run(self, pixels: Tensor, layer: str) -> tuple[Tensor, Any]:
        """Return the feature map A (1, C, h, w) of `layer`, and what the heads read."""
        activations = self.to_layer(pixels, layer)
        return activations, self.from_layer(activations, layer)

    def head_input(self, pixels: Tensor) -> Any:
        """Return what the heads read for `pixels` (1, 3, H_in, W_in), differentiable in them."""
        for stage in self._stages:
            pixels = stage(pixels)
        return pixels

    def head_inputs(self, pixels: Tensor) -> list[Any]:
        """Return what the heads read for each of many inputs (n, 3, H_in, W_in)."""
        return list(self.head_input(pixels).split(1))

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
            pixels: The input, for networks whose output depends on more than A; unused here.
        """
        for stage in [*self._stages][self._position(layer) + 1 :]:
            activations = stage(activations)
        return activations

    def _position(self, layer: str) -> int:
        return self._names.index(self.layer_named(layer))


def detach(value: Any) -> Any:
    """Return a value whose tensors, however nested, have no graph."""
    if hasattr(value, "detach"):
        return value.detach()
    if isinstance(value, list):
        return [detach(each) for each in value]
    if type(value) is tuple:
        return tuple(detach(each) for each in value)
    if isinstance(value, Mapping):
        found = copy(value)
        for name, each in value.items():
            found[name] = detach(each)  # type: ignore[index]
        return found
    return value


def check_detail(detail: float) -> None:
    """Raise a ValueError for a detail that is out of range."""
    if not 1 <= detail <= MAX_DETAIL:
        raise ValueError(f"The detail is from 1 to {MAX_DETAIL:g}, not {detail:g}.")


def device() -> torch.device:
    """Return the device that models run on: `GRADCAM_DEVICE`, else the GPU if there is one."""
    found = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(os.environ.get("GRADCAM_DEVICE") or found)


def batch_size() -> int:
    """Return how many pictures go through the CNN at once.

    More than two do not pay on a CPU, whose cache they overflow (measured: docs/scale.md).

    Examples:
        >>> batch_size()  # without a GPU
        2
    """
    return 8 if device().type == "cuda" else 2
