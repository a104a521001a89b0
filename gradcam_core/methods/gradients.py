"""The gradient of the score at the feature map: what all CAM methods but the first share.

Shapes: n terms of a score, a feature map A of C channels and h x w cells. All tensors float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Score, Target


class Maps(NamedTuple):
    """What a method says of a target.

    Attributes:
        score: Of the target.
        evidence: (h, w) float32 >= 0, what speaks for it; not normalised.
        counterevidence: (h, w) float32 >= 0, what speaks against it (section 3.3).
        words: (n, h, w) float32 >= 0, what speaks for each word; n is 0 but for captions.
    """

    score: Score
    evidence: Tensor
    counterevidence: Tensor
    words: Tensor


# A heat map from a feature map (1, C, h, w) and the gradients (n, C, h, w) of n scores at it:
# (n, h, w) >= 0, one for each score.
Cam = Callable[[Tensor, Tensor], Tensor]

MapMethod = Callable[[Model, Encoded, Target], Maps]


def by_gradient(cam: Cam) -> MapMethod:
    """Make a method of a function of feature map and gradient.

    All maps come from one backward pass, which ends at the feature map. The gradient of y^c is
    the sum of its terms'; what speaks against it is what speaks for -y^c (section 3.3).
    """

    def method(model: Model, encoded: Encoded, target: Target) -> Maps:
        score = model.score_terms(encoded, target)
        of_terms = gradients(score.terms, encoded.activations)
        of_score = of_terms.sum(0, keepdim=True)
        of_words = of_terms[: len(target.words)]
        maps = cam(encoded.activations, torch.cat([of_score, -of_score, of_words]))
        return Maps(score, maps[0], maps[1], maps[2:])

    return method


def gradients(scores: Tensor, activations: Tensor) -> Tensor:
    """Return dy/dA of each score, in one backward pass that ends at the feature map.

    Args:
        scores: (n,), each computed from `activations`.
        activations: A, (1, C, h, w), requiring grad.

    Returns:
        (n, C, h, w). The graph of `scores` is freed.

    Raises:
        ValueError: The scores do not depend on `activations`.
    """
    if not scores.requires_grad:
        raise ValueError(_NO_GRADIENT)
    if len(scores) == 1:
        (gradient,) = torch.autograd.grad(scores[0], activations, allow_unused=True)
        if gradient is None:
            raise ValueError(_NO_GRADIENT)
        return gradient
    each = torch.eye(len(scores), device=scores.device)
    (stacked,) = torch.autograd.grad(scores, activations, each, is_grads_batched=True)
    return stacked[:, 0]


_NO_GRADIENT = (
    "The score has no gradient at the target layer: nothing of that layer goes into it, "
    "or it was detached on the way (.detach(), .item(), .numpy(), argmax)."
)
