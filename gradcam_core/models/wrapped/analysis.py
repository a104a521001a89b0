"""What one run shows of a network: its feature maps, and which of them the output depends on.

Most networks are no chain of stages. So a picture goes through once, hooks record the output of
every module, and autograd's graph shows which maps the output depends on alone, and at which it
has a gradient. None of the network's code is inspected.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

# Tokens before the patch tokens: class, distillation and register tokens.
_MAX_EXTRA_TOKENS = 16


@dataclass(frozen=True)
class Layout:
    """How a feature map (1, C, h, w) is laid out in a module's output.

    Attributes:
        grid: (rows, columns) of the patches whose tokens are the last of (1, n, C); else None.
        channels_last: Whether it is (1, h, w, C), as in Swin.
    """

    grid: tuple[int, int] | None = None
    channels_last: bool = False

    def to_map(self, given: Tensor) -> Tensor:
        """Return the map (1, C, h, w) in a module's output."""
        if self.grid is not None:
            rows, columns = self.grid
            patches = given[:, -rows * columns :].transpose(1, 2)
            return patches.reshape(*patches.shape[:2], rows, columns)
        return given.permute(0, 3, 1, 2) if self.channels_last else given

    def from_map(self, feature_map: Tensor, given: Tensor) -> Tensor:
        """Return a module's output with another map (1, C, h, w)."""
        if self.grid is not None:
            rows, columns = self.grid
            patches = feature_map.flatten(2).transpose(1, 2)
            return torch.cat([given[:, : -rows * columns], patches], 1)
        if self.channels_last:
            feature_map = feature_map.permute(0, 2, 3, 1)
        # Contiguous, since later modules may overwrite or reshape it.
        return feature_map.clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class FeatureMap:
    """A module that runs once and returns a feature map.

    Attributes:
        name: The module's.
        layout: Of the map in its output.
        shape: (C, h, w) of the map.
        alone: Whether the output depends on the picture through this map alone.
        reached: Whether the output has a gradient at the map.
        of_tokens: Whether it consists of a transformer's tokens, mixed by attention.
        passed_on: Whether another module, such as its parent, is the better name for the same map.
        later: The number of modules with weights between it and the output.
        followed: Whether a later module returns a map or tokens.
    """

    name: str
    layout: Layout
    shape: tuple[int, int, int]
    alone: bool = False
    reached: bool = False
    of_tokens: bool = False
    passed_on: bool = False
    later: int = 0
    followed: bool = False


@dataclass(frozen=True)
class Analysis:
    """What a run showed.

    Attributes:
        shape: Of the output's main tensor; None if there is none.
        ending: "softmax" or "sigmoid" if the output is one, else "".
        maps: By module name, in the order in which they finish.
        runs: The number of runs of each module.
        given: A description of each module's last output.
        weighted: The number of runs of modules with weights of their own.
    """

    shape: tuple[int, ...] | None
    ending: str
    maps: dict[str, FeatureMap]
    runs: Counter[str]
    given: dict[str, str]
    weighted: int

    def last_map(self) -> FeatureMap | None:
        """Return the default target layer, the last feature map.

        That is the last one that everything after it depends on alone, at which the output has a
        gradient, and that weights follow. (In the last block of a transformer with a class token,
        the patch tokens have no gradient.)
        """
        found = [
            each
            for each in self.maps.values()
            if each.alone
            and each.reached
            and not each.passed_on
            # Not an early map that several later ones are made from, as in detectors.
            and (each.layout.grid or each.later <= self.weighted / 2 or not each.followed)
        ]
        weights_follow = [each for each in found if each.later]
        return (weights_follow or found)[-1] if found else None

    def chain(self) -> list[str]:
        """Return the maps up to the last that everything after them depends on alone."""
        last = self.last_map()
        names: list[str] = []
        for each in self.maps.values() if last else ():
            if each.alone and each.reached and not each.passed_on:
                names.append(each.name)
            if each is last:
                break
        return names


class _Recorder:
    """What hooks record during a run."""

    def __init__(self, size: tuple[int, int], tokens: tuple[int, int] | None) -> None:
        self._size = size
        self._tokens = tokens
        # The grid of the last map before the first tokens, unless it is given.
        self._grid = tokens
        self._token_counts: set[int] = set()
        self._runs = Counter[str]()
        self._given: dict[str, str] = {}
        self._maps: list[_Recorded] = []
        # For every run of a module: if it has weights of its own, its name and its output's node in
        # autograd's graph; and whether it returns a map or tokens.
        self._weighted: list[tuple[str, Node | None] | None] = []
        self._spatial: list[bool] = []

    def record(self, name: str, module: nn.Module, output: Any) -> Any:
        """Record a module's output; return what replaces it, None to keep it."""
        given = main_part(output)
        self._runs[name] += 1
        self._given[name] = (
            f"a tensor of shape {tuple(given.shape)}"
            if isinstance(given, Tensor)
            else f"a {type(output).__name__}"
        )
        has_weights = any(True for _ in module.parameters(recurse=False))
        node = given.grad_fn if isinstance(given, Tensor) else None
        self._weighted.append((name, node) if has_weights else None)
        self._spatial.append(isinstance(given, Tensor) and given.ndim in (3, 4))
        if not name or not isinstance(given, Tensor) or not given.requires_grad:
            return None
        layout = self._layout(given)
        if layout is None:
            return None
        channels, height, width = layout.to_map(given).shape[1:]
        if layout.grid is not None:
            self._token_counts.add(given.shape[1])
        elif layout == Layout() and self._tokens is None and not self._token_counts:
            self._grid = (height, width)
        # The same as before: the output of a container or an identity.
        same = next((earlier for earlier in self._maps if earlier.node is given.grad_fn), None)
        # Otherwise a copy, since later modules may overwrite it.
        copy = given if same else given.clone()
        self._maps.append(
            _Recorded(
                FeatureMap(name, layout, (channels, height, width)),
                same.given if same else given,
                copy.grad_fn,
                len(self._weighted),
            )
        )
        return None if same else with_main_part(output, copy)

    def result(self, output: Any) -> Analysis:
        """Return what was recorded, with how the output depends on it."""
        main = main_output(output)
        order: list[Node] = []
        alone: set[Node] = set()
        attended: set[Node] = set()
        gradients: list[Tensor | None] = [None] * len(self._maps)
        if main is not None and main.requires_grad and self._maps:
            order = _in_order(main)
            alone, attended = _bottlenecks(order), _attended(order)
            # A random weighted sum: the outputs of a softmax would cancel out.
            factors = torch.rand(main.shape, generator=torch.Generator().manual_seed(0))
            gradients = list(
                torch.autograd.grad(
                    (main * factors.to(main.device)).sum(),
                    [recorded.given for recorded in self._maps],
                    allow_unused=True,
                )
            )
        on_the_way = set(order)
        # (A CNN that selects between branches may have a softmax too.)
        transformer = any(recorded.map.layout != Layout() for recorded in self._maps)
        reached = [
            gradient is not None and bool(recorded.map.layout.to_map(gradient).any())
            for recorded, gradient in zip(self._maps, gradients, strict=True)
        ]
        if not any(reached):  # a head whose weights are all zero
            reached = [gradient is not None for gradient in gradients]
        maps = {
            recorded.map.name: replace(
                recorded.map,
                alone=recorded.node in alone,
                reached=with_gradient,
                of_tokens=recorded.map.layout.grid is not None
                or (transformer and recorded.node in attended),
                passed_on=self._best_named(recorded) is not recorded,
                later=self._weights_after(recorded, on_the_way),
                followed=any(self._spatial[recorded.position :]),
            )
            for recorded, with_gradient in zip(self._maps, reached, strict=True)
            if self._runs[recorded.map.name] == 1
        }
        shape = None if main is None else tuple(main.shape)
        return Analysis(
            shape,
            _ending(main),
            maps,
            self._runs,
            self._given,
            sum(run is not None for run in self._weighted),
        )

    def _weights_after(self, recorded: "_Recorded", on_the_way: set[Node]) -> int:
        """Count the runs of modules with weights between a map and the output.

        Modules around the map end later, but their weights may have been used before; weights of
        a second head do not count.
        """
        return sum(
            run is not None
            and run[1] in on_the_way
            and not recorded.map.name.startswith(f"{run[0]}.")
            for run in self._weighted[recorded.position :]
        )

    def _best_named(self, recorded: "_Recorded") -> "_Recorded":
        """Return the last of the outermost modules that return the same map."""
        same = [other for other in self._maps[::-1] if other.node is recorded.node]
        return min(same, key=lambda other: other.map.name.count("."))

    def _layout(self, given: Tensor) -> Layout | None:
        """Return the layout of a map in a tensor; None if there is none."""
        if given.ndim not in (3, 4) or len(given) != 1:
            return None
        if given.ndim == 4:
            last = self._is_grid(given.shape[1:3]) and not self._is_grid(given.shape[2:4])
            layout = Layout(channels_last=last)
            height, width = layout.to_map(given).shape[2:]
            of_heads = height in self._token_counts  # attention heads, not a map
            return None if min(height, width) == 1 or of_heads else layout
        if self._grid is None:
            return None
        rows, columns = self._grid
        while min(rows, columns) > 1:
            extra = given.shape[1] - rows * columns
            if extra == 0 or (
                (rows, columns) == self._grid
                and extra > 0
                and (self._tokens is not None or extra <= _MAX_EXTRA_TOKENS)
            ):
                return Layout(grid=(rows, columns))
            rows, columns = rows // 2, columns // 2
        return None

    def _is_grid(self, sides: Sequence[int]) -> bool:
        """Whether height and width have the input's aspect ratio."""
        height, width = self._size
        rows, columns = sides
        rounding = 0 if height == width else height + width
        return abs(rows * width - columns * height) <= rounding


@dataclass(frozen=True)
class _Recorded:
    """A map that a module returned, and its node in autograd's graph."""

    map: FeatureMap
    given: Tensor
    node: Node | None
    position: int


def analyze(network: nn.Module, pixels: Tensor, tokens: tuple[int, int] | None = None) -> Analysis:
    """Run a network once and record what its modules return.

    Args:
        network: In evaluation mode, its parameters frozen.
        pixels: (1, C, H, W) float32, any picture.
        tokens: (rows, columns) of a transformer's patches, whose tokens come last; None for the
            grid of the last map before them, halved as often as the number of tokens requires.
    """
    names = {module: name for name, module in network.named_modules()}
    recorder = _Recorder((pixels.shape[2], pixels.shape[3]), tokens)
    hooks = [
        module.register_forward_hook(
            lambda module, inputs, output: recorder.record(names[module], module, output)
        )
        for module in names
        if not isinstance(module, torch.jit.ScriptModule)  # which take no hooks
    ]
    try:
        with torch.enable_grad():
            return recorder.result(network(pixels.detach().requires_grad_()))
    finally:
        for hook in hooks:
            hook.remove()


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Yield every tensor of a network's output, in order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for each in output.values():
            yield from tensors_in(each)
    elif isinstance(output, list | tuple):
        for each in output:
            yield from tensors_in(each)


def main_output(output: Any) -> Tensor | None:
    """Return the main tensor of a network's output: "logits", "out", or the first tensor."""
    for name in ("logits", "out"):
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    return next(tensors_in(output), None)


def main_part(given: Any) -> Any:
    """Return a module's output, or its first part if it is a tuple."""
    return given[0] if type(given) is tuple and given else given


def with_main_part(given: Any, part: Tensor) -> Any:
    """Return a module's output with another main part; see `main_part`."""
    return (part, *given[1:]) if type(given) is tuple else part


def _ending(output: Tensor | None) -> str:
    """Return "softmax" or "sigmoid" if the output comes from one, so that it is no logit."""
    node = None if output is None else output.grad_fn
    # Nodes that only change the shape.
    while node is not None and node.name().startswith(("View", "Squeeze", "Unsqueeze", "Reshape")):
        node = node.next_functions[0][0]
    found = "" if node is None else node.name()
    endings = {"SoftmaxBackward0": "softmax", "SigmoidBackward0": "sigmoid"}
    return endings.get(found, "")


def _in_order(output: Tensor) -> list[Node]:
    """Return the nodes of autograd's graph in topological order, from the output."""
    start = output.grad_fn
    if start is None:
        return []
    edges_into = Counter[Node]()
    known, stack = {start}, [start]
    while stack:
        for following in _after(stack.pop()):
            edges_into[following] += 1
            if following not in known:
                known.add(following)
                stack.append(following)
    order, ready = [], [start]
    while ready:
        order.append(ready.pop())
        for following in _after(order[-1]):
            edges_into[following] -= 1
            if edges_into[following] == 0:
                ready.append(following)
    return order


def _bottlenecks(order: list[Node]) -> set[Node]:
    """Return the nodes that every path from the output to the input passes through.

    A node has no path around it if all open edges of the nodes before it lead into it.
    """
    edges_into = Counter(following for node in order for following in _after(node))
    found, open_edges = set(), 0
    for node in order:
        open_edges -= edges_into[node]
        if open_edges == 0:
            found.add(node)
        open_edges += len(_after(node))
    return found


def _attended(order: list[Node]) -> set[Node]:
    """Return the nodes that depend on the result of an attention."""
    found: set[Node] = set()
    for node in order[::-1]:
        if node.name().startswith(("Softmax", "ScaledDot")) or not found.isdisjoint(_after(node)):
            found.add(node)
    return found


def _after(node: Node) -> list[Node]:
    return [following for following, _ in node.next_functions if following is not None]
