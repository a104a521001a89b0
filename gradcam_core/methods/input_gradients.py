"""Methods whose maps have a value for each pixel of the network's input.

What has no sign is the largest magnitude over the colours, as Simonyan et al. draw it; what has
one is the sum over the colours. Captions cost a backward pass through the CNN for each word.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import MapMethod, Maps, by_gradient, gradients
from gradcam_core.methods.pixels import check_rule
from gradcam_core.methods.relu_rules import ReLURule, Rule
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Score, Target

_DRAWS = 25  # of SmoothGrad; its paper finds little gain above 50
_NOISE = 0.15  # its spread, as a share of the input's range
_STEPS = 64  # of the integral: on the embedded networks it then adds up to within a tenth
_SEED = 0


def gradient(model: Model, encoded: Encoded, target: Target) -> Maps:
    """Gradient: L_ij = max_c |dy/dx_cij|, how much the score hangs on a pixel, either way.

    Simonyan et al., ICLR Workshops 2014 (arXiv 1312.6034), section 3.1. It has no sign, so
    nothing is said of what speaks against the target: the counterfactual is empty.
    """
    score, of_terms = _gradients(model, encoded.pixels, target)
    return _without_sign(score, of_terms, target)


def smooth_grad(model: Model, encoded: Encoded, target: Target) -> Maps:
    """SmoothGrad: the gradient's mean over 25 noisy copies of the picture, then as `gradient`.

    Smilkov et al., 2017 (arXiv 1706.03825). The noise is the same for every picture, but for its
    spread: 15 % of the range of the input's values.
    """
    pixels = encoded.pixels.detach()
    draw = torch.Generator().manual_seed(_SEED)
    spread = _NOISE * (pixels.max() - pixels.min()).item()
    noisy = (
        pixels + spread * torch.randn(pixels.shape, generator=draw).to(pixels)
        for _ in range(_DRAWS)
    )
    mean = _weighted_gradients(model, target, noisy, [1 / _DRAWS] * _DRAWS)
    return _without_sign(_score(model, encoded, target), mean, target)


def integrated_gradients(model: Model, encoded: Encoded, target: Target) -> Maps:
    """Integrated gradients: L_ij = ReLU(sum_c x_cij times the mean of dy/dx_cij from grey to x).

    Sundararajan et al., ICML 2017 (arXiv 1703.01365), Eq. 1, from the mean colour (0), by
    Gauss-Legendre quadrature with 64 points. Evidence less counterevidence adds up to what the
    score is above that of a grey picture.
    """
    pixels = encoded.pixels.detach()
    points, weights = np.polynomial.legendre.leggauss(_STEPS)
    on_the_way = (pixels * float((1 + point) / 2) for point in points)
    mean = _weighted_gradients(model, target, on_the_way, (weights / 2).tolist())
    signed = (mean * pixels).sum(1)
    total = signed.sum(0)
    words = signed[: len(target.words)]
    return Maps(_score(model, encoded, target), total.relu(), (-total).relu(), words.relu())


def by_rule(rule: Rule) -> MapMethod:
    """Make a method of a rule for the gradient at the ReLUs: L_ij = max_c |dy/dx_cij| by it.

    See `ReLURule`. What speaks against the target is the same of -y: the rules are not linear.
    """

    def method(model: Model, encoded: Encoded, target: Target) -> Maps:
        check_rule(model, rule)
        pixels = encoded.pixels.detach().requires_grad_()
        with ReLURule(rule):
            score = model.score_features(model.backbone.features(pixels), target)
            total = score.terms.sum()[None]
            words = score.terms[: len(target.words)]
            found = _magnitude(gradients(torch.cat([total, -total, words]), pixels))
        return Maps(score, found[0], found[1], found[2:])

    return method


def times_grad_cam(method: MapMethod) -> MapMethod:
    """Multiply a method's maps with Grad-CAM's, enlarged: Guided Grad-CAM, Deconv Grad-CAM.

    Selvaraju et al., IJCV 2019 (arXiv 1610.02391), section 3.2.
    """

    def product(model: Model, encoded: Encoded, target: Target) -> Maps:
        fine = method(model, encoded, target)
        (coarse,) = by_gradient(grad_cam)(model, encoded, [target])
        height, width = fine.evidence.shape

        def multiplied(one: Tensor, other: Tensor) -> Tensor:
            size = (height, width)
            return one * F.interpolate(other[None], size=size, mode="bilinear")[0]

        evidence, counterevidence = multiplied(
            torch.stack([fine.evidence, fine.counterevidence]),
            torch.stack([coarse.evidence, coarse.counterevidence]),
        )
        words = multiplied(fine.words, coarse.words) if target.words else fine.words
        return Maps(fine.score, evidence, counterevidence, words)

    return product


def _gradients(model: Model, pixels: Tensor, target: Target) -> tuple[Score, Tensor]:
    """Return the score and the gradient of each of its terms at the input, (n, C, H, W)."""
    pixels = pixels.detach().requires_grad_()
    score = model.score_features(model.backbone.features(pixels), target)
    return score, gradients(score.terms, pixels)


def _weighted_gradients(
    model: Model, target: Target, inputs: Iterable[Tensor], weights: list[float]
) -> Tensor:
    """Return the weighted sum of the gradients at several inputs, (n, C, H, W)."""
    total = torch.zeros(())
    with tqdm(total=len(weights), desc="asking again", leave=False, disable=None) as bar:
        for pixels, weight in zip(inputs, weights, strict=True):
            total = total.to(pixels) + weight * _gradients(model, pixels, target)[1]
            bar.update()
    return total


def _without_sign(score: Score, of_terms: Tensor, target: Target) -> Maps:
    evidence = _magnitude(of_terms.sum(0))
    words = _magnitude(of_terms[: len(target.words)])
    return Maps(score, evidence, torch.zeros_like(evidence), words)


def _magnitude(gradient: Tensor) -> Tensor:
    """Return the largest magnitude over the colours, (..., H, W)."""
    return gradient.abs().amax(-3)


def _score(model: Model, encoded: Encoded, target: Target) -> Score:
    with torch.no_grad():
        return model.score_terms(encoded, target)
