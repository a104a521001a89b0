"""The backbone of models from `wrap`: a network as a whole, and how pictures become its input."""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.image.placement import GivenBox, Placement, with_placement
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.hub.download import first_line
from gradcam_core.models.nonlinearity import NonLinearities
from gradcam_core.models.wrapped.analysis import analyze
from gradcam_core.models.wrapped.cutting import CutNetwork
from gradcam_core.models.wrapped.isolation import IsolatedNetwork
from gradcam_core.models.wrapped.output import Output

AsInput = Callable[[Image.Image], Tensor]  # RGB picture -> (1, C, H, W) float32


class HookedNetwork(Backbone):
    """A network as a whole: `Encoded.head_input` is its `Output`.

    Attributes:
        analysis: What one run showed.
        isolated: The network.
        tokens: The given grid of a transformer's tokens.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        as_input: AsInput,
        layer: str | nn.Module | None = None,
        tokens: tuple[int, int] | None = None,
        chain: bool = False,
        copy: bool = False,
        box: GivenBox | None = None,
    ) -> None:
        """Run the network once, and install the hooks.

        Args:
            name: Name of the network.
            network: Input (1, C, H, W) -> output of any kind.
            as_input: RGB picture of any size -> (1, C, H, W) float32.
            layer: The default; None for the last feature map.
            tokens: The grid of a transformer's tokens; see `analyze`.
            chain: List only the maps that everything after them depends on alone.
            copy: Whether to work on a copy; see `IsolatedNetwork`.
            box: The part of the picture that the input shows; see `with_placement`.

        Raises:
            ValueError: It cannot be run, or there is no such layer.
        """
        self.tokens = tokens
        self.isolated = IsolatedNetwork(network, copy)
        own = self.isolated.network
        first = next((each for each in own.parameters() if each.is_floating_point()), None)
        where = torch.device("cpu") if first is None else first.device
        self._dtype = torch.float32 if first is None else first.dtype
        noise = as_input(_noise()).to(where, self._dtype)
        with NonLinearities() as others:
            try:
                self.analysis = self.isolated.run(lambda own: analyze(own, noise, tokens))
            except Exception as error:  # any network may raise anything
                shape = tuple(noise.shape)
                raise ValueError(
                    f"{name} cannot be run on an input of shape {shape}: {first_line(error)}"
                ) from error
        super().__init__(
            name,
            {},
            with_placement(as_input, box),
            tuple(self.analysis.chain() if chain else self.analysis.maps),
            " and ".join(sorted(others.seen)),
            where,
        )
        self._cut_network = CutNetwork(name, self.isolated, self.analysis, noise, self.layers)
        self._names_of_modules: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary(
            {
                module: module_name
                for whole in (network, own)
                for module_name, module in whole.named_modules()
            }
        )
        if layer is not None:
            self._cut_network.default_layer = self.layer_named(layer)

    @property
    def default_layer(self) -> str | None:
        """The default target layer; None if there is none, see `Analysis.last_map`."""
        return self._cut_network.default_layer

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The network, which is one stage."""
        return {"network": self.isolated.network}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape (C, h, w) of each layer's map of a square picture."""
        return {name: self.analysis.maps[name].shape for name in self.layers}

    def layer_named(self, layer: str | nn.Module | None) -> str:
        """Return the name of a layer, which may be given as the module itself.

        Raises:
            ValueError: The layer returns no feature map or runs several times, or there is no
                default.
        """
        if isinstance(layer, nn.Module):
            name = self._names_of_modules.get(layer)
            if name is None:
                raise ValueError(f"This {type(layer).__name__} is not part of {self.name}.")
            layer = name
        return self._cut_network.layer_named(layer)

    def preprocess(self, image: Image.Image, detail: float = 1.0) -> tuple[Tensor, Placement]:
        """Return the network's input for a picture, in its own dtype; see `Backbone.preprocess`."""
        pixels, placement = super().preprocess(image, detail)
        return pixels.to(self._dtype), placement

    def head_input(self, pixels: Tensor) -> Output:
        """Return the network's output, differentiable in `pixels`."""
        return self._cut_network.run(pixels)[1]

    def encode_many(self, images: Sequence[Image.Image], layer: str | None = None) -> list[Encoded]:
        """Run the network over many pictures, one after the other."""
        return [self.encode(image, layer) for image in images]

    def head_inputs(self, pixels: Tensor) -> list[Any]:
        """Return the network's output for each of many inputs; it may not support batches."""
        return [self.head_input(row) for row in pixels.split(1)]

    def to_layer(self, pixels: Tensor, layer: str) -> Tensor:
        """Return the feature map A (1, C, h, w) of `layer` for `pixels` (1, C, H_in, W_in)."""
        return self.run(pixels, layer)[0]

    def from_layer(self, activations: Tensor, layer: str, pixels: Tensor | None = None) -> Output:
        """Return the network's output with the map A at `layer`, and all else from `pixels`."""
        assert pixels is not None
        return self._cut_network.run(pixels.detach(), [layer], replacement=activations)[1]

    def run(self, pixels: Tensor, layer: str) -> tuple[Tensor, Output]:
        """Return the map of a layer and the network's output, in one run."""
        (found,), output = self._cut_network.run(pixels, [layer])
        return found, output

    def cut(self, pixels: Tensor, layer: str) -> tuple[Tensor, Output]:
        with torch.enable_grad():
            (leaf,), output = self._cut_network.run(pixels, [layer], leaf=True)
        return leaf, output


def _noise() -> Image.Image:
    """Return a grey picture of noise, always the same."""
    grey = np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8)
    return Image.fromarray(grey).convert("RGB")
