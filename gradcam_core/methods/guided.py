"""Guided backpropagation, Deconvnet and Guided Grad-CAM: other rules for the gradient at a ReLU.

The paper's section 3.2. A rule changes the backward pass only: what the network computes stays the
same, bit for bit.
"""

from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gradcam_core.methods.gradients import check_gradient
from gradcam_core.methods.relus import ReLUFinder, unfollowed
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Head, Model, ResolvedTarget, Score

Rule = Literal["guided", "deconvnet"]

_RULE_NAMES: dict[Rule, str] = {"guided": "guided backpropagation", "deconvnet": "Deconvnet"}


class ReLURule(ReLUFinder):
    """Within this context, a ReLU or ReLU6 passes gradients back by `rule`.

    - "guided" (Springenberg et al. 2015): where the input was active and the gradient positive.
    - "deconvnet" (Zeiler and Fergus 2014): where the gradient is positive.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self._rule = rule

    def relu(self, values: Tensor, ceiling: float) -> Tensor:
        if self._rule == "deconvnet":
            out = NoMask.apply(values, ceiling)
        elif ceiling == float("inf"):
            out = F.relu(values)  # its own backward pass masks inactive inputs
        else:
            out = F.hardtanh(values, 0, ceiling)  # likewise
        if out.requires_grad:
            out.register_hook(_positive)
        return out


def _positive(gradient: Tensor) -> Tensor:
    return gradient.clamp(min=0)


class NoMask(torch.autograd.Function):
    """A clamp whose gradient passes everywhere."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, ceiling: float) -> Tensor:
        return values.clamp(0, ceiling)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def encode_guided(model: Model, image: Image.Image, layer: str, detail: float = 1.0) -> Encoded:
    """Run the CNN once over a picture, for both Grad-CAM and guided backpropagation.

    The rule leaves the network's values unchanged, so one pass serves both.

    Raises:
        ValueError: See `why_not_rule`, `check_input` and `Backbone.preprocess`.
    """
    check_guided(model)
    pixels, placement = model.backbone.preprocess(image, detail)
    check_input(model, pixels)
    with ReLURule("guided"):
        return model.backbone.encode_pixels(pixels.requires_grad_(), layer, placement)


def guided_backprop(head: Head, target: ResolvedTarget) -> Tensor:
    """Guided backpropagation: the gradient of y^c at the network's input, by the rule "guided".

    Springenberg et al., ICLR Workshops 2015 (arXiv 1412.6806). A picture from `encode_guided` needs
    no other forward pass.

    Returns:
        (3, H_in, W_in) float32, signed; one channel is repeated three times.

    Raises:
        ValueError: See `why_not_rule`, `check_input` and `check_followed`.
    """
    encoded, model = head.encoded, head.model
    if encoded.pixels.requires_grad:
        pixels, head_input = encoded.pixels, encoded.head_input
        with ReLURule("guided"):
            score = head.score(head_input, target)
    else:
        check_guided(model)
        check_input(model, encoded.pixels)
        pixels = encoded.pixels.detach().requires_grad_()
        with torch.enable_grad(), ReLURule("guided"):
            score = head.score(model.backbone.head_input(pixels), target)
    check_followed(model, "guided", score)
    (gradient,) = torch.autograd.grad(score.terms.sum(), pixels, retain_graph=True)
    return check_gradient(gradient)[0].expand(3, -1, -1)


def guided_grad_cam(gradient: Tensor, cam: Tensor) -> Tensor:
    """Guided Grad-CAM: guided backpropagation times Grad-CAM, element by element (section 3.2).

    Selvaraju et al., IJCV 2019 (arXiv 1610.02391).

    Args:
        gradient: (..., H, W), at the network's input.
        cam: (..., h, w) >= 0, enlarged bilinearly to (H, W).

    Returns:
        (..., H, W).
    """
    large = F.interpolate(cam[None, None].float(), size=gradient.shape[-2:], mode="bilinear")
    return gradient * large[0, 0]


def check_guided(model: Model) -> None:
    """Raise a ValueError where guided backpropagation is undefined; see `why_not_rule`."""
    reason = why_not_rule(model, "guided")
    if reason:
        raise ValueError(reason)


def check_input(model: Model, pixels: Tensor) -> None:
    """Raise a ValueError for an input that cannot be shown in colour or grey."""
    channels = pixels.shape[1]
    if channels not in (1, 3):
        raise ValueError(
            f"No guided backpropagation for {model.name}: it is shown for inputs of one or three "
            f"channels, and this network's input has {channels}."
        )


def check_followed(model: Model, rule: Rule, score: Score) -> None:
    """Raise a ValueError if the score may depend on a ReLU that `ReLURule` cannot change."""
    name = unfollowed(score.terms)
    if name is not None:
        raise ValueError(
            f"No {_RULE_NAMES[rule]} for {model.name}: it computes with '{name}', in which the "
            "gradient at a ReLU cannot be changed. Write the ReLU as nn.ReLU."
        )


def why_not_rule(model: Model, rule: Rule) -> str | None:
    """Return why a rule is undefined for a network; None where every non-linearity is a ReLU."""
    other = model.backbone.other_activation
    if not other:
        return None
    return (
        f"No {_RULE_NAMES[rule]} for {model.name}: its rule is defined for ReLU, "
        f"and this network uses {other}."
    )
