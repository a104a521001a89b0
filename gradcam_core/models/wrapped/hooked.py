"""Any network, cut at any of its feature maps by hooks.

A hook on every module that returns a map either records the map, puts a leaf in its place, or puts
another map there. With a leaf, one run gives A, the output, and a graph that begins at A. The hooks
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

from gradcam_core.image.placement import GivenBox, Placement, with_placement
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.hub.download import first_line
from gradcam_core.models.nonlinearity import NonLinearities
from gradcam_core.models.wrapped.analysis import FeatureMap, analyze
from gradcam_core.models.wrapped.isolation import IsolatedNetwork
from gradcam_core.models.wrapped.layout import Layout
from gradcam_core.models.wrapped.output import LogitTracker, Output, source_of
from gradcam_core.models.wrapped.parts import main_part, with_main_part

AsInput = Callable[[Image.Image], Tensor]  # RGB picture -> (1, C, H, W) float32

_MAX_NAMED = 12  # layers in a message


class Cut:
    """What the hooks do with the map of one module during a run.

    Attributes:
        map: (n, C, h, w), the map that was recorded, or the leaf; None before the module has run.
        runs: How often the module has run.
    """

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        *,
        leaf: bool = False,
        replacement: Tensor | None = None,
    ) -> None:
        """Record the map; or put a leaf in its place, or another map."""
        self.module = module
        self.map = replacement
        self.runs = 0
        self._layout = layout
        self._leaf = leaf
        self._replaces = leaf or replacement is not None

    def __call__(self, output: Any) -> Any:
        """Return what replaces the module's output; None to keep it."""
        self.runs += 1
        given = main_part(output)
        if self.map is None:
            # A copy, since later modules may overwrite it.
            recorded = self._layout.to_map(given).float()
            recorded = recorded.clone(memory_format=torch.contiguous_format)
            self.map = recorded.detach().requires_grad_() if self._leaf else recorded
        if not self._replaces:
            return None
        replacement = self._layout.from_map(self.map.to(given.dtype), given)
        return with_main_part(output, replacement)


_cut: ContextVar[Cut | None] = ContextVar("cut", default=None)


def follow_cut(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Forward hook: do what the `Cut` of this thread says."""
    cut = _cut.get()
    return cut(output) if cut is not None and cut.module is module else None


def run_cut(network: nn.Module, pixels: Tensor, cut: Cut) -> Output:
    """Run a network whose module has the hook `follow_cut`, in the current grad mode."""
    token = _cut.set(cut)
    try:
        with LogitTracker(len(pixels)):
            value = network(pixels)
    finally:
        _cut.reset(token)
    return Output(value, source_of(value))


class HookedNetwork(Backbone):
    """A network as a whole: `Encoded.head_input` is its `Output`.

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
        self._isolated = IsolatedNetwork(network, copy)
        own = self._isolated.network
        first = next((each for each in own.parameters() if each.is_floating_point()), None)
        where = torch.device("cpu") if first is None else first.device
        self._dtype = torch.float32 if first is None else first.dtype
        noise = as_input(Image.effect_noise((256, 256), 64).convert("RGB")).to(where, self._dtype)
        with NonLinearities() as others:
            try:
                self.analysis = self._isolated.run(lambda own: analyze(own, noise, tokens))
            except Exception as error:  # any network may raise anything
                shape = tuple(noise.shape)
                raise ValueError(
                    f"{name} cannot be run on an input of shape {shape}: {first_line(error)}"
                ) from error
        self._noise = noise
        super().__init__(
            name,
            {},
            with_placement(as_input, box),
            tuple(self.analysis.chain() if chain else self.analysis.maps),
            " and ".join(sorted(others.seen)),
            where,
        )
        self._names_of_modules: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary(
            {
                module: module_name
                for whole in (network, own)
                for module_name, module in whole.named_modules()
            }
        )
        for map_name in self.analysis.maps:
            self._isolated.hook(own.get_submodule(map_name), follow_cut)
        last = self.analysis.last_map()
        self.default_layer = None if last is None else last.name
        if layer is not None:
            self.default_layer = self.layer_named(layer)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The network, which is one stage."""
        return {"network": self._isolated.network}

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
                problem = self.analysis.problem
                reason = "" if problem is None else f" ({problem})"
                raise ValueError(
                    f"{self.name} has no last feature map that the whole output depends on{reason}. "
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
            return self._checked(name).name
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

    def preprocess(self, image: Image.Image, detail: float = 1.0) -> tuple[Tensor, Placement]:
        """Return the network's input for a picture, in its own dtype; see `Backbone.preprocess`."""
        pixels, placement = super().preprocess(image, detail)
        return pixels.to(self._dtype), placement

    def head_input(self, pixels: Tensor) -> Output:
        """Return the network's output, differentiable in `pixels`."""

        def run(network: nn.Module) -> Output:
            with LogitTracker(len(pixels)):
                value = network(pixels)
            return Output(value, source_of(value))

        output: Output = self._isolated.run(run)
        return output

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
        return self._run(pixels.detach(), layer, replacement=activations)[1]

    def run(self, pixels: Tensor, layer: str) -> tuple[Tensor, Output]:
        """Return the map of a layer and the network's output, in one run."""
        return self._run(pixels, layer)

    def cut(self, pixels: Tensor, layer: str) -> tuple[Tensor, Output]:
        with torch.enable_grad():
            return self._run(pixels, layer, leaf=True)

    def _run(self, pixels: Tensor, layer: str, **settings: Any) -> tuple[Tensor, Output]:
        module = self._isolated.network.get_submodule(layer)
        cut = Cut(module, self._checked(layer).layout, **settings)
        output = self._isolated.run(lambda network: run_cut(network, pixels, cut))
        if cut.runs != 1:
            raise ValueError(
                f"For this picture the layer '{layer}' of {self.name} runs {cut.runs} times."
            )
        assert cut.map is not None
        return cut.map, output

    def _checked(self, layer: str) -> FeatureMap:
        """Return a map whose cells lie where they will be drawn.

        Raises:
            ValueError: They do not.
        """
        if not self.analysis.maps[layer].checked:
            self._isolated.run(lambda own: self.analysis.check(own, self._noise, layer))
        known = self.analysis.maps[layer]
        if known.problem is not None:
            raise ValueError(f"The layer '{layer}' of {self.name} {known.problem}.")
        return known

    def _own_name(self, layer: str) -> str | None:
        """Return the first of a module's names."""
        try:
            module = self._isolated.network.get_submodule(layer)
        except AttributeError:
            return None
        return next(name for name, each in self._isolated.network.named_modules() if each is module)

    def _some_layers(self, like: str = "") -> str:
        """Return the layers with the closest names, or all layers if they are few."""
        named = list(self.layers)
        if len(named) > _MAX_NAMED:
            near = difflib.get_close_matches(like, named, n=_MAX_NAMED, cutoff=0.4)
            named = [*(near or named[-_MAX_NAMED:]), "... (see its `layers`)"]
        return ", ".join(named) if named else "none returns a feature map"
