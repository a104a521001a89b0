"""Where a network attends by itself, to be laid beside what the gradient says."""

import torch

from gradcam_core.methods.gradients import Maps
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Target
from gradcam_core.models.embedded.coattention import VqaCoattention


def own_attention(model: Model, encoded: Encoded, target: Target) -> Maps:
    """The network's own attention to the cells of its last map, whatever the answer.

    It is that of the question alone: nothing speaks against an answer in it.

    Raises:
        ValueError: The network has none.
    """
    if not isinstance(model, VqaCoattention) or target.question is None:
        raise ValueError(
            f"{model.name} has no attention of its own to show; lite0-vqa-coattention has."
        )
    with torch.no_grad():
        score = model.score_terms(encoded, target)
    attended = model.attention(encoded, target.question)
    return Maps(
        score,
        attended,
        torch.zeros_like(attended),
        attended.new_zeros(0, *attended.shape),
    )
