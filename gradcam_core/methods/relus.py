"""Find ReLUs, however a network writes them.

`F.relu(x)`, `x.clamp(min=0)` and the like are known by name. Others are found by their values:
`torch.where(x > 0, x, 0)`, `x * (x > 0)`, `torch.maximum(x, zeros)`, `(x + x.abs()) / 2` or
`x[x < 0] = 0` all equal ReLU(x), or -ReLU(-x) for the negative part.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import functional as F

from gradcam_core.models.function_mode import Function, FunctionMode

_INFINITY = float("inf")
_REMEMBERED = 16  # the last results; a ReLU takes a few calls
_SOURCES = 6  # tensors that a result was computed from
_FOLLOWED = "gradcam_core: a ReLU"  # key of autograd's metadata


class ReLU(NamedTuple):
    """A call that is a ReLU: its input, its highest value, and whether it overwrites the input."""

    values: Tensor
    ceiling: float = _INFINITY
    inplace: bool = False


def _is_zero(value: Any) -> bool:
    """Whether a value is the number 0, or a constant tensor of zeros."""
    if isinstance(value, Tensor):
        return not value.requires_grad and not value.any()
    return isinstance(value, int | float) and value == 0


def _clamp(inplace: bool) -> Callable[..., ReLU | None]:
    def relu(input: Tensor, min: Any = None, max: Any = None) -> ReLU | None:
        if not _is_zero(min) or isinstance(max, Tensor):
            return None
        return ReLU(input, _INFINITY if max is None else max, inplace)

    return relu


def _threshold(input: Tensor, threshold: Any, value: Any, inplace: bool = False) -> ReLU | None:
    return ReLU(input, inplace=inplace) if _is_zero(threshold) and _is_zero(value) else None


def _hardtanh(
    input: Tensor, min_val: float = -1, max_val: float = 1, inplace: bool = False
) -> ReLU | None:
    return ReLU(input, max_val, inplace) if min_val == 0 else None


# Function -> the ReLU that it is for its own arguments; None if it is none for these.
RELUS: dict[Callable[..., Any], Callable[..., ReLU | None]] = {
    F.relu: lambda input, inplace=False: ReLU(input, inplace=inplace),
    torch.relu: ReLU,
    Tensor.relu: ReLU,
    torch.relu_: lambda input: ReLU(input, inplace=True),
    Tensor.relu_: lambda input: ReLU(input, inplace=True),
    F.relu6: lambda input, inplace=False: ReLU(input, 6, inplace),
    F.hardtanh: _hardtanh,
    F.hardtanh_: lambda input, min_val=-1, max_val=1: _hardtanh(input, min_val, max_val, True),
    F.threshold: _threshold,
    torch.threshold: _threshold,
    torch.threshold_: lambda input, threshold, value: _threshold(input, threshold, value, True),
    **dict.fromkeys((torch.clamp, torch.clip, torch.clamp_min), _clamp(inplace=False)),
    **dict.fromkeys((Tensor.clamp, Tensor.clip, Tensor.clamp_min), _clamp(inplace=False)),
    **dict.fromkeys((torch.clamp_, torch.clip_, torch.clamp_min_), _clamp(inplace=True)),
    **dict.fromkeys((Tensor.clamp_, Tensor.clip_, Tensor.clamp_min_), _clamp(inplace=True)),
}

# Names of functions that compare their input with a number or a tensor; and with a tensor only.
_COMPARISONS = {"gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal"}
_CLAMPS = {"clamp", "clip", "clamp_max"}
_EXTREMA = {"maximum", "minimum", "fmax", "fmin", "max", "min"}
# Names of functions that depend on the sign of their input.
_SIGNS = {"abs", "absolute", "sign", "sgn", "heaviside", "relu", "leaky_relu"}
# Never part of a ReLU: looking at their values would only cost time.
_LAYERS = {F.conv1d, F.conv2d, F.conv3d, F.linear, F.batch_norm, F.pad}
_INPLACE_OPERATORS = {"__setitem__", "__imul__", "__iadd__", "__isub__", "__itruediv__", "__iand__"}


class _Trace(NamedTuple):
    """Where a result comes from.

    Attributes:
        result: The result.
        sources: Tensors that it was computed from, directly or over several calls.
        certain: Whether it depends on the sign of the sources.
    """

    result: Tensor
    sources: tuple[Tensor, ...]
    certain: bool

    @property
    def is_mask(self) -> bool:
        """Whether it is made from a comparison of the sources with zero."""
        return self.certain and not self.result.requires_grad


class ReLUFinder(FunctionMode):
    """Within this context, `relu` computes every ReLU, however it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._recent: deque[_Trace] = deque(maxlen=_REMEMBERED)

    @abstractmethod
    def relu(self, values: Tensor, ceiling: float) -> Tensor:
        """Compute a ReLU, not in place; its values must not change."""

    def call(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in _LAYERS:
            return func(*args, **kwargs)
        if func in RELUS:
            known = RELUS[func](*args, **kwargs)
            if known is not None:
                return self._follow(known)
        name = getattr(func, "__name__", "")
        inputs = list(_tensors((*args, *kwargs.values())))
        traces = {id(each): trace for each in inputs if (trace := self._trace(each))}
        masked = any(trace.is_mask for trace in traces.values())
        overwritten = args[0] if masked and _is_inplace(name) else None
        if overwritten is not None:
            before = overwritten.clone()
            inputs = [before if each is overwritten else each for each in inputs]
            traces[id(before)] = _Trace(before, (overwritten,), certain=False)
            if id(overwritten) in traces:
                traces[id(before)] = traces[id(overwritten)]
        result = func(*args, **kwargs)
        value = result if overwritten is None else overwritten
        if isinstance(value, tuple) and value:
            value = value[0]  # of a maximum with its indices
        if not isinstance(value, Tensor):
            return result
        sources = _distinct([*inputs, *(each for t in traces.values() for each in t.sources)])
        certain = _depends_on_sign(name, args, kwargs) or any(t.certain for t in traces.values())
        found = self._found(value, sources, certain)
        if found is None:
            if masked:
                _check_gate(name, value, inputs, traces)
            self._recent.append(_Trace(value, sources, certain))
            return result
        if overwritten is not None:
            overwritten.copy_(found)
            return result
        return type(result)((found, *result[1:])) if isinstance(result, tuple) else found

    def _found(self, value: Tensor, sources: tuple[Tensor, ...], certain: bool) -> Tensor | None:
        """Return a value again, computed by `relu`, if it is the ReLU of a source; else None.

        Args:
            value: The result of a call.
            sources: What it may be the ReLU of.
            certain: Whether it depends on a sign. If not, ReLU(x) can be told from x itself only
                if x has both signs.
        """
        if not (value.requires_grad and value.is_floating_point() and value.numel()):
            return None
        candidates = [
            source
            for source in sources
            if source.shape == value.shape and source.requires_grad and source is not value
        ]
        sign = _sign(value) if candidates else 0
        for source in candidates if sign else ():
            signed = source if sign == 1 else -source
            if not certain and not (source.min() < 0 < source.max()):
                continue
            if torch.equal(sign * value, signed.relu()):
                return sign * self._follow(ReLU(signed))
        return None

    def _follow(self, found: ReLU) -> Tensor:
        values, ceiling, inplace = found
        result = self.relu(values.clone() if inplace else values, ceiling)
        if result.grad_fn is not None:
            _metadata(result.grad_fn)[_FOLLOWED] = True
        return values.copy_(result) if inplace else result

    def _trace(self, value: Tensor) -> _Trace | None:
        return next((trace for trace in self._recent if trace.result is value), None)


def _sign(values: Tensor) -> int:
    """Return 1 if no value is negative, -1 if none is positive, 0 if there are both."""
    few = values[0] if values.ndim > 1 else values
    few = few[:, 0] if few.ndim > 1 else few
    for part in (few, values):  # most activations have both signs in a few places
        sign = 1 if part.min() >= 0 else -1 if part.max() <= 0 else 0
        if sign == 0:
            break
    return sign


def unfollowed(output: Tensor) -> str | None:
    """Return what in an output's graph may be a ReLU that no `ReLUFinder` saw; None if nothing."""
    nodes, stack = set[Node](), [output.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in nodes:
            continue
        nodes.add(node)
        stack += [following for following, _ in node.next_functions]
        name = node.name()
        if _FOLLOWED not in _metadata(node) and _may_be_relu(node, name):
            return name.removesuffix("0").removesuffix("Backward")
    return None


def _metadata(node: Node) -> dict[str, Any]:
    found: Any = node.metadata  # torch's types call it a method
    return found


def _may_be_relu(node: Node, name: str) -> bool:
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        return True  # an autograd function of the network's own, or a part that runs later
    if name.startswith("Clamp"):
        return _is_zero(getattr(node, "_saved_min", None))
    return name.startswith(("Relu", "Threshold", "DifferentiableGraph"))


def _check_gate(name: str, value: Tensor, inputs: list[Tensor], traces: dict[int, _Trace]) -> None:
    """Raise a ValueError for a function of x and the sign of x that is not a ReLU of x."""
    if not (value.requires_grad and value.is_floating_point()):
        return
    masks = [trace for trace in traces.values() if trace.is_mask]
    signs_of = {id(each) for mask in masks for each in mask.sources if each.shape == value.shape}
    gated = {id(each) for each in inputs if each.requires_grad}
    gated |= {id(each) for trace in traces.values() if not trace.is_mask for each in trace.sources}
    if signs_of & gated:
        raise ValueError(
            f"The network has a non-linearity of its own, made of '{name.strip('_')}' and the sign "
            "of its input. It is not a ReLU, so the rules for gradients at ReLUs are undefined."
        )


def _depends_on_sign(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    values = (*args, *kwargs.values())
    if name in _COMPARISONS | _CLAMPS:
        return any(map(_is_zero, values))
    if name in _EXTREMA:
        return any(_is_zero(each) for each in values if isinstance(each, Tensor))
    return name in _SIGNS


def _is_inplace(name: str) -> bool:
    return name in _INPLACE_OPERATORS or (name.endswith("_") and not name.endswith("__"))


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _distinct(tensors: list[Tensor]) -> tuple[Tensor, ...]:
    return tuple({id(each): each for each in tensors}.values())[:_SOURCES]
