"""Class activation maps: a heat map from a feature map and the gradient of a score at it.

Every function takes A (1, C, h, w) and the gradients dy/dA (n, C, h, w) of n scores, and returns
(n, h, w) >= 0, not normalised. A map of zeros means that nothing speaks for the score.

At the last layer of a network with global average pooling and one linear layer the gradient is
the same in every cell, and CAM, Grad-CAM, HiResCAM and XGrad-CAM are the same map up to a
constant.
"""

from dataclasses import replace

import torch
from torch import Tensor

from gradcam_core.methods.gradients import Maps, by_gradient
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Target


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM, Eq. 2: L = ReLU(sum_k alpha_k A^k).

    Selvaraju et al., IJCV 2019 (arXiv 1610.02391).
    """
    return weighted_map(activations, channel_weights(gradients))


def channel_weights(gradients: Tensor) -> Tensor:
    """Eq. 1 of Grad-CAM: the importance weights alpha_k = 1/Z sum_ij dy/dA^k_ij, (n, C)."""
    return gradients.mean(dim=(2, 3))


def cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """CAM: L = ReLU(sum_k w_k A^k), where y = sum_k w_k mean_ij A^k_ij + b.

    Zhou et al., CVPR 2016 (arXiv 1512.04150). Of such a network, and only of such a one (see
    `class_activation`), the weights w_k are the sums of the gradient.
    """
    return weighted_map(activations, gradients.sum(dim=(2, 3)))


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++: Grad-CAM with w_k = sum_ij a^k_ij ReLU(g^k_ij) for weights.

    a^k_ij = g^2 / (2 g^2 + (sum_ab A^k_ab) g^3), where g = dy/dA^k_ij > 0.
    Chattopadhay et al., WACV 2018 (arXiv 1710.11063), Eq. 19 for an exponential of the score. As
    in pytorch-grad-cam, 1e-6 is added to the denominator.
    """
    sums = activations.detach().sum(dim=(2, 3), keepdim=True)
    positive = gradients.relu()
    square, cube = positive.square(), positive.pow(3)
    shares = square / (2 * square + sums * cube + 1e-6)
    return weighted_map(activations, (shares * positive).sum(dim=(2, 3)))


def xgrad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """XGrad-CAM: Grad-CAM with w_k = sum_ij (A^k_ij / sum_ab A^k_ab) dy/dA^k_ij for weights.

    Fu et al., BMVC 2020 (arXiv 2008.02312), Eq. 7. As in pytorch-grad-cam, 1e-7 is added to the
    denominator.
    """
    activations = activations.detach()
    shares = activations / (activations.sum(dim=(2, 3), keepdim=True) + 1e-7)
    return weighted_map(activations, (shares * gradients).sum(dim=(2, 3)))


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """HiResCAM: L_ij = ReLU(sum_k dy/dA^k_ij A^k_ij), the gradient not averaged.

    Draelos and Carin, 2020 (arXiv 2011.08891), Eq. 4.
    """
    return weighted_cells(activations, gradients)


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """LayerCAM: L_ij = ReLU(sum_k ReLU(dy/dA^k_ij) A^k_ij), a weight of its own for each cell.

    Jiang et al., TIP 2021 (doi 10.1109/TIP.2021.3089943), Eq. 4 to 6. Made for early layers too.
    """
    return weighted_cells(activations, gradients.relu())


def class_activation(model: Model, encoded: Encoded, target: Target) -> Maps:
    """CAM, for networks that allow it; see `cam`.

    Raises:
        ValueError: The score is not a linear function of the averaged feature map.
    """
    (maps,) = by_gradient(cam)(model, encoded, [target])
    # Linear in A with the same weights in every cell: then evenly spread maps with the same means
    # have the same score, and so have maps half as strong half of it (but for the bias).
    even = encoded.activations.detach().mean(dim=(2, 3), keepdim=True)
    even = even.expand_as(encoded.activations)
    with torch.no_grad():
        there, halfway, nowhere = (
            model.score_terms(replace(encoded, activations=even * share), target).terms.sum()
            for share in (1.0, 0.5, 0.0)
        )
    score = maps.score.terms.detach().sum()
    scale = (score - nowhere).abs() + score.abs() + 1e-6
    if max((there - score).abs(), ((there + nowhere) / 2 - halfway).abs()) > 1e-3 * scale:
        raise ValueError(
            f"CAM needs a score that is a linear function of the averaged feature map; that of "
            f"{model.name} at {encoded.layer} is not. Grad-CAM asks for nothing of the kind."
        )
    return maps


def weighted_map(activations: Tensor, weights: Tensor) -> Tensor:
    """Return ReLU(sum_k w_k A^k), (n, h, w), for weights (n, C)."""
    maps = activations.detach()[0]
    flat = maps.flatten(1)
    return _positive(weights @ flat, weights.abs() @ flat.abs()).view(-1, *maps.shape[1:])


def weighted_cells(activations: Tensor, factors: Tensor) -> Tensor:
    """Return ReLU(sum_k f^k_ij A^k_ij), (n, h, w), for factors (n, C, h, w)."""
    products = factors * activations.detach()
    return _positive(products.sum(1), products.abs().sum(1))


def _positive(sums: Tensor, magnitudes: Tensor) -> Tensor:
    """Return ReLU of sums, given the sums of their terms' magnitudes.

    What is positive only by rounding counts as zero, so that nothing downstream can blow it up
    into a picture.
    """
    return sums.where(sums > torch.finfo(sums.dtype).eps * magnitudes, 0.0)
