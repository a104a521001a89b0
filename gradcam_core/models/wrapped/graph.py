"""What autograd's graph of one run shows of a network."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable

from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

# Operations that leave every cell where it is, and change its values only.
_POINTWISE = {
    *("Abs", "Add", "Addcmul", "Alias", "Clamp", "ClampMax", "ClampMin", "Clone", "Copy"),
    *("CopyBackwards", "Cos", "Div", "Elu", "Erf", "Exp", "FusedRmsNorm", "Gelu", "Hardsigmoid"),
    *("Hardswish", "Hardtanh", "LeakyRelu", "Lerp", "LogSigmoid", "MaskedFill", "Maximum"),
    *("Minimum", "Mish", "Mul", "NativeDropout", "NativeGroupNorm", "NativeLayerNorm", "Neg"),
    *("Pow", "Prelu", "Relu", "Rsqrt", "Rsub", "Selu", "Sigmoid", "Silu", "Sin", "Softplus"),
    *("Sqrt", "Sub", "Tanh", "Threshold", "To", "ToCopy", "Where"),
    *("BatchNorm", "CudnnBatchNorm", "MiopenBatchNorm", "NativeBatchNorm"),
}
# Operations on (1, C, h, w) that keep the order of rows and columns.
_ORDERED = _POINTWISE | {
    *("AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "AdaptiveMaxPool2D", "AdaptiveMaxPool3D"),
    *("AvgPool2D", "AvgPool3D", "Cat", "ConstantPadNd", "Convolution", "ConvDepthwise2D"),
    *("CudnnConvolution", "MaxPool2DWithIndices", "MaxPool3DWithIndices", "MkldnnConvolution"),
    *("MpsConvolution", "ReflectionPad2D", "ReplicationPad2D", "ReflectionPad3D"),
    *("ReplicationPad3D", "ThnnConv2D", "SlowConv2D", "SlowConv3D", "SlowConvDilated2D"),
    *("UpsampleBicubic2D", "UpsampleBilinear2D", "UpsampleNearest2D", "UpsampleNearestExact2D"),
    *("UpsampleBilinear2DAa", "UpsampleBicubic2DAa", "UpsampleNearest3D", "UpsampleTrilinear3D"),
    *("MkldnnMaxPool2D", "MkldnnAdaptiveAvgPool2D", "CudnnConvolutionRelu"),
}


class Graph:
    """The graph of an output.

    Attributes:
        order: Its nodes in topological order, from the output.
        bottlenecks: The nodes that every path from the output to the input passes through.
        attended: The nodes that depend on the result of an attention.
        plain: The nodes that a path of convolutions, poolings and the like leads to from the
            input, so that their cells lie in its order.
        local: The nodes that a path leads to from the input on which cells stay apart: through
            the queries of an attention, but not through its keys, a mean, an RNN, or a linear
            layer over everything.
        streams: For each node the earliest node with the same tokens at the same places, as along
            the residual stream of a transformer.
    """

    def __init__(
        self, output: Tensor | None, pixels: Tensor, states: Collection[Node] = ()
    ) -> None:
        """Walk through the graph.

        Args:
            output: Of a network.
            pixels: Its input, a leaf.
            states: Of RNNs.
        """
        start = None if output is None else output.grad_fn
        self._after: dict[Node, list[Node]] = {}
        self._edges = Counter[Node]()
        self._outputs: dict[Node, set[int]] = {}
        self.order = [] if start is None else self._in_order(start)
        self.bottlenecks = self._bottlenecks()
        self.attended = self.downstream(
            node for node in self.order if node.name().startswith(("Softmax", "ScaledDot"))
        )
        self.plain: set[Node] = set()
        self.local: set[Node] = set()
        self.streams: dict[Node, Node] = {}
        self._follow_cells(pixels, states)
        self._nodes = set(self.order)

    def __contains__(self, edge: GradientEdge | None) -> bool:
        return edge is not None and edge.node in self._nodes

    def passes_only(self, edge: GradientEdge) -> bool:
        """Whether every path from the output to the input passes through this tensor."""
        others = self._outputs.get(edge.node, {edge.output_nr}) - {edge.output_nr}
        return edge.node in self.bottlenecks and not others

    def downstream(self, sources: Iterable[Node]) -> set[Node]:
        """Return the nodes that depend on some of the nodes, with these."""
        found = set(sources)
        for node in reversed(self.order):
            if node not in found and not found.isdisjoint(self._after[node]):
                found.add(node)
        return found

    def _in_order(self, start: Node) -> list[Node]:
        known, stack = {start}, [start]
        while stack:
            node = stack.pop()
            after = self._after[node] = []
            for following, number in node.next_functions:
                if following is None:
                    continue
                after.append(following)
                self._edges[following] += 1
                self._outputs.setdefault(following, set()).add(number)
                if following not in known:
                    known.add(following)
                    stack.append(following)
        order, ready, edges_into = [], [start], Counter(self._edges)
        while ready:
            order.append(ready.pop())
            for following in self._after[order[-1]]:
                edges_into[following] -= 1
                if edges_into[following] == 0:
                    ready.append(following)
        return order

    def _bottlenecks(self) -> set[Node]:
        # A node has no path around it if all open edges of the nodes before it lead into it.
        found, open_edges = set(), 0
        for node in self.order:
            open_edges -= self._edges[node]
            if open_edges == 0:
                found.add(node)
            open_edges += len(self._after[node])
        return found

    def _follow_cells(self, pixels: Tensor, states: Collection[Node]) -> None:
        ages: dict[Node, int] = {}
        shapes: dict[Node, tuple[int, ...] | None] = {}
        for age, node in enumerate(reversed(self.order)):
            ages[node] = age
            self.streams[node] = node
            shape = shapes[node] = shape_of(node)
            if getattr(node, "variable", None) is pixels:
                self.plain.add(node)
                self.local.add(node)
            if shape is None:
                continue
            kind = re.sub(r"Backward\d*$", "", node.name())
            apart = self._keeping_apart(kind, node, shape)
            if node not in states and not self.local.isdisjoint(apart):
                self.local.add(node)
            before = [(each, shapes[each]) for each in self._after[node]]
            if kind in _POINTWISE:
                same = [self.streams[each] for each, its_shape in before if its_shape == shape]
                self.streams[node] = min([node, *same], key=ages.__getitem__)
            if kind not in _ORDERED or len(shape) != pixels.ndim or math.prod(shape[2:]) == 1:
                continue
            if kind == "Cat" and getattr(node, "_saved_dim", None) != 1:
                continue
            if any(
                each in self.plain and (kind not in _POINTWISE or its_shape[2:] == shape[2:])
                for each, its_shape in before
                if its_shape is not None
            ):
                self.plain.add(node)

    def _keeping_apart(self, kind: str, node: Node, shape: tuple[int, ...]) -> list[Node]:
        """Return those inputs of an operation that each cell of the result has its own part of."""
        if math.prod(shape) == max(shape, default=1):
            return []
        if kind.startswith(("Bmm", "ScaledDot", "Mm")):
            first = node.next_functions[0][0]
        elif kind in ("Addmm", "Baddbmm"):
            first = node.next_functions[1][0]
        else:
            return self._after[node]
        return [] if first is None else [first]


def shape_of(node: Node) -> tuple[int, ...] | None:
    """Return the shape of an operation's result; None if it is not known."""
    variable = getattr(node, "variable", None)
    if isinstance(variable, Tensor):
        return tuple(variable.shape)
    known = getattr(node, "_input_metadata", ())
    return tuple(known[0].shape) if known else None
