"""Why this, and not what is most like it: the gradient of a difference of scores."""

import torch

from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import Maps, gradients
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import LabelModel, Model, Target

_RIVALS = 3


def finer_cam(model: Model, encoded: Encoded, target: Target) -> Maps:
    """FinerCAM: Grad-CAM of sum_d w_d (y^c - y^d) / sum_d w_d instead of y^c.

    Zhang et al., CVPR 2025 (arXiv 2501.11309). The d are the three labels whose scores are nearest
    to y^c, w_d their probabilities. What all of them share is no evidence any more: what is left
    tells the target from its rivals. The score that is told is y^c all the same.

    Raises:
        ValueError: The target is no label, which alone has rivals; or there is only one label.
    """
    if not isinstance(model, LabelModel) or len(target.ids) != 1:
        raise ValueError(
            "FinerCAM tells a class or an answer from those most like it; captions and functions "
            "of the output have none."
        )
    if len(model.labels) < 2:
        raise ValueError(f"{model.name} has one label only: there is nothing to tell it from.")
    features = model.features(encoded)
    logits = model.logits(features, target.question)
    own = logits[target.ids[0]]
    nearest = (logits - own).detach().abs().argsort()
    rivals = nearest[nearest != target.ids[0]][:_RIVALS]
    weights = logits.softmax(0)[rivals]
    difference = (weights * (own - logits[rivals])).sum() / (weights.sum() + 1e-9)
    gradient = gradients(difference[None], encoded.activations)
    with torch.no_grad():
        score = model.score_features(features, target)
    activations = encoded.activations
    return Maps(
        score,
        grad_cam(activations, gradient)[0],
        grad_cam(activations, -gradient)[0],
        gradient.new_zeros(0, *activations.shape[2:]),
    )
