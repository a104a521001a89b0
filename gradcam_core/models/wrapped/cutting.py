"""Any network, cut at any of its feature maps by hooks.

For the time of a run, hooks on the modules in question record their maps, put leaves in their
place, or put other maps there. With a leaf, one run gives A, the output, and a graph that begins
at A. The hooks read a `ContextVar`, so threads do not interfere.
"""

import difflib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from gradcam_core.models.wrapped.analysis import Analysis
from gradcam_core.models.wrapped.isolation import IsolatedNetwork
from gradcam_core.models.wrapped.layout import Layout
from gradcam_core.models.wrapped.output import LogitTracker, Output, source_of
from gradcam_core.models.wrapped.parts import main_part, with_main_part

_MAX_NAMED = 12  # layers in a message


class Cut:
    """What the hooks do with the map of one module during a run.

    Attributes:
        map: (n, C, h, w) or (n, C, d, h, w), the map that was recorded, or the leaf; None before
            the module has run.
        runs: How often the module has run.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        leaf: bool = False,
        follows_another: bool = False,
        replacement: Tensor | None = None,
    ) -> None:
        """Record the map; or put a leaf in its place, or another map.

        Args:
            layout: Of the map in the module's output.
            leaf: Put a leaf there.
            follows_another: Let a map that depends on the leaf of another cut keep its graph.
            replacement: The other map.
        """
        self.map = replacement
        self.runs = 0
        self._layout = layout
        self._leaf = leaf
        self._follows_another = follows_another
        self._replaces = leaf or replacement is not None

    def __call__(self, output: Any) -> Any:
        """Return what replaces the module's output; None to keep it."""
        self.runs += 1
        given = main_part(output)
        if self.map is None:
            # A copy, since later modules may overwrite it.
            found = self._layout.to_map(given).float()
            found = found.clone(memory_format=torch.contiguous_format)
            if self._leaf and not (self._follows_another and found.requires_grad):
                found = found.detach().requires_grad_()
            self.map = found
        if not self._replaces:
            return None
        replacement = self._layout.from_map(self.map.to(given.dtype), given)
        return with_main_part(output, replacement)


_cuts: ContextVar[Mapping[nn.Module, Cut] | None] = ContextVar("cuts", default=None)


def follow_cut(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Forward hook: do what the `Cut` of this thread says."""
    cut = (_cuts.get() or {}).get(module)
    return None if cut is None else cut(output)


class CutNetwork:
    """A network that can be cut at its feature maps.

    Attributes:
        name: Of the network, for messages.
        analysis: What one run showed.
        default_layer: The last feature map; None if there is none, see `Analysis.last_map`.
        gives_logits: Whether no run so far returned probabilities or clamped logits; None before
            the first run.
    """

    def __init__(
        self,
        name: str,
        isolated: IsolatedNetwork,
        analysis: Analysis,
        sample: Tensor,
        layers: Sequence[str] | None = None,
    ) -> None:
        """Join a network and its analysis.

        Args:
            name: Of the network.
            isolated: The network.
            analysis: Of the network.
            sample: The input that was analyzed.
            layers: Those to name in messages; None for all.
        """
        self.name = name
        self.analysis = analysis
        self.gives_logits: bool | None = None
        self._isolated = isolated
        self._sample = sample
        self._layers = tuple(analysis.maps) if layers is None else tuple(layers)
        last = analysis.last_map()
        self.default_layer = None if last is None else last.name

    def layer_named(self, layer: str | None) -> str:
        """Return the name of a layer, the default's for None.

        Raises:
            ValueError: The layer returns no feature map or runs several times, or there is no
                default.
        """
        if layer is None:
            if self.default_layer is None:
                problem = self.analysis.problem
                reason = "" if problem is None else f" ({problem})"
                raise ValueError(
                    f"{self.name} has no last feature map that the whole output depends on"
                    f"{reason}. Choose a layer: {self._some_layers()}."
                )
            return self.default_layer
        name = layer if layer in self.analysis.maps else self._own_name(layer)
        if name is None:
            raise ValueError(
                f"{self.name} has no layer '{layer}'. Its layers: {self._some_layers(layer)}."
            )
        if name in self.analysis.maps:
            self._check(name)
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

    def run(
        self,
        pixels: Tensor,
        layers: Sequence[str] = (),
        *,
        leaf: bool = False,
        replacement: Tensor | None = None,
    ) -> tuple[list[Tensor], Output]:
        """Run the network once, in the current grad mode.

        Args:
            pixels: (n, C, H, W) or (n, C, D, H, W).
            layers: Names of the maps to record.
            leaf: Put leaves in their place: the output is differentiable in the maps.
            replacement: Put this map in their place.

        Returns:
            The map of each layer; and the output.

        Raises:
            ValueError: A layer does not run once, or its cells do not lie where they would be
                drawn.
        """
        own = self._isolated.network
        for layer in layers:
            self._check(layer)
        cuts = {
            layer: Cut(
                self.analysis.maps[layer].layout,
                leaf=leaf,
                follows_another=len(layers) > 1,
                replacement=replacement,
            )
            for layer in layers
        }
        by_module = {own.get_submodule(layer): cut for layer, cut in cuts.items()}
        known = self.gives_logits
        output = self._run(pixels, by_module, track=not known)
        if known is None:
            self.gives_logits = output.source is None
        elif known and output.may_be_probabilities:  # for the first time
            self.gives_logits = False
            return self.run(pixels, layers, leaf=leaf, replacement=replacement)
        maps = []
        for layer, cut in cuts.items():
            if cut.runs != 1 or cut.map is None:
                raise ValueError(
                    f"For this input the layer '{layer}' of {self.name} runs {cut.runs} times."
                )
            maps.append(cut.map)
        return maps, output

    def _run(self, pixels: Tensor, cuts: Mapping[nn.Module, Cut], *, track: bool) -> Output:
        def run(network: nn.Module) -> Output:
            token = _cuts.set(cuts)
            try:
                with LogitTracker(len(pixels)) if track else nullcontext():
                    value = network(pixels)
            finally:
                _cuts.reset(token)
            return Output(value, source_of(value), len(pixels))

        output: Output = self._isolated.run(run, dict.fromkeys(cuts, follow_cut))
        return output

    def _check(self, name: str) -> None:
        """Raise a ValueError if the cells of a map do not lie where they would be drawn."""
        known = self.analysis.maps[name]
        problem = known.problem
        if not known.checked:
            problem = self._isolated.run(lambda own: self.analysis.check(own, self._sample, name))
        if problem is not None:
            raise ValueError(f"The layer '{name}' of {self.name} {problem}.")

    def _own_name(self, layer: str) -> str | None:
        """Return the first of a module's names; it may be named as of the network around."""
        own = self._isolated.network
        inner = layer.removeprefix("_orig_mod.").removeprefix("module.")
        modules = dict(own.named_modules(remove_duplicate=False))
        module = modules.get(layer, modules.get(inner))
        return next((name for name, each in own.named_modules() if each is module), None)

    def _some_layers(self, like: str = "") -> str:
        """Return the layers with the closest names, or all layers if they are few."""
        named = list(self._layers)
        if len(named) > _MAX_NAMED:
            near = difflib.get_close_matches(like, named, n=_MAX_NAMED, cutoff=0.4)
            named = [*(near or named[-_MAX_NAMED:]), "... (see its `layers`)"]
        return ", ".join(named) if named else "none returns a feature map"
