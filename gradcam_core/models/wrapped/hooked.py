"""Any network, cut at any of its feature maps.

A hook at every module that gives a map either takes the map along or puts another in its place,
so A and the output come from one ordinary run, and the score from another that goes on from A.
The hooks are installed once and ask a `ContextVar` what to do, so threads do not meet.
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
    main_part,
    probe,
    tensors_in,
    with_main_part,
)

AsInput = Callable[[Image.Image], Tensor]  # RGB picture -> (1, C, H, W) float32

_TOLERANCE = 1e-4  # of the largest value of an output
_SIDES = (64, 128)  # of blank inputs
_MAX_NAMED = 12  # layers in a message


class _Plan:
    """What the hooks do during a run: take the map of one module, or put another in its place."""

    def __init__(self, module: nn.Module, layout: Layout, replacement: Tensor | None) -> None:
        self.module = module
        self.taken: list[Tensor] = []
        self._layout = layout
        self._replacement = replacement

    def __call__(self, output: Any) -> Any:
        """Return what goes on in place of what the module gave; None for itself."""
        given = main_part(output)
        if self._replacement is not None:
            return with_main_part(output, self._layout.from_map(self._replacement, given))
        # A copy, for what follows may write into it.
        feature_map = self._layout.to_map(given)
        self.taken.append(feature_map.clone(memory_format=torch.contiguous_format))
        return None


_plan: ContextVar[_Plan | None] = ContextVar("plan", default=None)


def _follow_plan(module: nn.Module, inputs: Any, output: Any) -> Any:
    plan = _plan.get()
    return plan(output) if plan is not None and plan.module is module else None


class CutNetwork(Backbone):
    """A frozen network, whole: what its head reads is the network's output.

    Attributes:
        seen: What one run told of it.
        default_layer: The last feature map's; None if there is none, see `Probe.last_map`.
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
        """Freeze the network where it is, run it once, and install the hooks.

        Args:
            name: Name of the network.
            network: Input (1, C, H, W) -> output of any kind; used up.
            as_input: RGB picture of any size -> (1, C, H, W) float32.
            layer: The default; None for the last feature map.
            tokens: How a transformer's tokens lie; see `probe`.
            original: What `network` is a copy of: its modules may name layers, too.
            chain: List only the maps that everything after them depends on alone.

        Raises:
            ValueError: It cannot be run, or there is no such layer.
        """
        network.eval().requires_grad_(False)
        where = next((each.device for each in network.parameters()), torch.device("cpu"))
        self._noise = as_input(Image.effect_noise((256, 256), 64).convert("RGB")).to(where)
        with NonLinearities() as others:
            try:
                self.seen = probe(network, self._noise, tokens)
            except Exception as error:  # foreign networks raise whatever they trip over
                shape = tuple(self._noise.shape)
                raise ValueError(
                    f"{name} cannot be run on an input of shape {shape}: {first_line(error)}"
                ) from error
        super().__init__(
            name,
            {"network": network},
            seen_through(as_input),
            tuple(self.seen.chain() if chain else self.seen.maps),
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
        for map_name in self.seen.maps:
            network.get_submodule(map_name).register_forward_hook(_follow_plan)
        # Of the small inputs that carry a run to a layer; 0 where only a picture itself does.
        self._carrying_sides: dict[str, int] = {}
        last = self.seen.last_map()
        self.default_layer = None if last is None else last.name
        if layer is not None:
            self.default_layer = self.layer_named(layer)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape (C, h, w) of each layer's map of a square picture."""
        return {name: self.seen.maps[name].shape for name in self.layers}

    def layer_named(self, layer: str | nn.Module | None) -> str:
        """Return the name of a layer, which may be given as the module itself.

        Raises:
            ValueError: It gives no feature map, or runs several times; or None is given and
                there is no default.
        """
        if layer is None:
            if self.default_layer is None:
                raise ValueError(
                    f"{self.name} has no last feature map that everything after it depends on "
                    f"alone. Choose a layer: {self._some_layers()}."
                )
            return self.default_layer
        if isinstance(layer, nn.Module):
            name = self._names_of_modules.get(layer)
            if name is None:
                raise ValueError(f"This {type(layer).__name__} is no part of {self.name}.")
        else:
            name = self._own_name(layer)
            if name is None:
                raise ValueError(
                    f"{self.name} has no layer '{layer}'. Its layers: {self._some_layers(layer)}."
                )
        if name in self.seen.maps:
            return name
        runs = self.seen.runs[name]
        if runs == 0:
            raise ValueError(f"The layer '{name}' of {self.name} does not run.")
        if runs > 1:
            raise ValueError(
                f"The layer '{name}' of {self.name} runs {runs} times, so it has no map of its "
                "own. Choose a layer that runs once."
            )
        raise ValueError(
            f"The layer '{name}' of {self.name} gives no feature map (1, C, h, w), but "
            f"{self.seen.given[name]}. If these are tokens, say how they lie: tokens=(rows, "
            "columns)."
        )

    def features(self, pixels: Tensor) -> Any:
        """Return the network's output, differentiable in `pixels`."""
        return self._network(pixels)

    def encode_many(self, images: Sequence[Image.Image], layer: str | None = None) -> list[Encoded]:
        """Run the network over many pictures, one after the other."""
        return [self.encode(image, layer) for image in images]

    def features_of_each(self, pixels: Tensor) -> list[Any]:
        """Return the network's output for each of many inputs; it may know nothing of batches."""
        return [self._network(row) for row in pixels.split(1)]

    def to_layer(self, pixels: Tensor, layer: str) -> Tensor:
        """Return the feature map A (1, C, h, w) of `layer` for `pixels` (1, C, H_in, W_in)."""
        return self.run(pixels, layer)[0]

    def from_layer(self, activations: Tensor, layer: str, pixels: Tensor | None = None) -> Any:
        """Return the network's output, `layer` giving the map A, and all else from `pixels`.

        Raises:
            ValueError: There are no pixels, and not all depends on the map alone.
        """
        side = self._carrying_side(layer)
        if side:
            pixels = self._noise.new_zeros(*self._noise.shape[:2], side, side)
        elif pixels is None:
            raise ValueError(f"{self.name} cannot go on from '{layer}' without the picture.")
        return self._put(activations, layer, pixels)

    def run(self, pixels: Tensor, layer: str) -> tuple[Tensor, Any]:
        """Return the map of a layer and the network's output, in one run."""
        plan = self._plan_for(layer)
        output = self._run_by(pixels, plan)
        if len(plan.taken) != 1:
            raise ValueError(
                f"For this picture the layer '{layer}' of {self.name} runs {len(plan.taken)} times."
            )
        return plan.taken[0], output

    def _put(self, activations: Tensor, layer: str, pixels: Tensor) -> Any:
        """Return the output of a run in which the layer gives another map."""
        return self._run_by(pixels, self._plan_for(layer, activations))

    def _plan_for(self, layer: str, replacement: Tensor | None = None) -> _Plan:
        module = self._network.get_submodule(layer)
        return _Plan(module, self.seen.maps[layer].layout, replacement)

    def _run_by(self, pixels: Tensor, plan: _Plan) -> Any:
        token = _plan.set(plan)
        try:
            return self._network(pixels)
        finally:
            _plan.reset(token)

    def _carrying_side(self, layer: str) -> int:
        """Return the side of a blank input that carries a run to the layer as well as any; or 0.

        Where everything depends on the map alone, the run up to it is for nothing: the smaller
        the input, the better. But some networks take one size only, or ask for the input's size
        later. Found out at the first use of a layer; two threads find the same.
        """
        if layer not in self._carrying_sides:
            self._carrying_sides[layer] = self._smallest_side(layer)
        return self._carrying_sides[layer]

    @torch.no_grad()
    def _smallest_side(self, layer: str) -> int:
        known = self.seen.maps[layer]
        if not known.alone or known.layout.grid is not None:
            return 0
        feature_map, output = self.run(self._noise, layer)
        for side in (side for side in _SIDES if side < min(self._noise.shape[2:])):
            blank = self._noise.new_zeros(*self._noise.shape[:2], side, side)
            try:
                again = self._put(feature_map, layer, blank)
            except Exception:  # too small an input, which each network says in its own way
                continue
            if _alike(output, again):
                return side
        return 0

    def _own_name(self, layer: str) -> str | None:
        """Return the first name of a module, which may have several."""
        try:
            module = self._network.get_submodule(layer)
        except AttributeError:
            return None
        return next(name for name, each in self._network.named_modules() if each is module)

    def _some_layers(self, like: str = "") -> str:
        """Return the layers whose names are the nearest, or all that are listed if few."""
        named = list(self.layers)
        if len(named) > _MAX_NAMED:
            near = difflib.get_close_matches(like, named, n=_MAX_NAMED, cutoff=0.4)
            named = [*(near or named[-_MAX_NAMED:]), "... (see its `layers`)"]
        return ", ".join(named) if named else "none gives a feature map"


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
