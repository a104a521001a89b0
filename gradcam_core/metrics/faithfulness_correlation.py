"""Does a map tell what the network uses better than maps that cannot know it?

All maps of a picture are compared on the same changed pictures, so hundreds of comparisons cost no
forward passes. `verdict.py` decides by them; docs/metrics.md has how often it is right.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gradcam_core.methods import DEFAULT_METHOD, method_named
from gradcam_core.methods.perturbation import score_inputs
from gradcam_core.metrics.metric import MeasuredMap, Measurement
from gradcam_core.models.backbone import batch_size
from gradcam_core.models.base import LabelHead, ResolvedTarget

_PICTURES = 160  # with a random half of the cells visible
_MAX_CELLS = 7  # per side of the grid that is hidden cell by cell
_LEVEL = 0.1  # share of the shuffled, the moved and the other targets' maps that may do as well
_SHUFFLED = 999  # maps with the same cells in random order
_LIKELIEST = 4  # other targets that the network finds likeliest
_OTHERS = 19  # other targets at random
_WIDTHS = (0.08, 0.12, 0.17, 0.25, 0.35)  # of the centre's maps, as shares of the picture
_LEAST = 1e-30  # probability, before its logarithm is taken
_TIE = 1e-6  # correlations that differ by less are equal
_SEED = 0


def faithfulness_correlation(measured: MeasuredMap) -> Measurement:
    """Correlation of the visible share of a map with the log-probability of the picture's rest.

    Bhatt, Weller and Moura, IJCAI 2020 (arXiv 2005.00631), equation 1, with the visible cells
    instead of the hidden ones: a random half of the cells of the map (at most 7 x 7) is visible,
    160 times; the others are grey. Pearson's correlation of the sum of the map's visible cells with
    the logarithm of the target's probability (its score, for a function of the output). In
    [-1, 1]; higher is better.

    References, what other maps reach on the same pictures; a map that shows what the network uses
    exceeds them all:

    - "centre": the best of five maps that mark the picture's centre.
    - "shuffled": the map with its cells in random order; one in ten of 999 reaches more.
    - "moved": the map shifted (cyclically) and mirrored; one in ten of all such maps reaches more.
    - "likeliest others": the best map of the four likeliest other targets. Only for models that
      choose one of several labels; so is the next.
    - "random others": maps of 19 other targets; one in ten of them reaches more. Both are made by
      the map's own method, or by Grad-CAM if that is slow.
    """
    (found,) = faithfulness_correlations(measured, [measured.raw])
    return found


def faithfulness_correlations(
    measured: MeasuredMap, maps: Sequence[np.ndarray]
) -> list[Measurement]:
    """Measure several maps (h, w) of a picture and target on the same changed pictures."""
    height, width = measured.head.encoded.activations.shape[2:]
    grid = min(height, _MAX_CELLS), min(width, _MAX_CELLS)
    draw = np.random.default_rng(_SEED)
    visible = _random_halves(grid[0] * grid[1], draw)
    scores = _scores(measured, visible.reshape(-1, *grid))
    common = {"centre": (_centres(grid), 0.0)}
    likeliest, others = _other_targets(measured, draw)
    if likeliest:
        made = _cells(_maps(measured, likeliest + others), grid)
        common["likeliest others"] = made[: len(likeliest)], 0.0
        common["random others"] = made[len(likeliest) :], _LEVEL
    found = []
    for raw in maps:
        own = _cells(torch.from_numpy(np.ascontiguousarray(raw, np.float32))[None], grid)[0]
        rivals = common | {
            "shuffled": (draw.permuted(np.tile(own, (_SHUFFLED, 1)), axis=1), _LEVEL),
            "moved": (np.array(list(_moved(own.reshape(grid)))), _LEVEL),
        }
        references = {
            name: _limit(correlations(rival, visible, scores), level)
            for name, (rival, level) in rivals.items()
        }
        value = float(correlations(own[None], visible, scores)[0])
        found.append(Measurement(value, references))
    return found


def correlations(maps: np.ndarray, visible: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the correlation of each map's visible sum with the scores, (maps,).

    Args:
        maps: (maps, cells) float.
        visible: (pictures, cells) bool.
        scores: (pictures,) float.

    Returns:
        0 for a map that is the same everywhere, and where all scores are the same.
    """
    sums = visible @ maps.T.astype(np.float64)
    sums -= sums.mean(0)
    centred = scores - scores.mean()
    size = np.sqrt((sums**2).sum(0) * (centred**2).sum())
    # A sum of equal cells differs by rounding only.
    tiny = size <= 1e-9 * (np.abs(maps).max(1) * np.abs(scores).max() + 1e-30)
    return np.where(tiny, 0.0, centred @ sums / np.where(tiny, 1.0, size))


def exceeds(value: float, reference: float) -> bool:
    """Return whether a correlation is larger than another one, by more than rounding."""
    return value > reference + _TIE


def _random_halves(cells: int, draw: np.random.Generator) -> np.ndarray:
    """Return which cells are visible in each picture, (pictures, cells) bool."""
    order = draw.permuted(np.tile(np.arange(cells), (_PICTURES, 1)), axis=1)
    return order < cells // 2


def _scores(measured: MeasuredMap, visible: np.ndarray) -> np.ndarray:
    """Return the logarithm of the target's probability for each picture, (pictures,) float64."""
    pixels = measured.pixels
    masks = torch.from_numpy(visible)[:, None].to(pixels)

    def pictures() -> Iterator[Tensor]:
        for batch in masks.split(batch_size()):
            yield pixels * F.interpolate(batch, pixels.shape[2:], mode="nearest")

    scores = score_inputs(measured.head, measured.target, (pictures(), len(masks)))
    return np.array(
        [
            score.terms.sum().item()
            if score.probability is None
            else np.log(max(score.probability, _LEAST))
            for score in scores
        ]
    )


def _cells(maps: Tensor, grid: tuple[int, int]) -> np.ndarray:
    """Return maps (n, h, w) averaged over the cells of a grid, (n, cells) float32."""
    return F.adaptive_avg_pool2d(maps[:, None].float(), grid).flatten(1).numpy()


def _centres(grid: tuple[int, int]) -> np.ndarray:
    """Return maps that mark the picture's centre, (widths, cells)."""
    rows, columns = grid
    y, x = np.mgrid[:rows, :columns]
    distance = np.hypot((y + 0.5) / rows - 0.5, (x + 0.5) / columns - 0.5)
    return np.array([np.exp(-((distance / width) ** 2) / 2).ravel() for width in _WIDTHS])


def _moved(cells: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the map in all other places, as it is and mirrored."""
    for flipped in (cells, cells[::-1], cells[:, ::-1], cells[::-1, ::-1]):
        for down in range(cells.shape[0]):
            for across in range(cells.shape[1]):
                if flipped is not cells or (down, across) != (0, 0):
                    yield np.roll(flipped, (down, across), (0, 1)).ravel()


def _other_targets(
    measured: MeasuredMap, draw: np.random.Generator
) -> tuple[list[ResolvedTarget], list[ResolvedTarget]]:
    """Return the likeliest other labels, and others at random; none where there are no labels."""
    head, target = measured.head, measured.target
    if not isinstance(head, LabelHead) or target.function is not None:
        return [], []
    ranked = [i for i in head.probabilities.argsort(descending=True).tolist() if (i,) != target.ids]
    some = draw.permutation(ranked)[:_OTHERS].tolist()
    return (
        [head.model.label_at(i) for i in ranked[:_LIKELIEST]],
        [head.model.label_at(int(i)) for i in some],
    )


def _maps(measured: MeasuredMap, targets: list[ResolvedTarget]) -> Tensor:
    """Return the maps of other targets, (targets, h, w)."""
    method = method_named(measured.method)
    if method.slow:
        method = method_named(DEFAULT_METHOD)
    found = method.attribute(measured.head, targets)
    return torch.stack([maps.attribution.detach().cpu() for maps in found])


def _limit(values: np.ndarray, level: float) -> float:
    """Return what a value has to exceed for its rank among these to be in the first `level`."""
    ranked = np.sort(values)[::-1]
    allowed = int(level * (len(ranked) + 1) + 1e-9) - 1  # values that may be as high
    return float(ranked[max(0, allowed)]) if len(ranked) else -1.0
