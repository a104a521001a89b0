"""Heat maps by asking the model again about changed pictures: no gradient, many forward passes.

They cost hundreds of passes where a CAM costs one backward pass from the map; progress is shown
by tqdm, where somebody looks.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from gradcam_core.methods.gradients import MapMethod, Maps
from gradcam_core.models.backbone import Encoded, pictures_a_pass
from gradcam_core.models.base import Model, Score, Target

_FINEST = 14  # cells a side, of the maps made by covering and by random masks
_MASKS = 600  # that RISE draws; the paper's 4,000 to 8,000 take minutes on a CPU
_COARSE = 7  # cells a side of RISE's masks, as in its paper
_KEPT = 0.5  # share of them that is seen

# Changed pixels (n, 3, H_in, W_in), asked about in this order, and how many there are.
Questions = tuple[Iterable[Tensor], int]


def ask(model: Model, target: Target, questions: Questions) -> list[Score]:
    """Return the target's score for each of many inputs.

    Args:
        model: What is asked.
        target: What is scored.
        questions: The network's inputs, in batches.
    """
    batches, total = questions
    scores: list[Score] = []
    with torch.no_grad(), tqdm(total=total, desc="asking again", leave=False, disable=None) as bar:
        for batch in batches:
            rows = model.backbone.features_of_each(batch)
            scores += [model.score_features(row, target) for row in rows]
            bar.update(len(batch))
    return scores


def _terms(model: Model, target: Target, questions: Questions) -> Tensor:
    """Ask, and return the terms of the scores, (n, terms) float32."""
    return torch.stack([score.terms.cpu() for score in ask(model, target, questions)])


def masked(pixels: Tensor, masks: Tensor) -> Questions:
    """Return pixels (1, 3, H, W) under masks (n, H, W) in [0, 1]: 0 makes them the mean colour."""
    batches = (pixels * batch[:, None].to(pixels) for batch in masks.split(pictures_a_pass()))
    return batches, len(masks)


def _by_asking(weigh: Callable[[Model, Encoded, Target], Tensor]) -> MapMethod:
    """Make a method of a function that returns signed maps (terms, h, w)."""

    def method(model: Model, encoded: Encoded, target: Target) -> Maps:
        with torch.no_grad():
            score = model.score_terms(encoded, target)
        signed = weigh(model, encoded, target)
        total = signed.sum(0)
        words = signed[: len(target.words)]
        return Maps(score, total.relu(), (-total).relu(), words.relu())

    return method


def cells(encoded: Encoded) -> tuple[int, int]:
    """Return rows and columns of the maps made here: the feature map's, at most `_FINEST`."""
    height, width = encoded.activations.shape[2:]
    return min(height, _FINEST), min(width, _FINEST)


def _input_size(encoded: Encoded) -> tuple[int, int]:
    height, width = encoded.pixels.shape[2:]
    return height, width


def covering_masks(size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Return masks (rows * columns, H, W) that cover the square around each cell of a grid.

    A square is two cells wide, so that neighbours overlap by half.
    """
    (height, width), (rows, columns) = size, grid
    masks = torch.ones(rows * columns, height, width)
    for index, mask in enumerate(masks):
        row, column = divmod(index, columns)
        top, bottom = (round((row + at) * height / rows) for at in (-0.5, 1.5))
        left, right = (round((column + at) * width / columns) for at in (-0.5, 1.5))
        mask[max(top, 0) : bottom, max(left, 0) : right] = 0
    return masks


def _occlusion(model: Model, encoded: Encoded, target: Target) -> Tensor:
    grid = cells(encoded)
    masks = covering_masks(_input_size(encoded), grid)
    there = _terms(model, target, ([encoded.pixels], 1))
    covered = _terms(model, target, masked(encoded.pixels, masks))
    return (there - covered).t().reshape(-1, *grid)


occlusion = _by_asking(_occlusion)
"""Occlusion: by how much the score falls when a square around each cell is grey.

Zeiler and Fergus, ECCV 2014 (arXiv 1311.2901), section 4; the paper's section 5.3 measures
Grad-CAM against it. A square is two cells wide. The drop of a score may be negative: what then
speaks against the target is the counterfactual.
"""


def score_cam(model: Model, encoded: Encoded, target: Target) -> Maps:
    """Score-CAM: L = ReLU(sum_k w_k A^k), w the softmax over k of the score under the mask A^k.

    Wang et al., CVPR Workshops 2020 (arXiv 1910.01279). Masks are the channels, bilinearly
    enlarged and scaled to [0, 1]; a channel that is the same everywhere masks all. As many passes
    as there are channels. The counterfactual has the softmax of the negated scores.
    """
    maps = encoded.activations.detach()[0]
    size = _input_size(encoded)

    def batches() -> Iterator[Tensor]:
        for channels in maps.split(pictures_a_pass()):
            # Corner on corner, as in pytorch-grad-cam.
            large = F.interpolate(
                channels[:, None], size=size, mode="bilinear", align_corners=True
            )[:, 0]
            low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
            yield encoded.pixels * ((large - low) / (high - low + 1e-8))[:, None]

    terms = _terms(model, target, (batches(), len(maps)))
    with torch.no_grad():
        score = model.score_terms(encoded, target)

    def weighted(scores: Tensor) -> Tensor:
        return torch.einsum("k,kij->ij", scores.softmax(0).to(maps), maps).relu()

    words = [weighted(terms[:, i]) for i in range(len(target.words))]
    return Maps(
        score,
        weighted(terms.sum(1)),
        weighted(-terms.sum(1)),
        torch.stack(words) if words else maps.new_zeros(0, *maps.shape[1:]),
    )


def random_masks(size: tuple[int, int], count: int, seed: int = 0) -> Tensor:
    """Draw RISE's masks, (count, H, W) in [0, 1]: coarse, random, enlarged, and shifted at random.

    The same seed gives the same masks.
    """
    draw = torch.Generator().manual_seed(seed)
    height, width = size
    up, across = -(-height // _COARSE), -(-width // _COARSE)  # pixels of a cell, rounded up
    coarse = (torch.rand(count, 1, _COARSE, _COARSE, generator=draw) < _KEPT).float()
    large = F.interpolate(
        coarse, size=((_COARSE + 1) * up, (_COARSE + 1) * across), mode="bilinear"
    )[:, 0]
    tops = torch.randint(up, (count,), generator=draw).tolist()
    lefts = torch.randint(across, (count,), generator=draw).tolist()
    return torch.stack(
        [
            mask[top : top + height, left : left + width]
            for mask, top, left in zip(large, tops, lefts, strict=True)
        ]
    )


def _rise(model: Model, encoded: Encoded, target: Target) -> Tensor:
    grid = cells(encoded)
    masks = random_masks(_input_size(encoded), _MASKS)
    terms = _terms(model, target, masked(encoded.pixels, masks))
    seen = F.adaptive_avg_pool2d(masks, grid)
    expected = torch.einsum("nt,nij->tij", terms, seen) / seen.sum(0)
    # Where a pixel is seen, the score is this much above what it is on average.
    return expected - terms.mean(0)[:, None, None]


rise = _by_asking(_rise)
"""RISE: the mean score of the masks that show a pixel, less the mean of all.

Petsiuk et al., BMVC 2018 (arXiv 1806.07421), Eq. 6, of y^c instead of a probability and centred,
so that it has a sign; 600 masks, the same for every picture.
"""
