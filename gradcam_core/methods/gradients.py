"""The gradient of the score at the feature map, which most CAM methods share.

Shapes: n terms of a score, a feature map A of C channels and h x w cells. All tensors float32.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

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


# Tensors, or where they are in autograd's graph, if they may have been overwritten.
Tensors = Sequence[Tensor] | Sequence[GradientEdge]

# Heat maps (n, h, w) >= 0, from the gradients (n, C, h, w) of n scores at one feature map
# (1, C, h, w), or from those of n pictures at their maps (n, C, h, w). Volumes have three sides.
Cam = Callable[[Tensor, Tensor], Tensor]

# The maps of several targets; and those of one.
Attribute = Callable[[Head, Sequence[ResolvedTarget]], list[Maps]]
AttributeOne = Callable[[Head, ResolvedTarget], Maps]


class Batch(ABC):
    """Inputs of a network with a target each, seen at one layer.

    Attributes:
        inputs: (n, C, H, W).
        activations: A, (n, C, h, w).
        scores: (n,), of the targets.
    """

    inputs: Tensor
    activations: Tensor
    scores: Tensor

    @property
    @abstractmethod
    def gradients(self) -> Tensor:
        """The gradients of the scores at A, (n, C, h, w)."""

    @abstractmethod
    def scores_at(self, activations: Tensor) -> Tensor:
        """Return the scores (n,) for other maps A, without a graph."""

    @abstractmethod
    def scores_of(self, inputs: Tensor) -> Tensor:
        """Return the scores (n,) of other inputs, differentiable in them."""


class OnePicture(Batch):
    """A batch of one picture, from the head that looks at it."""

    def __init__(self, head: Head, target: ResolvedTarget) -> None:
        (self.score,) = head.scores([target])
        self.inputs = head.encoded.pixels.detach()
        self.activations = head.encoded.activations
        self.scores = self.score.terms.sum()[None]
        self._head = head
        self._target = target

    @property
    def gradients(self) -> Tensor:
        return gradients(self.scores, self.activations)

    def scores_at(self, activations: Tensor) -> Tensor:
        encoded, backbone = self._head.encoded, self._head.model.backbone
        with torch.no_grad():
            changed = backbone.from_layer(activations, encoded.layer, encoded.pixels)
            return self._head.score(changed, self._target).terms.sum()[None]

    def scores_of(self, inputs: Tensor) -> Tensor:
        head_input = self._head.model.backbone.head_input(inputs)
        return self._head.score(head_input, self._target).terms.sum()[None]


# Signed maps (n, h, w) of a batch: above zero for the target, below zero against it.
OfBatch = Callable[[Batch], Tensor]


def by_batch(of_batch: OfBatch) -> Attribute:
    """Make a method from a function of a batch; a caption's words have no maps of their own."""

    def attribute_one(head: Head, target: ResolvedTarget) -> Maps:
        batch = OnePicture(head, target)
        (signed,) = of_batch(batch)
        words = signed.new_zeros(0, *signed.shape)
        return Maps(batch.score, signed.relu(), (-signed).relu(), words)

    return per_target(attribute_one)


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


def gradients_at(scores: Tensor, tensors: Tensors) -> list[Tensor]:
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


def _batched(scores: Tensor, tensors: Tensors, rows: Tensor) -> Sequence[Tensor | None]:
    if len(rows) == 1:
        found = _single(scores, tensors, rows[0])
        return [None if gradient is None else gradient[None] for gradient in found]
    return torch.autograd.grad(
        scores, tensors, rows, retain_graph=True, allow_unused=True, is_grads_batched=True
    )


def _single(scores: Tensor, tensors: Tensors, row: Tensor) -> Sequence[Tensor | None]:
    return torch.autograd.grad(scores, tensors, row, retain_graph=True, allow_unused=True)


def is_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite; ten times faster than `values.isfinite().all()`."""
    if not values.numel():
        return True
    lowest, highest = values.detach().aminmax()  # of NaN if there is one
    return math.isfinite(lowest) and math.isfinite(highest)


def check_gradient(gradient: Tensor) -> Tensor:
    """Return a gradient; raise a ValueError if it has NaN or infinite values."""
    if not is_finite(gradient):
        raise ValueError(
            "The gradient of the score has NaN or infinite values, as of sqrt or log at 0, or of "
            "a division by 0. Choose another layer or target, or add a small constant there."
        )
    return gradient


_NO_GRADIENT = (
    "The score has no gradient at the target layer: it does not depend on that layer, or it was "
    "detached on the way (.detach(), .item(), .numpy(), argmax)."
)
