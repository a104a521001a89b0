"""The sum behind a class activation map, channel by channel."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gradcam_core.methods.cams import weighted_map
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.base import Head, ResolvedTarget

# The weight of each channel, (n, C), from feature maps and gradients (n, C, h, w).
Weights = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ChannelContributions:
    """What each channel adds to a map: the terms alpha_k A^k of L = ReLU(sum_k alpha_k A^k).

    How much a channel contributes is sum_ij |alpha_k A^k_ij|, whether it speaks for the target or
    against it. Channels are taken in that order, the strongest first.

    Attributes:
        target: The class, caption or answer.
        word: The word of the caption whose map it is; None for the whole target.
        weights: (C,) float32, alpha_k: for Grad-CAM Eq. 1, the mean of the gradient.
        activations: (C, h, w) float32, the feature map A, upright like the picture.

    Examples:
        >>> channels = channel_contributions(explain("cat.jpg", target="tabby"))
        >>> strongest = channels.order[0]
        >>> round(float(channels.weights[strongest]), 3)
        0.002
        >>> round(channels.share(10), 2)  # the 10 strongest of 1,280 channels
        0.22
        >>> channels.map(10).shape  # the map of these 10 alone
        (7, 7)
    """

    target: str
    word: str | None
    weights: np.ndarray
    activations: np.ndarray

    @cached_property
    def strengths(self) -> np.ndarray:
        """(C,) float64 >= 0: sum_ij |alpha_k A^k_ij| of each channel."""
        sizes = np.abs(self.activations).sum((1, 2), dtype=np.float64)
        return np.abs(self.weights.astype(np.float64)) * sizes

    @cached_property
    def order(self) -> np.ndarray:
        """(C,) int: the channels, that which contributes most first."""
        return np.argsort(-self.strengths, kind="stable")

    def share(self, count: int) -> float:
        """Return the share of the `count` strongest channels in all that is contributed.

        It is the sum of their `strengths` divided by that of all, in [0, 1]; 0 if nothing
        contributes.
        """
        total = float(self.strengths.sum())
        return float(self.strengths[self.order[:count]].sum()) / total if total else 0.0

    def sum(self, count: int | None = None) -> np.ndarray:
        """Return sum_k alpha_k A^k over the `count` strongest channels, (h, w) float32, signed.

        None stands for all channels. Below zero is what speaks against the target.
        """
        first = self.order[:count]
        found = np.tensordot(self.weights[first], self.activations[first], 1)
        return found.astype(np.float32, copy=False)

    def map(self, count: int | None = None) -> np.ndarray:
        """Return the map of the `count` strongest channels, the ReLU of `sum`: (h, w) float32.

        Of all channels it is `Explanation.raw`, or `Word.raw` of a word.
        """
        first = self.order[:count]
        activations = torch.from_numpy(self.activations[first])[None]
        return weighted_map(activations, torch.from_numpy(self.weights[first])[None])[0].numpy()


def channel_contributions(
    head: Head, target: ResolvedTarget, weights: Weights, word: int | None = None
) -> ChannelContributions:
    """Return what each channel contributes to the map of a target, or of a word of a caption.

    Args:
        head: The model looking at one picture.
        target: What is explained.
        weights: The method's weights, such as those of Eq. 1.
        word: Which of `target.words`; None for the whole target.

    Raises:
        ValueError: There is no such word; or see `gradients`.
    """
    if word is not None and not 0 <= word < len(target.words):
        raise ValueError(f"“{target.text}” has no word {word} with a map of its own.")
    encoded = head.encoded
    (score,) = head.scores([target])
    of_terms = gradients(score.terms, encoded.activations)
    gradient = of_terms.sum(0, keepdim=True) if word is None else of_terms[word : word + 1]
    alpha = weights(encoded.activations, gradient)
    cells = encoded.activations.detach()[0].permute(1, 2, 0).cpu().numpy()
    return ChannelContributions(
        target=target.text,
        word=None if word is None else target.words[word],
        weights=alpha[0].detach().cpu().numpy(),
        activations=np.ascontiguousarray(np.moveaxis(encoded.placement.upright(cells), 2, 0)),
    )
