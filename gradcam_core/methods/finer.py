"""FinerCAM: what tells a label from the most similar ones."""

import torch

from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import Maps, gradients
from gradcam_core.models.base import Head, LabelHead, ResolvedTarget

_RIVALS = 3


def finer_cam(head: Head, target: ResolvedTarget) -> Maps:
    """FinerCAM: Grad-CAM of sum_d w_d (y^c - y^d) / sum_d w_d instead of y^c.

    Zhang et al., CVPR 2025 (arXiv 2501.11309). The d are the three labels whose scores are nearest
    to y^c, and w_d their probabilities. What the labels share cancels out; what tells the target
    from its rivals remains. The score reported is y^c.

    Raises:
        ValueError: The target is not a label, or there is only one label.
    """
    if not isinstance(head, LabelHead) or target.function is not None:
        raise ValueError(
            "FinerCAM compares a class or an answer with similar ones; captions and functions of "
            "the output have none."
        )
    if len(head.model.labels) < 2:
        raise ValueError(f"{head.model.name} has only one label: there is nothing to compare.")
    activations = head.encoded.activations
    with torch.enable_grad():
        logits = head.graph
        own = logits[target.ids[0]]
        nearest = (logits - own).detach().abs().argsort()
        rivals = nearest[nearest != target.ids[0]][:_RIVALS]
        weights = logits.softmax(0)[rivals]
        difference = (weights * (own - logits[rivals])).sum() / (weights.sum() + 1e-9)
    gradient = gradients(difference[None], activations)
    return Maps(
        head.own_score(target),
        grad_cam(activations, gradient)[0],
        grad_cam(activations, -gradient)[0],
        gradient.new_zeros(0, *activations.shape[2:]),
    )
