"""Heat maps from the scores of changed pictures: no gradient, many forward passes.

They cost hundreds of passes where a CAM costs one backward pass from the map; tqdm shows progress.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from gradcam_core.methods.gradients import AttributeOne, Maps
from gradcam_core.models.backbone import Encoded, batch_size
from gradcam_core.models.base import Head, ResolvedTarget, Score

_MAX_CELLS = 14  # per side, of the maps by occlusion and random masks
_MASKS = 600  # drawn by RISE; the paper's 4,000 to 8,000 take minutes on a CPU
_MASK_CELLS = 7  # per side of RISE's masks, as in its paper
_VISIBLE = 0.5  # share of a mask's cells that is visible

# Batches of changed inputs (n, 3, H_in, W_in), and the number of inputs in all of them.
Inputs = tuple[Iterable[Tensor], int]


def score_inputs(head: Head, target: ResolvedTarget, inputs: Inputs) -> list[Score]:
    """Return the target's score for each of many inputs of the network.

    Args:
        head: Of any picture; its question goes with every input.
        target: What is scored.
        inputs: Batches (n, 3, H_in, W_in) and the total number of inputs.
    """
    batches, total = inputs
    scores: list[Score] = []
    with torch.no_grad(), tqdm(total=total, desc="network runs", leave=False, disable=None) as bar:
        for batch in batches:
            rows = head.model.backbone.head_inputs(batch)
            scores += [head.score(row, target) for row in rows]
            bar.update(len(batch))
    return scores


def masked(pixels: Tensor, masks: Tensor) -> Inputs:
    """Return pixels (1, 3, H, W) under masks (n, H, W) in [0, 1]; 0 is the mean colour."""
    batches = (pixels * batch[:, None].to(pixels) for batch in masks.split(batch_size()))
    return batches, len(masks)


def _terms(head: Head, target: ResolvedTarget, inputs: Inputs) -> Tensor:
    """Return the terms of the scores of many inputs, (n, terms) float32."""
    return torch.stack([score.terms.cpu() for score in score_inputs(head, target, inputs)])


def _from_signed(signed_maps: Callable[[Head, ResolvedTarget], Tensor]) -> AttributeOne:
    """Make a method from a function that returns signed maps (terms, h, w)."""

    def attribute(head: Head, target: ResolvedTarget) -> Maps:
        signed = signed_maps(head, target)
        total = signed.sum(0)
        words = signed[: len(target.words)]
        return Maps(head.own_score(target), total.relu(), (-total).relu(), words.relu())

    return attribute


def grid_size(encoded: Encoded) -> tuple[int, int]:
    """Return rows and columns of the maps made here: the feature map's, at most 14."""
    height, width = encoded.activations.shape[2:]
    return min(height, _MAX_CELLS), min(width, _MAX_CELLS)


def _input_size(encoded: Encoded) -> tuple[int, int]:
    height, width = encoded.pixels.shape[2:]
    return height, width


def occlusion_masks(size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Return masks (rows * columns, H, W) that hide the square around each cell of a grid.

    A square is two cells wide, so neighbours overlap by half.
    """
    (height, width), (rows, columns) = size, grid
    masks = torch.ones(rows * columns, height, width)
    for index, mask in enumerate(masks):
        row, column = divmod(index, columns)
        top, bottom = (round((row + at) * height / rows) for at in (-0.5, 1.5))
        left, right = (round((column + at) * width / columns) for at in (-0.5, 1.5))
        mask[max(top, 0) : bottom, max(left, 0) : right] = 0
    return masks


def _occlusion(head: Head, target: ResolvedTarget) -> Tensor:
    pixels, grid = head.encoded.pixels, grid_size(head.encoded)
    masks = occlusion_masks(_input_size(head.encoded), grid)
    whole = _terms(head, target, ([pixels], 1))
    occluded = _terms(head, target, masked(pixels, masks))
    return (whole - occluded).t().reshape(-1, *grid)


occlusion = _from_signed(_occlusion)
"""Occlusion: how much the score drops when a square around each cell is grey.

Zeiler and Fergus, ECCV 2014 (arXiv 1311.2901), section 4; the paper's section 5.3 compares
Grad-CAM with it. A square is two cells wide. A negative drop speaks against the target and is part
of the counterfactual.
"""


def score_cam(head: Head, target: ResolvedTarget) -> Maps:
    """Score-CAM: L = ReLU(sum_k w_k A^k), w the softmax over k of the score under the mask A^k.

    Wang et al., CVPR Workshops 2020 (arXiv 1910.01279). Masks are the channels, enlarged bilinearly
    and scaled to [0, 1]; a constant channel hides everything. It takes one pass per channel. The
    counterfactual uses the softmax of the negated scores.
    """
    encoded = head.encoded
    maps = encoded.activations.detach()[0]
    size = _input_size(encoded)

    def batches() -> Iterator[Tensor]:
        for channels in maps.split(batch_size()):
            # Aligned corners, as in pytorch-grad-cam.
            large = F.interpolate(
                channels[:, None], size=size, mode="bilinear", align_corners=True
            )[:, 0]
            low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
            yield encoded.pixels * ((large - low) / (high - low + 1e-8))[:, None]

    terms = _terms(head, target, (batches(), len(maps)))

    def weighted(scores: Tensor) -> Tensor:
        return torch.einsum("k,kij->ij", scores.softmax(0).to(maps), maps).relu()

    words = [weighted(terms[:, i]) for i in range(len(target.words))]
    return Maps(
        head.own_score(target),
        weighted(terms.sum(1)),
        weighted(-terms.sum(1)),
        torch.stack(words) if words else maps.new_zeros(0, *maps.shape[1:]),
    )


def random_masks(size: tuple[int, int], count: int, seed: int = 0) -> Tensor:
    """Draw RISE's masks, (count, H, W) in [0, 1]: coarse random grids, enlarged and shifted.

    The same seed gives the same masks.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    cell_height, cell_width = -(-height // _MASK_CELLS), -(-width // _MASK_CELLS)  # rounded up
    coarse = torch.rand(count, 1, _MASK_CELLS, _MASK_CELLS, generator=generator) < _VISIBLE
    large = F.interpolate(
        coarse.float(),
        size=((_MASK_CELLS + 1) * cell_height, (_MASK_CELLS + 1) * cell_width),
        mode="bilinear",
    )[:, 0]
    tops = torch.randint(cell_height, (count,), generator=generator).tolist()
    lefts = torch.randint(cell_width, (count,), generator=generator).tolist()
    return torch.stack(
        [
            mask[top : top + height, left : left + width]
            for mask, top, left in zip(large, tops, lefts, strict=True)
        ]
    )


def _rise(head: Head, target: ResolvedTarget) -> Tensor:
    masks = random_masks(_input_size(head.encoded), _MASKS)
    terms = _terms(head, target, masked(head.encoded.pixels, masks))
    visible = F.adaptive_avg_pool2d(masks, grid_size(head.encoded))
    expected = torch.einsum("nt,nij->tij", terms, visible) / visible.sum(0)
    # How much above its mean the score is where a pixel is visible.
    return expected - terms.mean(0)[:, None, None]


rise = _from_signed(_rise)
"""RISE: the mean score over the masks that show a pixel, minus the mean over all masks.

Petsiuk et al., BMVC 2018 (arXiv 1806.07421), Eq. 6, with y^c instead of a probability, and
centered, so that it has a sign; 600 masks, the same for every picture.
"""
