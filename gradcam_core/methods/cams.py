"""Class activation maps: a heat map from a feature map and the gradient of a score at it.

Every function takes A and the gradients dy/dA (n, C, h, w) of n scores, and returns (n, h, w) >= 0,
not normalized. A is (1, C, h, w) for n scores of one picture, or (n, C, h, w) for one score of each
of n pictures. Maps of volumes have three sides, d, h, w, instead of two. A map of zeros means that
nothing speaks for the score.

At the last layer of a network with global average pooling and one linear layer the gradient is
the same in every cell, and CAM, Grad-CAM, HiResCAM and XGrad-CAM are the same map up to a
constant.
"""

import torch
from torch import Tensor

from gradcam_core.methods.gradients import Maps, by_gradient
from gradcam_core.models.base import Head, ResolvedTarget


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM, Eq. 2: L = ReLU(sum_k alpha_k A^k).

    Selvaraju et al., IJCV 2019 (arXiv 1610.02391).
    """
    return weighted_map(activations, channel_weights(gradients))


def channel_weights(gradients: Tensor) -> Tensor:
    """Eq. 1 of Grad-CAM: the importance weights alpha_k = 1/Z sum_ij dy/dA^k_ij, (n, C)."""
    return gradients.flatten(2).mean(2)


def cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """CAM: L = ReLU(sum_k w_k A^k), where y = sum_k w_k mean_ij A^k_ij + b.

    Zhou et al., CVPR 2016 (arXiv 1512.04150). Only for such networks (see `class_activation`) are
    the weights w_k the sums of the gradient.
    """
    return weighted_map(activations, gradients.flatten(2).sum(2))


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++: Grad-CAM with the weights w_k = sum_ij a^k_ij ReLU(g^k_ij).

    a^k_ij = g^2 / (2 g^2 + (sum_ab A^k_ab) g^3), where g = dy/dA^k_ij > 0.
    Chattopadhay et al., WACV 2018 (arXiv 1710.11063), Eq. 19 for an exponential of the score. As
    in pytorch-grad-cam, 1e-6 is added to the denominator.
    """
    sums = activations.detach().flatten(2).sum(2, keepdim=True)
    positive = gradients.flatten(2).relu()
    square, cube = positive.square(), positive.pow(3)
    shares = square / (2 * square + sums * cube + 1e-6)
    return weighted_map(activations, (shares * positive).sum(2))


def xgrad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """XGrad-CAM: Grad-CAM with the weights w_k = sum_ij (A^k_ij / sum_ab A^k_ab) dy/dA^k_ij.

    Fu et al., BMVC 2020 (arXiv 2008.02312), Eq. 7. As in pytorch-grad-cam, 1e-7 is added to the
    denominator.
    """
    cells = activations.detach().flatten(2)
    shares = cells / (cells.sum(2, keepdim=True) + 1e-7)
    return weighted_map(activations, (shares * gradients.flatten(2)).sum(2))


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """HiResCAM: L_ij = ReLU(sum_k dy/dA^k_ij A^k_ij), the gradient not averaged.

    Draelos and Carin, 2020 (arXiv 2011.08891), Eq. 4.
    """
    return weighted_cells(activations, gradients)


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """LayerCAM: L_ij = ReLU(sum_k ReLU(dy/dA^k_ij) A^k_ij), one weight per cell.

    Jiang et al., TIP 2021 (doi 10.1109/TIP.2021.3089943), Eq. 4 to 6. Made for early layers too.
    """
    return weighted_cells(activations, gradients.relu())


def class_activation(head: Head, target: ResolvedTarget) -> Maps:
    """CAM, for networks that allow it; see `cam`.

    Raises:
        ValueError: The score is not a linear function of the averaged feature map.
    """
    (maps,) = by_gradient(cam)(head, [target])
    # If y is linear in A with the same weights in every cell, evenly spread maps with the same
    # means have the same score, and halving the maps halves the score (but for the bias).
    encoded, model = head.encoded, head.model
    even = encoded.activations.detach().mean(dim=(2, 3), keepdim=True)
    even = even.expand_as(encoded.activations)
    with torch.no_grad():
        full, half, zero = (
            head.score(
                model.backbone.from_layer(even * share, encoded.layer, encoded.pixels), target
            ).terms.sum()
            for share in (1.0, 0.5, 0.0)
        )
    score = maps.score.terms.detach().sum()
    scale = (score - zero).abs() + score.abs() + 1e-6
    if max((full - score).abs(), ((full + zero) / 2 - half).abs()) > 1e-3 * scale:
        raise ValueError(
            f"CAM needs a score that is a linear function of the averaged feature map; that of "
            f"{model.name} at {encoded.layer} is not. Grad-CAM has no such requirement."
        )
    return maps


def weighted_map(activations: Tensor, weights: Tensor) -> Tensor:
    """Return ReLU(sum_k w_k A^k), (n, h, w), for weights (n, C)."""
    cells, rows = activations.detach().flatten(2), weights[:, None]
    sums = _positive(rows @ cells, rows.abs() @ cells.abs())
    return sums.view(-1, *activations.shape[2:])


def weighted_cells(activations: Tensor, factors: Tensor) -> Tensor:
    """Return ReLU(sum_k f^k_ij A^k_ij), (n, h, w), for factors (n, C, h, w)."""
    products = factors * activations.detach()
    return _positive(products.sum(1), products.abs().sum(1))


def _positive(sums: Tensor, magnitudes: Tensor) -> Tensor:
    """Return the ReLU of sums, given the sums of their terms' magnitudes.

    Sums that are positive only by rounding count as zero, so that no later step can scale them up.
    Sums of NaN or infinite values are NaN.
    """
    positive = sums.where(sums > torch.finfo(sums.dtype).eps * magnitudes, 0.0)
    return positive.where(magnitudes.isfinite(), torch.nan)
