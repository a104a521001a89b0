"""FullGrad: what the input and every bias of the network add to the score."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F

from gradcam_core.methods.gradients import Batch, gradients_at
from gradcam_core.models.function_mode import Function, FunctionMode
from gradcam_core.models.nonlinearity import NonLinearities


def full_grad(batch: Batch) -> Tensor:
    """FullGrad: L = psi(dy/dx * x) + sum over biases of psi(dy/db * b), at the input's size.

    Srinivas and Fleuret, NeurIPS 2019 (arXiv 1905.00780), Eq. 8. psi takes the magnitude, scales
    each channel to [0, 1] and enlarges it bilinearly, as in pytorch-grad-cam. b are the biases of
    convolutions and batch normalizations, which includes what normalization subtracts. It has no
    sign. With the biases of linear layers, the products add up to the score of a ReLU network.

    Raises:
        ValueError: The network has other non-linearities than ReLU.
    """
    inputs = batch.inputs.detach().clone().requires_grad_()
    with torch.enable_grad(), Biases() as biases, NonLinearities() as others:
        scores = batch.scores_of(inputs)
    if others.seen:
        raise ValueError(
            "FullGrad is defined for networks whose only non-linearity is ReLU; this one has "
            f"{' and '.join(sorted(others.seen))}."
        )
    tensors = [get_gradient_edge(inputs), *(edge for edge, _ in biases.seen)]
    gradients = [each[0] for each in gradients_at(scores.sum()[None], tensors)]
    size = tuple(inputs.shape[2:])
    total = _scaled(gradients[0] * inputs.detach(), size)
    for gradient, (_, bias) in zip(gradients[1:], biases.seen, strict=True):
        total += _scaled(gradient * bias.view(1, -1, *[1] * len(size)), size)
    return total


class Biases(FunctionMode):
    """Within this context, convolutions and batch normalizations are recorded with their biases.

    Attributes:
        seen: Where what each returned is in autograd's graph, and its bias (C,).
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[GradientEdge, Tensor]] = []

    def call(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = func(*args, **kwargs)
        bias = _BIASES[func](*args, **kwargs) if func in _BIASES else None
        if bias is not None and out.requires_grad:
            self.seen.append((get_gradient_edge(out), bias.detach()))
        return out


def _of_convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **named: Any
) -> Tensor | None:
    return bias


def _of_normalization(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    if running_mean is None or running_var is None:
        return bias
    subtracted = running_mean * (running_var + eps).rsqrt()
    if weight is not None:
        subtracted = subtracted * weight
    return -subtracted if bias is None else bias - subtracted


_BIASES: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    F.conv2d: _of_convolution,
    F.conv3d: _of_convolution,
    F.batch_norm: _of_normalization,
}


def _scaled(products: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the sum over the channels of magnitudes, scaled to [0, 1] and enlarged, (n, H, W)."""
    magnitudes = products.abs()
    cells = magnitudes.flatten(2)
    sides = [1] * len(size)
    low = cells.amin(2).view(*cells.shape[:2], *sides)
    high = cells.amax(2).view(*cells.shape[:2], *sides)
    scaled = (magnitudes - low) / (1e-7 + high - low)
    mode = "trilinear" if len(size) == 3 else "bilinear"
    return F.interpolate(scaled, size, mode=mode).sum(1)
