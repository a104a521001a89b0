"""Guided backpropagation and Deconvnet: another rule for the gradient at every ReLU.

The rule is a torch function mode. It is local to the thread, sees ReLUs called as functions as
well as modules, and touches neither the network nor what other threads do with it.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Rule = Literal["guided", "deconvnet"]


class ReLURule(TorchFunctionMode):
    """Within this context a ReLU or ReLU6 passes gradients back by `rule`.

    - "guided" (Springenberg et al. 2015): where the input was active and the gradient positive.
    - "deconvnet" (Zeiler and Fergus 2014): where the gradient is positive.

    What the network computes stays the same, bit for bit.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self._rule = rule

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func not in RELUS:
            return func(*args, **kwargs)
        values, lowest, ceiling, inplace = RELUS[func](*args, **kwargs)
        if lowest != 0:  # a hardtanh that is no ReLU6
            return func(*args, **kwargs)
        if self._rule == "deconvnet":
            out = NoMask.apply(values, ceiling)
            out = values.copy_(out) if inplace else out
        else:
            out = func(*args, **kwargs)  # its own gradient knows where the input was active
        if out.requires_grad:
            out.register_hook(_positive)
        return out


def _positive(gradient: Tensor) -> Tensor:
    return gradient.clamp(min=0)


class NoMask(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, ceiling: float) -> Tensor:
        return values.clamp(0, ceiling)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


_INFINITY = float("inf")

# Each way to call a ReLU -> (input, lowest value, highest value, in place), by its own arguments.
RELUS: dict[Callable[..., Any], Callable[..., tuple[Tensor, float, float, bool]]] = {
    F.relu: lambda input, inplace=False: (input, 0, _INFINITY, inplace),
    torch.relu: lambda input: (input, 0, _INFINITY, False),
    torch.relu_: lambda input: (input, 0, _INFINITY, True),
    Tensor.relu: lambda input: (input, 0, _INFINITY, False),
    Tensor.relu_: lambda input: (input, 0, _INFINITY, True),
    F.relu6: lambda input, inplace=False: (input, 0, 6, inplace),
    F.hardtanh: lambda input, min_val=-1, max_val=1, inplace=False: (
        (input, min_val, max_val, inplace)
    ),
}
