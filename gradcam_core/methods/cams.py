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
from tqdm import tqdm

from gradcam_core.methods.gradients import Batch, Maps
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
    return weighted_map(activations, grad_cam_plus_plus_weights(activations, gradients))


def grad_cam_plus_plus_weights(activations: Tensor, gradients: Tensor) -> Tensor:
    """The weights w_k of Grad-CAM++, (n, C); see `grad_cam_plus_plus`."""
    sums = activations.detach().flatten(2).sum(2, keepdim=True)
    positive = gradients.flatten(2).relu()
    square, cube = positive.square(), positive.pow(3)
    shares = square / (2 * square + sums * cube + 1e-6)
    return (shares * positive).sum(2)


def xgrad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """XGrad-CAM: Grad-CAM with the weights w_k = sum_ij (A^k_ij / sum_ab A^k_ab) dy/dA^k_ij.

    Fu et al., BMVC 2020 (arXiv 2008.02312), Eq. 7. As in pytorch-grad-cam, 1e-7 is added to the
    denominator.
    """
    return weighted_map(activations, xgrad_cam_weights(activations, gradients))


def xgrad_cam_weights(activations: Tensor, gradients: Tensor) -> Tensor:
    """The weights w_k of XGrad-CAM, (n, C); see `xgrad_cam`."""
    cells = activations.detach().flatten(2)
    shares = cells / (cells.sum(2, keepdim=True) + 1e-7)
    return (shares * gradients.flatten(2)).sum(2)


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


def eigen_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """EigenCAM: the first principal component of the cells, the same map for every target.

    Muhammad and Yeasin, IJCNN 2020 (arXiv 2008.00299). L = ReLU((A - mean of A's cells) v), v the
    first right singular vector. As in pytorch-grad-cam, the cells are centered. The sign of v is
    arbitrary: it is chosen so that strong activations are positive.
    """
    cells = activations.detach().flatten(2).transpose(1, 2)
    centered = cells - cells.mean(1, keepdim=True)
    _, _, components = torch.linalg.svd(centered, full_matrices=False)
    first = components[:, 0, :, None]
    projected = (centered @ first)[..., 0]
    upwards = (projected * cells.norm(dim=2)).sum(1, keepdim=True) >= 0
    maps = _positive(projected.where(upwards, -projected), (centered.abs() @ first.abs())[..., 0])
    sides = activations.shape[2:]
    return maps.view(-1, *sides).expand(len(gradients), *sides)


def eigen(head: Head, target: ResolvedTarget) -> Maps:
    """EigenCAM, see `eigen_cam`; the same for every target, so the counterfactual is empty."""
    activations = head.encoded.activations
    (found,) = eigen_cam(activations, activations)
    return Maps(
        head.own_score(target), found, torch.zeros_like(found), found.new_zeros(0, *found.shape)
    )


def ablation_cam(batch: Batch) -> Tensor:
    """AblationCAM: sum_k w_k A^k with the weights w_k = (y - y_k) / |y|, not yet rectified.

    y_k is the score with the channel k set to zero: one pass per channel, and no gradient. Desai
    and Ramaswamy, WACV 2020, Eq. 3 (which has y instead of |y|, and so the opposite sign for
    negative scores).
    """
    activations, scores = batch.activations.detach(), batch.scores.detach()
    weights = scores.new_zeros(len(activations), activations.shape[1])
    channels = range(activations.shape[1])
    for channel in tqdm(channels, desc="network runs", leave=False, disable=None):
        if activations[:, channel].any():
            ablated = activations.clone()
            ablated[:, channel] = 0
            weights[:, channel] = scores - batch.scores_at(ablated)
    weights = weights / scores.abs().clamp(min=1e-12)[:, None]
    return weighted_map(activations, weights) - weighted_map(activations, -weights)


def class_activation(batch: Batch) -> Tensor:
    """CAM as in `cam`, for networks that allow it, not yet rectified.

    Raises:
        ValueError: A score is not a linear function of the averaged feature map.
    """
    activations, gradients = batch.activations.detach(), batch.gradients
    # If y is linear in A with the same weights in every cell, evenly spread maps with the same
    # means have the same score, and halving the maps halves the score (but for the bias).
    even = (
        activations.flatten(2).mean(2).view(*activations.shape[:2], *[1] * activations[0, 0].ndim)
    )
    even = even.expand_as(activations)
    full, half, zero = (batch.scores_at(even * share) for share in (1.0, 0.5, 0.0))
    score = batch.scores.detach()
    scale = (score - zero).abs() + score.abs() + 1e-6
    off = torch.maximum((full - score).abs(), ((full + zero) / 2 - half).abs())
    if (off > 1e-3 * scale).any():
        raise ValueError(
            "CAM needs a score that is a linear function of the averaged feature map; that of this "
            "network at this layer is not. Grad-CAM has no such requirement."
        )
    return cam(activations, gradients) - cam(activations, -gradients)


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
