"""Guided backpropagation in colours, and Guided Grad-CAM: the paper's section 3.2."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from gradcam_core.methods.relu_rules import ReLURule, Rule
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Target


def encode_guided(model: Model, image: Image.Image, layer: str | nn.Module | None) -> Encoded:
    """Run the CNN once over a picture, for both Grad-CAM and guided backpropagation.

    The rule leaves the network's values as they are, so one pass serves both.

    Raises:
        ValueError: See `backpropagate`; or there is no such layer.
    """
    check_rule(model, "guided")
    name = model.backbone.layer_named(layer)
    pixels, box = model.backbone.pixels(image)
    with ReLURule("guided"):
        return model.backbone.encode_pixels(pixels.requires_grad_(), name, box)


def backpropagate(model: Model, encoded: Encoded, target: Target, rule: Rule) -> torch.Tensor:
    """Return the gradient of y^c at the network's input, with `rule` at every ReLU.

    A picture from `encode_guided` has been through the CNN by the rule "guided" already.

    Returns:
        (H_in, W_in, 3) float32, signed; three times the same where the input has one channel.

    Raises:
        ValueError: The network has other non-linearities, for which there is no such rule, or
            its input is no picture in colour or grey.
    """
    check_rule(model, rule)
    channels = encoded.pixels.shape[1]
    if channels not in (1, 3):
        raise ValueError(
            f"No guided backpropagation for {model.name}: it can be shown for one channel or "
            f"three, and the network's input has {channels}."
        )
    traced = rule == "guided" and encoded.pixels.requires_grad
    pixels = encoded.pixels if traced else encoded.pixels.detach().requires_grad_()
    with ReLURule(rule):
        features = encoded.features if traced else model.backbone.features(pixels)
        score = model.score_features(features, target).terms.sum()
    (gradient,) = torch.autograd.grad(score, pixels)
    return gradient[0].expand(3, -1, -1).permute(1, 2, 0)


def guided_grad_cam(guided_backprop: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Return Guided Grad-CAM: the product of the two, element by element (section 3.2).

    Args:
        guided_backprop: (h, w, 3) float32, signed.
        heatmap: (h, w) float32 in [0, 1], of the same size.
    """
    return guided_backprop * heatmap[:, :, None]


def check_rule(model: Model, rule: Rule) -> None:
    """See that a network's non-linearities are those that the rules are for.

    Raises:
        ValueError: They are others.
    """
    if model.backbone.other_activation:
        raise ValueError(why_not(model, rule))


def why_not(model: Model, rule: Rule = "guided") -> str:
    """Say why a rule is not offered for a network that is not all ReLU."""
    name = {"guided": "guided backpropagation", "deconvnet": "Deconvnet"}[rule]
    return (
        f"No {name} for {model.name}: its rule is defined for ReLU, "
        f"and this network uses {model.backbone.other_activation}."
    )
