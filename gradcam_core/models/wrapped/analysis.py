"""What one run shows of a network: its feature maps, and which of them the output depends on.

Most networks are not a chain of stages. So a picture goes through once, hooks record the output of
every module, and autograd's graph shows which maps the output depends on alone, and at which it
has a gradient. None of the network's code is inspected.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.func import functional_call

from gradcam_core.models.wrapped.graph import Graph, shape_of
from gradcam_core.models.wrapped.layout import Layout, Layouts
from gradcam_core.models.wrapped.parts import main_output, main_part, tensors_in, with_main_part
from gradcam_core.models.wrapped.positions import changes, fitting


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A module that runs once and returns what may be a feature map.

    Attributes:
        name: The module's.
        layout: Of the map in its output.
        shape: (C, h, w) of the map.
        layouts: All layouts that its shape allows, the most likely first; only one if it is known.
        stream: The first module that returns the same tokens at the same places.
        alone: Whether the output depends on the picture through this map alone.
        reached: Whether the output depends on it. (For a map that `alone` is true of, whether it
            has a gradient at its cells.)
        of_tokens: Whether it consists of a transformer's tokens, mixed by attention.
        passed_on: Whether another module, such as its parent, is the better name for the same map.
        later: The number of modules with weights between it and the output.
        sequential: Whether it consists of states of an RNN, which have seen the cells before them.
        local: Whether its cells have never been merged, as far as shapes and operations show.
        checked: Whether it is known that its cells lie where they would be drawn, or that not.
        problem: The end of a sentence that begins with the layer, if it is not a map; else None.
    """

    name: str
    layout: Layout
    shape: tuple[int, ...]
    layouts: tuple[Layout, ...]
    stream: str
    alone: bool = False
    reached: bool = False
    of_tokens: bool = False
    passed_on: bool = False
    later: int = 0
    sequential: bool = False
    local: bool = False
    checked: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class Analysis:
    """What a run showed.

    Attributes:
        shape: Of the output's main tensor; None if there is none.
        ending: "softmax" or "sigmoid" if the output is one, else "".
        maps: By module name, in the order in which they finish.
        runs: The number of runs of each module.
        given: A description of each module's last output.
        default: The name of the last feature map; None if there is none.
    """

    shape: tuple[int, ...] | None
    ending: str
    maps: dict[str, FeatureMap]
    runs: Counter[str]
    given: dict[str, str]
    default: str | None = None

    def last_map(self) -> FeatureMap | None:
        """Return the default target layer: the last map that the output depends on.

        If possible, that is the last one that everything after it depends on alone, at which the
        output has a gradient, and that weights follow. (In the last block of a transformer with a
        class token, the patch tokens have no gradient.)
        """
        return None if self.default is None else self.maps[self.default]

    @property
    def problem(self) -> str | None:
        """What is wrong with the last of the maps that were found to be none; None if all are."""
        wrong = (each for each in reversed(self.maps.values()) if each.problem is not None)
        return next((f"'{each.name}' {each.problem}" for each in wrong), None)

    def chain(self) -> list[str]:
        """Return the maps up to the last that everything after them depends on alone."""
        last = self.last_map()
        names: list[str] = []
        for each in self.maps.values() if last else ():
            if each is last or (each.alone and each.reached and not each.passed_on):
                names.append(each.name)
            if each is last:
                break
        return names

    def check(self, network: nn.Module, pixels: Tensor, name: str) -> str | None:
        """Find out where the cells of a map lie; return what is wrong with it, None for nothing.

        The map's layout and shape in `maps` are corrected. That takes four runs up to the map
        where the operations do not show it, and is remembered.

        Args:
            network: The network that was analyzed.
            pixels: The input that it was analyzed with.
            name: One of `maps`.
        """
        known = self.maps[name]
        if not known.checked:
            same = [each for each in self.maps.values() if each.stream == known.stream]
            found = changes(network, network.get_submodule(same[0].name), pixels)
            layout, problem = fitting(known.layouts, found, known.local)
            layout = known.layout if layout is None else layout
            shape = layout.map_shape(found.everywhere.shape)
            for each in same:
                self.maps[each.name] = replace(
                    each, layout=layout, shape=shape, checked=True, problem=problem
                )
        return self.maps[name].problem


_Place = tuple[Node, int]  # of an output in autograd's graph


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What a module returned.

    Attributes:
        name: The module's.
        shape: Of its output.
        layouts: The layouts that the output may have.
        likely: Whether the first of them is likely.
        edge: Where the output is in autograd's graph.
        weights: The number of runs of modules with weights until then.
        several: Whether it is a sequence of several modules, such as all blocks.
    """

    name: str
    shape: torch.Size
    layouts: list[Layout]
    likely: bool
    edge: GradientEdge
    weights: int
    several: bool


class _Recorder:
    """What hooks record during a run."""

    def __init__(self, pixels: Tensor, tokens: tuple[int, int] | None) -> None:
        self.runs = Counter[str]()
        self.given: dict[str, str] = {}
        self.recorded: list[_Recorded] = []
        # For every output, what was recorded of the modules that returned it.
        self.returned: dict[_Place, list[_Recorded]] = {}
        # For every run of a module with weights, where its output is in autograd's graph.
        self.weighted: list[GradientEdge | None] = []
        self.states: set[Node] = set()  # of RNNs
        # Of those that contain other modules: the beginning of their names, and which run it is.
        self._parents: list[tuple[str, int]] = []
        self._layouts = Layouts(pixels.shape[2:], tokens)

    def record(self, name: str, module: nn.Module, output: Any) -> Any:
        """Record a module's output; return what replaces it, None to keep it."""
        given = main_part(output)
        replacement = None
        if given is not output and isinstance(given, Tensor) and given.requires_grad:
            # What is done with this part of the output, not with the tensor before it was returned.
            given = torch.ops.aten.alias(given)
            replacement = with_main_part(output, given)
        self.runs[name] += 1
        self.given[name] = (
            f"a tensor of shape {tuple(given.shape)}"
            if isinstance(given, Tensor)
            else f"a {type(output).__name__}"
        )
        edge = None
        if isinstance(given, Tensor) and given.requires_grad:
            node = given.grad_fn
            edge = get_gradient_edge(given) if node is None else GradientEdge(node, given.output_nr)
        if next(module.parameters(recurse=False), None) is not None:
            if next(module.children(), None) is not None:
                self._parents.append((f"{name}." if name else "", len(self.weighted)))
            self.weighted.append(edge)
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            states = [each.grad_fn for each in tensors_in(output)]
            self.states.update(node for node in states if node is not None)
        if name and edge is not None and (possible := self._layouts.of(given.shape)).layouts:
            several = isinstance(module, nn.Sequential) and len(module) > 1
            found = _Recorded(name, given.shape, *possible, edge, len(self.weighted), several)
            self.recorded.append(found)
            self.returned.setdefault(_place(edge), []).append(found)
        return replacement

    def maps(self, graph: Graph) -> dict[str, FeatureMap]:
        """Return the maps that were recorded, and how the output depends on them."""
        sequential = graph.downstream(self.states)
        # (A CNN that selects between branches may have a softmax too.)
        transformer = any(each.layouts[0].axes != "NCHW" for each in self.recorded)
        found: dict[str, FeatureMap] = {}
        streams: dict[Any, str] = {}
        used = [0]  # modules with weights in the graph, among the first of them
        for edge in self.weighted:
            used.append(used[-1] + (edge in graph))
        for each in self.recorded:
            if self.runs[each.name] != 1:
                continue
            node = each.edge.node
            plain = node in graph.plain and len(each.shape) > 3
            # A row of cells that depend on everything, such as queries, is none.
            is_local = node in graph.local
            layouts = [layout for layout in each.layouts if is_local or not layout.is_strip]
            if plain:
                layouts = [Layout("NCDHW" if len(each.shape) == 5 else "NCHW")]
            if not layouts:
                continue
            key = (graph.streams.get(node, node), each.edge.output_nr, each.shape)
            same = self.returned[_place(each.edge)]
            found[each.name] = FeatureMap(
                each.name,
                layouts[0],
                layouts[0].map_shape(each.shape),
                tuple(layouts),
                stream=streams.setdefault(key, each.name),
                alone=graph.passes_only(each.edge),
                reached=each.edge in graph,
                of_tokens=layouts[0].grid is not None or (transformer and node in graph.attended),
                passed_on=self._best_named(same) is not each,
                # Weights of a second head do not count.
                later=self._weights_between(same[0], len(self.weighted), used),
                sequential=node in sequential and not is_local,
                local=each.likely and is_local,
                checked=plain,
            )
        return found

    def weights_until(self, name: str) -> int:
        """Count the runs of modules with weights until a map was there."""
        edge = next(each.edge for each in self.recorded if each.name == name)
        return self.returned[_place(edge)][0].weights

    def _weights_between(self, recorded: _Recorded, end: int, counts: Sequence[int]) -> int:
        """Count the runs of modules with weights after a map, by the counts from the start.

        Modules around the map end later, but their weights may have been used before.
        """
        around = sum(
            counts[run + 1] - counts[run]
            for name, run in self._parents
            if recorded.weights <= run < end and f"{recorded.name}.".startswith(name)
        )
        return counts[end] - counts[recorded.weights] - around

    def _best_named(self, same: list[_Recorded]) -> _Recorded:
        """Return the last of the outermost of the modules that return the same map.

        (Not of those that pass it on later, after other modules have run; and of transformers, the
        last block rather than all of them.)
        """
        first = same[0]
        tokens = first.layouts[0].grid is not None
        every = range(len(self.weighted) + 1)
        return min(
            (
                each
                for each in reversed(same)
                if not self._weights_between(first, each.weights, every)
            ),
            key=lambda each: (tokens and each.several, each.name.count(".")),
        )


def _place(edge: GradientEdge) -> _Place:
    return edge.node, edge.output_nr


class _Search:
    """The search for the default target layer.

    Attributes:
        has_gradients: Whether a gradient was found at some map.
    """

    def __init__(
        self,
        network: nn.Module,
        pixels: Tensor,
        found: Analysis,
        recorder: _Recorder,
        main: Tensor,
    ) -> None:
        self.has_gradients = False
        self._blocked = False
        self._network = network
        self._pixels = pixels
        self._found = found
        self._recorder = recorder
        self._edges = {each.name: each.edge for each in recorder.recorded}
        self._start, shape = _before_probabilities(main)
        # A random weighted sum: the outputs of a softmax would cancel out.
        factors = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
        self._factors = factors.to(main)

    def default(self, *, by_structure: bool = False) -> str | None:
        """Return the name of the last map.

        Args:
            by_structure: Count maps that the output depends on without a gradient, too.
        """
        maps = [
            each
            for each in self._found.maps.values()
            if each.reached and not each.passed_on and not each.sequential
        ]
        alone = [each for each in maps if each.alone]
        likely = [each for each in maps if not each.layout.is_strip]
        last_alone = next((each for each in reversed(likely) if each.alone), None)
        # An early map that several later ones are made from, as in detectors, is not the last.
        if last_alone is not None and self._share(last_alone, likely[-1]) < 1 / 2:
            alone = []
        found = self._last_of(alone, by_structure)
        is_late = found and last_alone and self._share(found, last_alone) > 1 / 10
        is_row = self._found.shape is not None and self._found.shape[:-1] == (1,)
        if is_late or not is_row:
            return None if found is None else found.name
        # Scores of classes, which all maps contribute to. Of transformers, rather the tokens that
        # run through several modules.
        start = 0 if found is None else maps.index(found) + 1
        others = [each for each in maps[start:] if each.local and (not each.alone or not found)]
        streams = Counter(each.stream for each in others)
        through = [each for each in others if each.checked or streams[each.stream] > 1]
        found = self._last_of(through, by_structure) or found or self._last_of(others, by_structure)
        return None if found is None else found.name

    def _share(self, one: FeatureMap, last: FeatureMap) -> float:
        """Return how many of the modules with weights before the last map are before one."""
        return self._recorder.weights_until(one.name) / self._recorder.weights_until(last.name)

    def _last_of(self, maps: list[FeatureMap], by_structure: bool) -> FeatureMap | None:
        """Return the last usable map; rather one that weights follow, but no early one."""
        last = None
        for each in reversed(maps):
            if self._blocked or (last is not None and self._share(each, last) < 1 / 2):
                break
            if (last is None or each.later) and self._is_usable(each, by_structure):
                last = each
                if each.later:
                    break
        return last

    def _is_usable(self, known: FeatureMap, by_structure: bool) -> bool:
        """Whether the output has a gradient at the cells of a map, and they lie in space."""
        gradient = self._gradient(known.name)
        if gradient is not None and gradient.any():
            self.has_gradients = True
        elif gradient is not None and not by_structure:
            self._set_reached(known.name, False)
            self._blocked = known.alone  # no gradient gets past it
            return False
        if self._found.check(self._network, self._pixels, known.name) is not None:
            return False
        if gradient is None or by_structure:
            return True
        cells = self._found.maps[known.name].layout.to_map(gradient)[0].abs().sum(0)
        # At a single cell it is what was read of a sequence, such as a class token.
        reached = int(cells.count_nonzero()) > 1
        self._set_reached(known.name, reached)
        return reached

    def _set_reached(self, name: str, reached: bool) -> None:
        self._found.maps[name] = replace(self._found.maps[name], reached=reached)

    def _gradient(self, name: str) -> Tensor | None:
        """Return the gradient at a module's output; None if it cannot be computed."""
        try:
            (gradient,) = torch.autograd.grad(
                self._start,
                [self._edges[name]],
                self._factors,
                retain_graph=True,
                allow_unused=True,
            )
        except RuntimeError:  # such as cuDNN's, for an RNN in evaluation mode
            return None
        return gradient


def analyze(network: nn.Module, pixels: Tensor, tokens: tuple[int, int] | None = None) -> Analysis:
    """Run a network once and record what its modules return.

    Args:
        network: In evaluation mode, its parameters frozen.
        pixels: (1, C, H, W) or (1, C, D, H, W), any picture.
        tokens: (rows, columns) of a transformer's patches; None to find out from the maps before
            them and the number of tokens.
    """
    found, has_gradients = _analyze(network, pixels, tokens, {})
    if found.default is None and not has_gradients and found.maps:
        # Weights that are zero, as those of a new head, let no gradient through.
        found, _ = _analyze(network, pixels, tokens, _instead_of_zeros(network))
    return found


def _analyze(
    network: nn.Module,
    pixels: Tensor,
    tokens: tuple[int, int] | None,
    weights: dict[str, Tensor],
) -> tuple[Analysis, bool]:
    """Analyze a network with some other weights; return whether the output has a gradient, too."""
    with torch.inference_mode(False), torch.enable_grad():
        picture = pixels.detach().clone().requires_grad_()
        recorder = _Recorder(picture, tokens)
        names = {module: name for name, module in network.named_modules()}
        hooks = [
            module.register_forward_hook(
                lambda module, inputs, output: recorder.record(names[module], module, output)
            )
            for module in names
            if not isinstance(module, torch.jit.ScriptModule)  # which take no hooks
        ]
        try:
            output = functional_call(network, weights, picture) if weights else network(picture)
        finally:
            for hook in hooks:
                hook.remove()
        main = main_output(output)
        graph = Graph(main, picture, recorder.states)
        maps = recorder.maps(graph)
        shape = None if main is None else tuple(main.shape)
        found = Analysis(shape, _ending(main), maps, recorder.runs, recorder.given)
        if main is None or not graph.order:
            return found, False
        search = _Search(network, pixels, found, recorder, main)
        default = search.default()
        if default is None and weights and not search.has_gradients:
            default = search.default(by_structure=True)
        return replace(found, default=default), search.has_gradients


def _instead_of_zeros(network: nn.Module) -> dict[str, Tensor]:
    """Return random weights instead of those that are all zero."""
    numbers = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(each.shape, generator=numbers, dtype=torch.float32).to(each)
        for name, each in network.named_parameters()
        if each.is_floating_point() and not each.any()
    }


def _before_probabilities(output: Tensor) -> tuple[Tensor | GradientEdge, Sequence[int]]:
    """Return what goes into the sigmoid or softmax that an output ends with, and its shape."""
    node = _last_node(output)
    if node is not None and node.name().startswith(("LogSoftmax", "Softmax", "Sigmoid")):
        following, number = node.next_functions[0]
        shape = None if following is None else shape_of(following)
        if following is not None and shape is not None:
            return GradientEdge(following, number), shape
    return output, output.shape


def _ending(output: Tensor | None) -> str:
    """Return "softmax" or "sigmoid" if the output comes from one, so that it is not a logit."""
    node = None if output is None else _last_node(output)
    endings = {"SoftmaxBackward0": "softmax", "SigmoidBackward0": "sigmoid"}
    return "" if node is None else endings.get(node.name(), "")


def _last_node(output: Tensor) -> Node | None:
    """Return the last operation before those that only change the shape."""
    node = output.grad_fn
    while node is not None and node.name().startswith(("View", "Squeeze", "Unsqueeze", "Reshape")):
        node = node.next_functions[0][0]
    return node
