"""Grad-CAM: Eq. 1 and Eq. 2 of Selvaraju et al., IJCV 2019 (arXiv 1610.02391).

Shapes: n scores, a feature map A of C channels and h x w cells. All tensors float32.
"""

import torch
from torch import Tensor


def gradients(scores: Tensor, activations: Tensor) -> Tensor:
    """Return dy/dA of each score, in one backward pass that ends at the feature map.

    Args:
        scores: (n,), each computed from `activations`.
        activations: A, (1, C, h, w), requiring grad.

    Returns:
        (n, C, h, w). The graph of `scores` is freed.
    """
    if len(scores) == 1:
        (gradient,) = torch.autograd.grad(scores[0], activations)
        return gradient
    each = torch.eye(len(scores), device=scores.device)
    (stacked,) = torch.autograd.grad(scores, activations, each, is_grads_batched=True)
    return stacked[:, 0]


def importance(gradients: Tensor) -> Tensor:
    """Eq. 1: the neuron importance weights alpha_k = 1/Z sum_ij dy/dA^k_ij.

    Args:
        gradients: (n, C, h, w).

    Returns:
        alpha, (n, C).
    """
    return gradients.mean(dim=(2, 3))


def grad_cam(alpha: Tensor, activations: Tensor) -> Tensor:
    """Eq. 2: L = ReLU(sum_k alpha_k A^k), what speaks for the target.

    A sum that is positive only by rounding counts as zero, so that nothing downstream can
    blow it up into a picture: a map of zeros means that nothing speaks for the target.

    Args:
        alpha: (n, C), from `importance`.
        activations: A, (1, C, h, w).

    Returns:
        (n, h, w), >= 0, not normalised.
    """
    activations = activations.detach()[0]
    weighted = torch.einsum("nk,kij->nij", alpha, activations)
    magnitude = torch.einsum("nk,kij->nij", alpha.abs(), activations.abs())
    rounding = torch.finfo(weighted.dtype).eps * magnitude
    return weighted.where(weighted > rounding, 0.0)


def counterfactual(alpha: Tensor, activations: Tensor) -> Tensor:
    """Section 3.3: Eq. 2 with the gradients negated, what speaks against the target.

    Takes and returns what `grad_cam` does.
    """
    return grad_cam(-alpha, activations)
