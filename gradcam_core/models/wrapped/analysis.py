"""What one run tells of a network: its feature maps, and which of them all the rest depends on.

Networks come in every shape, and most do not fall into a chain of stages. So none of their code
is read: a picture goes through once, hooks note what every module gives, and autograd's graph
tells which maps the output depends on alone, and at which it has a gradient.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

# Tokens before those of the patches: for the class, for distillation, registers.
_MAX_EXTRA_TOKENS = 16


@dataclass(frozen=True)
class Layout:
    """How a feature map (1, C, h, w) lies in what a module gives.

    Attributes:
        grid: (rows, columns) of the patches whose tokens are the last of (1, n, C); else None.
        channels_last: Whether it is (1, h, w, C), as in Swin.
    """

    grid: tuple[int, int] | None = None
    channels_last: bool = False

    def to_map(self, given: Tensor) -> Tensor:
        """Return the map (1, C, h, w) in what a module gave."""
        if self.grid is not None:
            rows, columns = self.grid
            patches = given[:, -rows * columns :].transpose(1, 2)
            return patches.reshape(*patches.shape[:2], rows, columns)
        return given.permute(0, 3, 1, 2) if self.channels_last else given

    def from_map(self, feature_map: Tensor, given: Tensor) -> Tensor:
        """Return what the module gave, with another map (1, C, h, w) in its place."""
        if self.grid is not None:
            rows, columns = self.grid
            patches = feature_map.flatten(2).transpose(1, 2)
            return torch.cat([given[:, : -rows * columns], patches], 1)
        if self.channels_last:
            feature_map = feature_map.permute(0, 2, 3, 1)
        # What follows may write into it, or look at it from another side.
        return feature_map.clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class FeatureMap:
    """A module that runs once and gives a feature map.

    Attributes:
        name: The module's.
        layout: How the map lies in what it gives.
        shape: (C, h, w) of the map.
        alone: Whether the output depends on the picture through this map alone.
        reached: Whether the output has a gradient at the map.
        of_tokens: Whether it is one of a transformer's tokens: attention had a part in it.
        passed_on: Whether the very same map is given by a module better to name, as one around it.
        later: How many of the modules between it and the output have weights of their own.
        followed: Whether a module that runs after it gives a map, or tokens.
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
class Probe:
    """What a run told.

    Attributes:
        shape: Of the tensor that the output is about; None if there is none.
        ending: "softmax" or "sigmoid" if that is what it comes from, else "".
        maps: By the module's name, in the order that they are finished in.
        runs: How often each module ran.
        given: In words, what each module gave last.
        weighted: How many runs there were of modules with weights of their own.
    """

    shape: tuple[int, ...] | None
    ending: str
    maps: dict[str, FeatureMap]
    runs: Counter[str]
    given: dict[str, str]
    weighted: int

    def last_map(self) -> FeatureMap | None:
        """Return the last feature map: what a heat map is made of if nobody names a layer.

        That is the last one that everything after it depends on alone, that the output has a
        gradient at, and that weights come after. (The patches have none in the last block of a
        transformer that is read by a token of its own.)
        """
        found = [
            each
            for each in self.maps.values()
            if each.alone
            and each.reached
            and not each.passed_on
            # No early map of a network that is spread over several later ones, as in detectors.
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


class _Notes:
    """What hooks note during a run."""

    def __init__(self, size: tuple[int, int], tokens: tuple[int, int] | None) -> None:
        self._size = size
        self._tokens = tokens
        # Of the last map before the first tokens, unless it is said how these lie.
        self._grid = tokens
        self._token_counts: set[int] = set()
        self._runs = Counter[str]()
        self._given: dict[str, str] = {}
        self._maps: list[_Noted] = []
        # For every run of a module: if it has weights of its own, its name and where what it gave
        # lies in autograd's graph; and whether it gives a map or tokens.
        self._weighted: list[tuple[str, Node | None] | None] = []
        self._spatial: list[bool] = []

    def take(self, name: str, module: nn.Module, output: Any) -> Any:
        """Note what a module gave; return what goes on in its place, None for itself."""
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
        # The same as before: a container's, or that of an identity.
        same = next((earlier for earlier in self._maps if earlier.node is given.grad_fn), None)
        # Else a copy goes on, for what follows may write into it.
        copy = given if same else given.clone()
        self._maps.append(
            _Noted(
                FeatureMap(name, layout, (channels, height, width)),
                same.given if same else given,
                copy.grad_fn,
                len(self._weighted),
            )
        )
        return None if same else with_main_part(output, copy)

    def judged(self, output: Any) -> Probe:
        """Return what was noted, together with what the output has to do with it."""
        main = main_output(output)
        order: list[Node] = []
        alone: set[Node] = set()
        attended: set[Node] = set()
        gradients: list[Tensor | None] = [None] * len(self._maps)
        if main is not None and main.requires_grad and self._maps:
            order = _in_order(main)
            alone, attended = _bottlenecks(order), _attended(order)
            # Of a sum in which nothing cancels out, as the outputs of a softmax would.
            factors = torch.rand(main.shape, generator=torch.Generator().manual_seed(0))
            gradients = list(
                torch.autograd.grad(
                    (main * factors.to(main.device)).sum(),
                    [noted.given for noted in self._maps],
                    allow_unused=True,
                )
            )
        on_the_way = set(order)
        # (A softmax can also be that of a CNN that chooses between its branches.)
        transformer = any(noted.map.layout != Layout() for noted in self._maps)
        reached = [
            gradient is not None and bool(noted.map.layout.to_map(gradient).any())
            for noted, gradient in zip(self._maps, gradients, strict=True)
        ]
        if not any(reached):  # a head whose weights are all zero: as good as any
            reached = [gradient is not None for gradient in gradients]
        maps = {
            noted.map.name: replace(
                noted.map,
                alone=noted.node in alone,
                reached=with_gradient,
                of_tokens=noted.map.layout.grid is not None
                or (transformer and noted.node in attended),
                passed_on=self._best_named(noted) is not noted,
                later=self._weights_after(noted, on_the_way),
                followed=any(self._spatial[noted.position :]),
            )
            for noted, with_gradient in zip(self._maps, reached, strict=True)
            if self._runs[noted.map.name] == 1
        }
        shape = None if main is None else tuple(main.shape)
        return Probe(
            shape,
            _ending(main),
            maps,
            self._runs,
            self._given,
            sum(run is not None for run in self._weighted),
        )

    def _weights_after(self, noted: "_Noted", on_the_way: set[Node]) -> int:
        """Count the runs of modules with weights that lie between a map and the output.

        What is around the map ends later, but its weights may have been used before; and those of
        a second head do not count.
        """
        return sum(
            run is not None and run[1] in on_the_way and not noted.map.name.startswith(f"{run[0]}.")
            for run in self._weighted[noted.position :]
        )

    def _best_named(self, noted: "_Noted") -> "_Noted":
        """Return the last of the outermost modules that give the very same map."""
        same = [other for other in self._maps[::-1] if other.node is noted.node]
        return min(same, key=lambda other: other.map.name.count("."))

    def _layout(self, given: Tensor) -> Layout | None:
        """Say how a map lies in a tensor; None if there is none."""
        if given.ndim not in (3, 4) or len(given) != 1:
            return None
        if given.ndim == 4:
            last = self._is_grid(given.shape[1:3]) and not self._is_grid(given.shape[2:4])
            layout = Layout(channels_last=last)
            height, width = layout.to_map(given).shape[2:]
            of_heads = height in self._token_counts  # what an attention's heads make of the tokens
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
        """Tell whether a height and a width are to each other as those of the input."""
        height, width = self._size
        rows, columns = sides
        rounding = 0 if height == width else height + width
        return abs(rows * width - columns * height) <= rounding


@dataclass(frozen=True)
class _Noted:
    """A map that a module gave, and the node of autograd's graph that went on from there."""

    map: FeatureMap
    given: Tensor
    node: Node | None
    position: int


def probe(network: nn.Module, pixels: Tensor, tokens: tuple[int, int] | None = None) -> Probe:
    """Run a network once, and say what its modules gave.

    Args:
        network: In evaluation mode, its parameters frozen.
        pixels: (1, C, H, W) float32, any picture.
        tokens: (rows, columns) of a transformer's patches, whose tokens come last; None to take
            the grid of the last map before them that has as many cells, or four times as many,
            and so on.
    """
    names = {module: name for name, module in network.named_modules()}
    notes = _Notes((pixels.shape[2], pixels.shape[3]), tokens)
    hooks = [
        module.register_forward_hook(
            lambda module, inputs, output: notes.take(names[module], module, output)
        )
        for module in names
    ]
    try:
        with torch.enable_grad():
            return notes.judged(network(pixels.detach().requires_grad_()))
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
    """Return the tensor that a network's output is about.

    `logits` if it has them, or what is called "logits" or "out", or the first tensor.
    """
    for name in ("logits", "out"):
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    return next(tensors_in(output), None)


def main_part(given: Any) -> Any:
    """Return what a module gave, or the first part of it if that is a tuple."""
    return given[0] if type(given) is tuple and given else given


def with_main_part(given: Any, part: Tensor) -> Any:
    """Return what a module gave with another first part; see `main_part`."""
    return (part, *given[1:]) if type(given) is tuple else part


def _ending(output: Tensor | None) -> str:
    """Say whether an output comes from a softmax or a sigmoid: then it is no logit any more."""
    node = None if output is None else output.grad_fn
    # What changes the shape only.
    while node is not None and node.name().startswith(("View", "Squeeze", "Unsqueeze", "Reshape")):
        node = node.next_functions[0][0]
    found = "" if node is None else node.name()
    endings = {"SoftmaxBackward0": "softmax", "SigmoidBackward0": "sigmoid"}
    return endings.get(found, "")


def _in_order(output: Tensor) -> list[Node]:
    """Return the nodes of autograd's graph from the output on, each after all that lead to it."""
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
    """Return the nodes that every way from the output to the input leads over.

    Where no edge from a node before it is open but those into the node at hand, there is no way
    around it.
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
    """Return the nodes that something goes into that came out of an attention."""
    found: set[Node] = set()
    for node in order[::-1]:
        if node.name().startswith(("Softmax", "ScaledDot")) or not found.isdisjoint(_after(node)):
            found.add(node)
    return found


def _after(node: Node) -> list[Node]:
    return [following for following, _ in node.next_functions if following is not None]
