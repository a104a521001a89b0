"""Methods whose maps have one value per pixel of the network's input.

Unsigned maps are the largest magnitude over the colour channels, as Simonyan et al. draw it;
signed ones are the sum over the channels. Captions cost a backward pass through the CNN per word.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import AttributeOne, Maps, by_gradient, gradients
from gradcam_core.methods.guided import (
    ReLURule,
    Rule,
    check_followed,
    guided_grad_cam,
    why_not_rule,
)
from gradcam_core.models.base import Head, ResolvedTarget, Score

_NOISY_COPIES = 25  # of SmoothGrad; its paper finds little gain above 50
_NOISE = 0.15  # its standard deviation, as a share of the input's range
_STEPS = 64  # of the integral: on the embedded networks its error is then below a tenth
_SEED = 0


def gradient(head: Head, target: ResolvedTarget) -> Maps:
    """Gradient: L_ij = max_c |dy/dx_cij|, how much the score depends on a pixel.

    Simonyan et al., ICLR Workshops 2014 (arXiv 1312.6034), section 3.1. It has no sign, so the
    counterfactual is empty.
    """
    score, of_terms = _gradients(head, head.encoded.pixels, target)
    return _unsigned(score, of_terms, target)


def smooth_grad(head: Head, target: ResolvedTarget) -> Maps:
    """SmoothGrad: the mean gradient over 25 noisy copies of the picture, drawn as `gradient`.

    Smilkov et al., 2017 (arXiv 1706.03825). The noise is the same for every picture, scaled to 15 %
    of the range of the input's values.
    """
    pixels = head.encoded.pixels.detach()
    generator = torch.Generator().manual_seed(_SEED)
    spread = _NOISE * (pixels.max() - pixels.min()).item()
    noisy = (
        pixels + spread * torch.randn(pixels.shape, generator=generator).to(pixels)
        for _ in range(_NOISY_COPIES)
    )
    mean = _weighted_gradients(head, target, noisy, [1 / _NOISY_COPIES] * _NOISY_COPIES)
    return _unsigned(head.own_score(target), mean, target)


def integrated_gradients(head: Head, target: ResolvedTarget) -> Maps:
    """Integrated gradients: L_ij = ReLU(sum_c x_cij times the mean of dy/dx_cij from grey to x).

    Sundararajan et al., ICML 2017 (arXiv 1703.01365), Eq. 1, from the mean colour (0), by
    Gauss-Legendre quadrature with 64 points. Attribution minus counterfactual sums to the
    difference of the score from that of a grey picture.
    """
    pixels = head.encoded.pixels.detach()
    points, weights = np.polynomial.legendre.leggauss(_STEPS)
    path = (pixels * float((1 + point) / 2) for point in points)
    mean = _weighted_gradients(head, target, path, (weights / 2).tolist())
    signed = (mean * pixels).sum(1)
    total = signed.sum(0)
    words = signed[: len(target.words)]
    return Maps(head.own_score(target), total.relu(), (-total).relu(), words.relu())


def by_rule(rule: Rule) -> AttributeOne:
    """Make a method from a rule for the gradient at ReLUs: L_ij = max_c |dy/dx_cij| under it.

    See `ReLURule`. The counterfactual is the same for -y: the rules are not linear.
    """

    def attribute(head: Head, target: ResolvedTarget) -> Maps:
        score, found = _by_rule(head, target, rule)
        maps = _magnitude(found)
        return Maps(score, maps[0], maps[1], maps[2:])

    return attribute


def times_grad_cam(rule: Rule) -> AttributeOne:
    """Make a method from a rule's gradient times Grad-CAM: L_ij = max_c |dy/dx_cij| Grad-CAM_ij.

    See `guided_grad_cam`. The counterfactual and each word have their own gradient and Grad-CAM.
    """

    def attribute(head: Head, target: ResolvedTarget) -> Maps:
        score, found = _by_rule(head, target, rule)
        (coarse,) = by_gradient(grad_cam)(head, [target])
        cams = (coarse.attribution, coarse.counterfactual, *coarse.words)
        maps = [
            _magnitude(guided_grad_cam(gradient, cam))
            for gradient, cam in zip(found, cams, strict=True)
        ]
        words = torch.stack(maps[2:]) if target.words else maps[0].new_zeros(0, *maps[0].shape)
        return Maps(score, maps[0], maps[1], words)

    return attribute


def _by_rule(head: Head, target: ResolvedTarget, rule: Rule) -> tuple[Score, Tensor]:
    """Return the score, and the gradients of y, -y and each word's term, (n, C, H, W)."""
    reason = why_not_rule(head.model, rule)
    if reason:
        raise ValueError(reason)
    pixels = head.encoded.pixels.detach().requires_grad_()
    with torch.enable_grad(), ReLURule(rule):
        score = head.score(head.model.backbone.head_input(pixels), target)
        total = score.terms.sum()[None]
        words = score.terms[: len(target.words)]
        check_followed(head.model, rule, score)
        return score, gradients(torch.cat([total, -total, words]), pixels)


def _gradients(head: Head, pixels: Tensor, target: ResolvedTarget) -> tuple[Score, Tensor]:
    """Return the score and the gradient of each of its terms at the input, (n, C, H, W)."""
    pixels = pixels.detach().requires_grad_()
    with torch.enable_grad():
        score = head.score(head.model.backbone.head_input(pixels), target)
    return score, gradients(score.terms, pixels)


def _weighted_gradients(
    head: Head, target: ResolvedTarget, inputs: Iterable[Tensor], weights: list[float]
) -> Tensor:
    """Return the weighted sum of the gradients at several inputs, (n, C, H, W)."""
    total = torch.zeros(())
    with tqdm(total=len(weights), desc="network runs", leave=False, disable=None) as bar:
        for pixels, weight in zip(inputs, weights, strict=True):
            total = total.to(pixels) + weight * _gradients(head, pixels, target)[1]
            bar.update()
    return total


def _unsigned(score: Score, of_terms: Tensor, target: ResolvedTarget) -> Maps:
    attribution = _magnitude(of_terms.sum(0))
    words = _magnitude(of_terms[: len(target.words)])
    return Maps(score, attribution, torch.zeros_like(attribution), words)


def _magnitude(gradient: Tensor) -> Tensor:
    """Return the largest magnitude over the colour channels, (..., H, W)."""
    return gradient.abs().amax(-3)
