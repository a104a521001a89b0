"""The gradient of the score at the feature map, which all CAM methods but the first share.

Shapes: n terms of a score, a feature map A of C channels and h x w cells. All tensors float32.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gradcam_core.models.base import Head, ResolvedTarget, Score


class Maps(NamedTuple):
    """The maps of one target.

    Attributes:
        score: Of the target.
        attribution: (h, w) float32 >= 0, what speaks for the target; not normalized.
        counterfactual: (h, w) float32 >= 0, what speaks against it (section 3.3).
        words: (n, h, w) float32 >= 0, what speaks for each word; n is 0 except for captions.
    """

    score: Score
    attribution: Tensor
    counterfactual: Tensor
    words: Tensor


# A heat map from a feature map (1, C, h, w) and the gradients (n, C, h, w) of n scores at it, or from
# the maps (n, C, h, w) of n pictures and one gradient for each: (n, h, w) >= 0. Maps of volumes have
# three sides.
Cam = Callable[[Tensor, Tensor], Tensor]

# The maps of several targets; and those of one.
Attribute = Callable[[Head, Sequence[ResolvedTarget]], list[Maps]]
AttributeOne = Callable[[Head, ResolvedTarget], Maps]


def by_gradient(cam: Cam) -> Attribute:
    """Make a method from a function of feature map and gradient.

    All targets share one backward pass, which ends at the feature map. The gradient of y^c is the
    sum of its terms' gradients; what speaks against it is what speaks for -y^c (section 3.3).
    """

    def attribute(head: Head, targets: Sequence[ResolvedTarget]) -> list[Maps]:
        activations = head.encoded.activations
        scores = head.scores(targets)
        of_terms = gradients(torch.cat([score.terms for score in scores]), activations)
        per_target = of_terms.split([len(score.terms) for score in scores])
        of_scores = (
            of_terms  # a label has one term
            if len(of_terms) == len(targets)
            else torch.stack([terms.sum(0) for terms in per_target])
        )
        of_words = [
            terms[: len(target.words)] for terms, target in zip(per_target, targets, strict=True)
        ]
        attributions = cam(activations, of_scores)
        counterfactuals = cam(activations, -of_scores)
        words = [  # a label has none
            cam(activations, rows) if len(rows) else rows[:, 0] for rows in of_words
        ]
        return [
            Maps(*maps) for maps in zip(scores, attributions, counterfactuals, words, strict=True)
        ]

    return attribute


def per_target(attribute_one: AttributeOne) -> Attribute:
    """Make a method from one that explains a single target."""

    def attribute(head: Head, targets: Sequence[ResolvedTarget]) -> list[Maps]:
        return [attribute_one(head, target) for target in targets]

    return attribute


def gradients(scores: Tensor, activations: Tensor) -> Tensor:
    """Return dy/dA of each score, in one backward pass that ends at the feature map.

    Args:
        scores: (n,), each computed from `activations`.
        activations: A, (1, C, h, w), requiring a gradient.

    Returns:
        (n, C, h, w).

    Raises:
        ValueError: See `gradients_at`.
    """
    (found,) = gradients_at(scores, [activations])
    return found[:, 0]


def gradients_at(scores: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of scores (n,) at tensors, (n, *shape) each, in one backward pass.

    Raises:
        ValueError: The scores do not depend on a tensor, or a gradient has NaN or infinite values.
    """
    if not scores.requires_grad:
        raise ValueError(_NO_GRADIENT)
    rows = torch.eye(len(scores), dtype=scores.dtype, device=scores.device)
    found: Sequence[Tensor | None]
    try:
        found = _batched(scores, tensors, rows)
    except RuntimeError:  # some operations have no batched backward pass
        each = [_single(scores, tensors, row) for row in rows]
        found = [None if None in parts else torch.stack(parts) for parts in zip(*each, strict=True)]
    if any(gradient is None for gradient in found):
        raise ValueError(_NO_GRADIENT)
    return [check_gradient(gradient) for gradient in found if gradient is not None]


def _batched(scores: Tensor, tensors: Sequence[Tensor], rows: Tensor) -> Sequence[Tensor | None]:
    if len(rows) == 1:
        found = _single(scores, tensors, rows[0])
        return [None if gradient is None else gradient[None] for gradient in found]
    return torch.autograd.grad(
        scores, tensors, rows, retain_graph=True, allow_unused=True, is_grads_batched=True
    )


def _single(scores: Tensor, tensors: Sequence[Tensor], row: Tensor) -> Sequence[Tensor | None]:
    return torch.autograd.grad(scores, tensors, row, retain_graph=True, allow_unused=True)


def check_gradient(gradient: Tensor) -> Tensor:
    """Return a gradient; raise a ValueError if it has NaN or infinite values."""
    if not gradient.isfinite().all():
        raise ValueError(
            "The gradient of the score has NaN or infinite values, as of sqrt or log at 0, or of "
            "a division by 0. Choose another layer or target, or add a small constant there."
        )
    return gradient


_NO_GRADIENT = (
    "The score has no gradient at the target layer: it does not depend on that layer, or it was "
    "detached on the way (.detach(), .item(), .numpy(), argmax)."
)
