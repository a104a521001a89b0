"""A model's own attention, to be compared with what the gradient says."""

import torch

from gradcam_core.methods.gradients import Maps
from gradcam_core.models.base import Head, ResolvedTarget


def own_attention(head: Head, target: ResolvedTarget) -> Maps:
    """The model's own attention over the cells of its last map, the same for every answer.

    It depends on the question alone, so the counterfactual is empty. Only for models whose class
    says `attends`.
    """
    attention = head.attention()
    return Maps(
        head.own_score(target),
        attention,
        torch.zeros_like(attention),
        attention.new_zeros(0, *attention.shape),
    )
