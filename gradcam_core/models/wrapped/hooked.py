"""Any network, cut at any of its feature maps by hooks.

A hook on every module that returns a map either records the map or replaces it: one ordinary run
gives A and the output, another continues from A to the score. The hooks are installed once and
read a `ContextVar`, so threads do not interfere.
"""

import difflib
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch
from PIL import Image
from torch import Tensor, nn

from gradcam_core.image.geometry import seen_through
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.hub.download import first_line
from gradcam_core.models.nonlinearity import NonLinearities
from gradcam_core.models.wrapped.analysis import (
    Layout,
    analyze,
    main_part,
    tensors_in,
    with_main_part,
)

AsInput = Callable[[Image.Image], Tensor]  # RGB picture -> (1, C, H, W) float32

_TOLERANCE = 1e-4  # of the largest value of an output
_SIDES = (64, 128)  # of blank inputs
_MAX_NAMED = 12  # layers in a message


class _Plan:
    """What the hooks do during a run: record the map of one module, or replace it."""

    def __init__(self, module: nn.Module, layout: Layout, replacement: Tensor | None) -> None:
        self.module = module
        self.recorded: list[Tensor] = []
        self._layout = layout
        self._replacement = replacement

    def __call__(self, output: Any) -> Any:
        """Return what replaces the module's output; None to keep it."""
        given = main_part(output)
        if self._replacement is not None:
            return with_main_part(output, self._layout.from_map(self._replacement, given))
        # A copy, since later modules may overwrite it.
        feature_map = self._layout.to_map(given)
        self.recorded.append(feature_map.clone(memory_format=torch.contiguous_format))
        return None


_plan: ContextVar[_Plan | None] = ContextVar("plan", default=None)


def _follow_plan(module: nn.Module, inputs: Any, output: Any) -> Any:
    plan = _plan.get()
    return plan(output) if plan is not None and plan.module is module else None


class HookedNetwork(Backbone):
    """A frozen network as a whole: `Encoded.head_input` is the network's output.

    Attributes:
        analysis: What one run showed.
        default_layer: The last feature map; None if there is none, see `Analysis.last_map`.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        as_input: AsInput,
        layer: str | nn.Module | None = None,
        tokens: tuple[int, int] | None = None,
        original: nn.Module | None = None,
        chain: bool = False,
    ) -> None:
        """Freeze the network, run it once, and install the hooks.

        Args:
            name: Name of the network.
            network: Input (1, C, H, W) -> output of any kind; it is modified.
            as_input: RGB picture of any size -> (1, C, H, W) float32.
            layer: The default; None for the last feature map.
            tokens: The grid of a transformer's tokens; see `analyze`.
            original: The network that `network` is a copy of: its modules may name layers too.
            chain: List only the maps that everything after them depends on alone.

        Raises:
            ValueError: It cannot be run, or there is no such layer.
        """
        network.eval().requires_grad_(False)
        where = next((each.device for each in network.parameters()), torch.device("cpu"))
        self._noise = as_input(Image.effect_noise((256, 256), 64).convert("RGB")).to(where)
        with NonLinearities() as others:
            try:
                self.analysis = analyze(network, self._noise, tokens)
            except Exception as error:  # any network may raise anything
                shape = tuple(self._noise.shape)
                raise ValueError(
                    f"{name} cannot be run on an input of shape {shape}: {first_line(error)}"
                ) from error
        self._network = network
        super().__init__(
            name,
            {"network": network},
            seen_through(as_input),
            tuple(self.analysis.chain() if chain else self.analysis.maps),
            " and ".join(sorted(others.seen)),
            where,
        )
        self._network = network
        self._names_of_modules: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary(
            {
                module: module_name
                for whole in (original, network)
                if whole is not None
                for module_name, module in whole.named_modules()
            }
        )
        for map_name in self.analysis.maps:
            network.get_submodule(map_name).register_forward_hook(_follow_plan)
        # Sides of blank inputs by layer; 0 where the picture itself is needed.
        self._carrying_sides: dict[str, int] = {}
        last = self.analysis.last_map()
        self.default_layer = None if last is None else last.name
        if layer is not None:
            self.default_layer = self.layer_named(layer)

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
        if layer is None:
            if self.default_layer is None:
                raise ValueError(
                    f"{self.name} has no last feature map that the whole output depends on. "
                    f"Choose a layer: {self._some_layers()}."
                )
            return self.default_layer
        if isinstance(layer, nn.Module):
            name = self._names_of_modules.get(layer)
            if name is None:
                raise ValueError(f"This {type(layer).__name__} is not part of {self.name}.")
        else:
            name = self._own_name(layer)
            if name is None:
                raise ValueError(
                    f"{self.name} has no layer '{layer}'. Its layers: {self._some_layers(layer)}."
                )
        if name in self.analysis.maps:
            problem = self.analysis.check(self._network, self._noise, name)
            if problem is not None:
                raise ValueError(f"The layer '{name}' of {self.name} {problem}.")
            return name
        runs = self.analysis.runs[name]
        if runs == 0:
            raise ValueError(f"The layer '{name}' of {self.name} does not run.")
        if runs > 1:
            raise ValueError(
                f"The layer '{name}' of {self.name} runs {runs} times and has no single map. "
                "Choose a layer that runs once."
            )
        raise ValueError(
            f"The layer '{name}' of {self.name} returns no feature map (1, C, h, w), but "
            f"{self.analysis.given[name]}. If these are tokens, give their grid: "
            "tokens=(rows, columns)."
        )

    def head_input(self, pixels: Tensor) -> Any:
        """Return the network's output, differentiable in `pixels`."""
        return self._network(pixels)

    def encode_many(self, images: Sequence[Image.Image], layer: str | None = None) -> list[Encoded]:
        """Run the network over many pictures, one after the other."""
        return [self.encode(image, layer) for image in images]

    def head_inputs(self, pixels: Tensor) -> list[Any]:
        """Return the network's output for each of many inputs; it may not support batches."""
        return [self._network(row) for row in pixels.split(1)]

    def to_layer(self, pixels: Tensor, layer: str) -> Tensor:
        """Return the feature map A (1, C, h, w) of `layer` for `pixels` (1, C, H_in, W_in)."""
        return self.run(pixels, layer)[0]

    def from_layer(self, activations: Tensor, layer: str, pixels: Tensor | None = None) -> Any:
        """Return the network's output with the map A at `layer`, and all else from `pixels`.

        Raises:
            ValueError: There are no pixels, and the output depends on more than the map.
        """
        side = self._carrying_side(layer)
        if side:
            pixels = self._noise.new_zeros(*self._noise.shape[:2], side, side)
        elif pixels is None:
            raise ValueError(f"{self.name} cannot continue from '{layer}' without the picture.")
        return self._put(activations, layer, pixels)

    def run(self, pixels: Tensor, layer: str) -> tuple[Tensor, Any]:
        """Return the map of a layer and the network's output, in one run."""
        plan = self._plan_for(layer)
        output = self._run_by(pixels, plan)
        if len(plan.recorded) != 1:
            raise ValueError(
                f"For this picture the layer '{layer}' of {self.name} runs {len(plan.recorded)} "
                "times."
            )
        return plan.recorded[0], output

    def _put(self, activations: Tensor, layer: str, pixels: Tensor) -> Any:
        """Return the output of a run with another map at the layer."""
        return self._run_by(pixels, self._plan_for(layer, activations))

    def _plan_for(self, layer: str, replacement: Tensor | None = None) -> _Plan:
        self.layer_named(layer)
        module = self._network.get_submodule(layer)
        return _Plan(module, self.analysis.maps[layer].layout, replacement)

    def _run_by(self, pixels: Tensor, plan: _Plan) -> Any:
        token = _plan.set(plan)
        try:
            return self._network(pixels)
        finally:
            _plan.reset(token)

    def _carrying_side(self, layer: str) -> int:
        """Return the side of the smallest blank input that can replace the picture; 0 for none.

        Where the output depends on the map alone, the run up to the map is wasted: the smaller
        the input, the better. But some networks take one size only, or read the input's size
        later. Measured at the first use of a layer.
        """
        if layer not in self._carrying_sides:
            self._carrying_sides[layer] = self._smallest_side(layer)
        return self._carrying_sides[layer]

    @torch.no_grad()
    def _smallest_side(self, layer: str) -> int:
        known = self.analysis.maps[layer]
        if not known.alone or known.layout.grid is not None:
            return 0
        feature_map, output = self.run(self._noise, layer)
        for side in (side for side in _SIDES if side < min(self._noise.shape[2:])):
            blank = self._noise.new_zeros(*self._noise.shape[:2], side, side)
            try:
                again = self._put(feature_map, layer, blank)
            except Exception:  # too small an input; networks raise different errors
                continue
            if _alike(output, again):
                return side
        return 0

    def _own_name(self, layer: str) -> str | None:
        """Return the first of a module's names."""
        try:
            module = self._network.get_submodule(layer)
        except AttributeError:
            return None
        return next(name for name, each in self._network.named_modules() if each is module)

    def _some_layers(self, like: str = "") -> str:
        """Return the layers with the closest names, or all layers if they are few."""
        named = list(self.layers)
        if len(named) > _MAX_NAMED:
            near = difflib.get_close_matches(like, named, n=_MAX_NAMED, cutoff=0.4)
            named = [*(near or named[-_MAX_NAMED:]), "... (see its `layers`)"]
        return ", ".join(named) if named else "none returns a feature map"


def _alike(one: Any, other: Any) -> bool:
    """Compare all tensors of two outputs, to `_TOLERANCE` of the largest value of each."""
    first, second = list(tensors_in(one)), list(tensors_in(other))
    return len(first) == len(second) and all(
        a.shape == b.shape
        and torch.allclose(
            b.double(), a.double(), rtol=0, atol=_TOLERANCE * a.double().abs().max().item()
        )
        for a, b in zip(first, second, strict=True)
        if a.numel() or b.numel()
    )
