"""The gradient of the score at the feature map: what all CAM methods but the first share.

Shapes: n terms of a score, a feature map A of C channels and h x w cells. All tensors float32.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
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

# A method, of one target; and of several targets of one question.
MapMethod = Callable[[Model, Encoded, Target], Maps]
MapsOfEach = Callable[[Model, Encoded, Sequence[Target]], list[Maps]]


def by_gradient(cam: Cam) -> MapsOfEach:
    """Make a method of a function of feature map and gradient.

    All maps come from one backward pass, which ends at the feature map. The gradient of y^c is
    the sum of its terms'; what speaks against it is what speaks for -y^c (section 3.3).
    """

    def method(model: Model, encoded: Encoded, targets: Sequence[Target]) -> list[Maps]:
        scores = model.score_each(encoded, targets)
        of_terms = gradients(torch.cat([score.terms for score in scores]), encoded.activations)
        of_each = of_terms.split([len(score.terms) for score in scores])
        of_scores = (
            of_terms  # a label's only term is its score
            if len(of_terms) == len(targets)
            else torch.stack([terms.sum(0) for terms in of_each])
        )
        of_words = [
            terms[: len(target.words)] for terms, target in zip(of_each, targets, strict=True)
        ]
        evidence = cam(encoded.activations, of_scores)
        counterevidence = cam(encoded.activations, -of_scores)
        words = [  # a label has none
            cam(encoded.activations, rows) if len(rows) else rows[:, 0] for rows in of_words
        ]
        return [Maps(*each) for each in zip(scores, evidence, counterevidence, words, strict=True)]

    return method


def one_by_one(method: MapMethod) -> MapsOfEach:
    """Let a method take several targets, each as if it were the only one."""

    def each(model: Model, encoded: Encoded, targets: Sequence[Target]) -> list[Maps]:
        unread = replace(encoded, logits=None)  # their graph serves one backward pass only
        return [method(model, unread, target) for target in targets]

    return each


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
