"""Contrastive excitation backpropagation (c-MWP): no gradient, but probabilities of winning."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import resolve_name

from gradcam_core.methods.gradients import Maps, gradients
from gradcam_core.methods.guided import NoMask
from gradcam_core.methods.relus import RELUS
from gradcam_core.models.base import Head, LabelHead, ResolvedTarget, Score
from gradcam_core.models.function_mode import Function, FunctionMode

Operation = Callable[[Tensor], Tensor]


def c_mwp(head: Head, target: ResolvedTarget) -> Maps:
    """c-MWP: the marginal winning probability of each cell for y^c, minus that for "not c".

    Zhang et al., ECCV 2016 (arXiv 1608.00507), Eq. 5 for P, and section 3.3: "not c" is a unit with
    the negated weights of the last layer. Both sum to 1, so their difference has a sign: what is
    below zero is the counterfactual. It is summed over the channels.

    Raises:
        ValueError: The method is undefined: every layer between the target layer and the output
            must be a convolution, a linear layer, a ReLU or a pooling without negative inputs, and
            the target must be a class.
    """
    if not isinstance(head, LabelHead) or target.function is not None:
        raise ValueError("c-MWP compares a class with all others; it has no captions or functions.")
    model, encoded = head.model, head.encoded

    def probabilities(mode: "_Excitation") -> tuple[Score, Tensor]:
        with torch.enable_grad(), mode:
            again = model.backbone.from_layer(encoded.activations, encoded.layer, encoded.pixels)
            score = head.score(again, target)
            return score, gradients(score.terms, encoded.activations)[0]

    mode = _Excitation(model.name)
    score, winning = probabilities(mode)
    _, losing = probabilities(_Excitation(model.name, negated=mode.weighted))
    signed = (winning - losing).sum(0)
    return Maps(score, signed.relu(), (-signed).relu(), signed.new_zeros(0, *signed.shape))


class _Excitation(FunctionMode):
    """Within this context, the backward pass carries probabilities instead of gradients.

    Attributes:
        weighted: The number of layers with weights that have run.
    """

    def __init__(self, name: str, negated: int = 0) -> None:
        """Create the mode.

        Args:
            name: The network's, for messages.
            negated: The number, from 1, of the layer whose weights are negated; 0 for none.
        """
        super().__init__()
        self.weighted = 0
        self._name = name
        self._negated = negated

    def call(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in _WEIGHTED:
            return self._by_weights(_WEIGHTED[func], *args, **kwargs)
        if func in _AVERAGES:
            return self._won(args[0], lambda x: func(x, *args[1:], **kwargs), func(*args, **kwargs))
        if func in RELUS:
            found = RELUS[func](*args, **kwargs)
            if found is not None:
                return NoMask.apply(found.values, found.ceiling)
        name = getattr(func, "__name__", "")
        out = func(*args, **kwargs)
        if isinstance(out, Tensor) and out.requires_grad and name not in _HARMLESS:
            raise ValueError(
                f"c-MWP is defined for convolutions, linear layers, ReLUs and poolings; after "
                f"this layer {self._name} has {resolve_name(func) or name}."
            )
        return out

    def _by_weights(
        self,
        func: Callable[..., Tensor],
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *rest: Any,
        **named: Any,
    ) -> Tensor:
        self.weighted += 1
        excitatory = (-weight if self.weighted == self._negated else weight).clamp(min=0)
        out = func(input, weight, bias, *rest, **named)
        return self._won(input, lambda x: func(x, excitatory, None, *rest, **named), out)

    def _won(self, input: Tensor, operation: Operation, out: Tensor) -> Tensor:
        if not input.requires_grad:  # before the target layer
            return out
        if (input < 0).any():
            raise ValueError(
                f"c-MWP is defined for non-negative activations, and {self._name} has negative "
                "ones here (as linear bottlenecks do). Try its last layer."
            )
        return _Won.apply(input, operation, out.detach())


class _Won(torch.autograd.Function):
    """The backward pass P(a_j) = sum_i a_j w+_ji P(a_i) / sum_j a_j w+_ji, Eq. 5."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, operation: Operation, out: Tensor) -> Tensor:
        ctx.save_for_backward(input)
        ctx.operation = operation
        return out.clone()

    @staticmethod
    def backward(ctx: Any, probability: Tensor) -> tuple[Tensor, None, None]:
        (input,) = ctx.saved_tensors
        with torch.enable_grad():
            cells = input.detach().requires_grad_()
            excited = ctx.operation(cells)
            share = torch.where(excited > 0, probability / excited, 0)
            (back,) = torch.autograd.grad(excited, cells, share)
        return cells.detach() * back, None, None


_WEIGHTED: dict[Callable[..., Any], Callable[..., Tensor]] = {
    F.conv2d: F.conv2d,
    torch.mkldnn_convolution: torch.mkldnn_convolution,
    F.linear: F.linear,
}
_AVERAGES = (F.adaptive_avg_pool2d, F.avg_pool2d)
# Functions that only move values; of a maximum, the winner takes all.
_HARMLESS = frozenset(
    (
        *("max_pool2d", "adaptive_max_pool2d", "boolean_dispatch", "fn", "dropout", "clone"),
        *("flatten", "reshape", "view", "permute", "squeeze", "contiguous", "__getitem__"),
        *("cpu", "to"),
    )
)
