"""Faithfulness: does the map show what the network uses?

Each metric changes the picture where the map says, and scores it again. All take a `MeasuredMap`
and return a `Measurement`; their rows stand in `METRICS`.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from gradcam_core.methods.perturbation import occlusion, score_inputs
from gradcam_core.metrics.imputation import impute
from gradcam_core.metrics.metric import MeasuredMap, Measurement, rank_correlation
from gradcam_core.models.backbone import batch_size

_STEPS = 20  # of the deletion and insertion curves
_BLUR = 31  # side of the blur kernel that insertion starts from, in pixels of the input
_REMOVED = (0.1, 0.3, 0.5, 0.7, 0.9)  # shares of the pixels that ROAD removes
_NOISE = 0.01  # added to what ROAD fills in, in standard deviations of the network's input
_SEED = 0


def deletion(measured: MeasuredMap) -> Measurement:
    """Area under the probability while pixels turn grey, the map's strongest first.

    Petsiuk et al., BMVC 2018 (arXiv 1806.07421), section 4.1. In [0, 1]; lower is better.

    References: "random order", the same with the map's cells shuffled; and "centre", from the
    picture's centre outwards. (Single pixels in random order would be an unfair baseline: such
    noise all over the picture misleads any network at once.)

    Raises:
        ValueError: The target is a function of the output, which has no probability.
    """
    return _area_with_references(measured, deleting=True)


def insertion(measured: MeasuredMap) -> Measurement:
    """Area under the probability while pixels return to a blurred picture, strongest first.

    Petsiuk et al., BMVC 2018, section 4.1. In [0, 1]; higher is better. References and errors as
    for `deletion`.
    """
    return _area_with_references(measured, deleting=False)


def area_under_curve(measured: MeasuredMap, *, deleting: bool) -> float:
    """Return the value of `deletion` or `insertion` without references: a third of the cost."""
    return _area(_curve(measured, measured.at_input(), deleting=deleting))


def average_drop(measured: MeasuredMap) -> Measurement:
    """Relative drop of the probability when the picture is multiplied by the map.

    Chattopadhay et al., WACV 2018 (arXiv 1710.11063), section 5.1: max(0, Y - O) / Y, with Y the
    probability of the whole picture and O that of the picture multiplied by the map. In [0, 1];
    lower is better.

    Reference: "increase", 1 where O is larger than Y, else 0. Its mean over many pictures is the
    paper's "increase in confidence".

    Raises:
        ValueError: As for `deletion`.
    """
    mask = torch.from_numpy(measured.at_input()).to(measured.pixels)
    pictures = torch.cat([measured.pixels, measured.pixels * mask])
    whole, seen = _probabilities(measured, [pictures], 2)
    drop = max(0.0, whole - seen) / whole if whole else 0.0  # 0 where a float cannot hold it
    return Measurement(drop, {"increase": float(seen > whole)})


def road(measured: MeasuredMap) -> Measurement:
    """Remove and debias: does removing the strongest pixels cost more than removing the weakest?

    ROAD, Rong et al., ICML 2022 (arXiv 2202.00449). Removed pixels are filled in from those
    around them (see `imputation.impute`), with a little noise, so that the shape of the hole gives
    nothing away. The value is half the mean difference of the probability without the weakest 10,
    30, 50, 70 and 90 % and that without the strongest, as in pytorch-grad-cam for one picture. In
    [-0.5, 0.5]; higher is better, 0 is chance. `curve` has the probabilities without the
    strongest, `reference_curves["weakest first"]` the others.

    Raises:
        ValueError: As for `deletion`.
    """
    order = _strongest_first(measured.at_input())
    strongest, weakest = (
        _probabilities(measured, _removed(measured, each), len(_REMOVED))
        for each in (order, order[::-1])
    )
    value = float(np.mean(np.subtract(weakest, strongest))) / 2
    return Measurement(value, curve=strongest, reference_curves={"weakest first": weakest})


def occlusion_correlation(measured: MeasuredMap) -> Measurement:
    """Rank correlation of the map with the drop of the score when each part is occluded.

    Selvaraju et al., IJCV 2019, section 5.3: Spearman's, in [-1, 1]. Higher is better. A map
    without any evidence ranks nothing: 0. `Measurement.map` has the drops, negative where the
    score rises.

    Reference: "centre", the same for a map of the picture's centre.
    """
    drops = occlusion_drops(measured)
    centre = _towards_centre(drops.shape).astype(np.float32)
    return Measurement(
        rank_correlation(measured.raw, drops),
        {"centre": rank_correlation(centre, drops)},
        map=measured.upright(drops),
    )


def occlusion_drops(measured: MeasuredMap) -> np.ndarray:
    """Return the drop of the score when each part is occluded, (h, w) float32, signed."""
    maps = occlusion(measured.head, measured.target)
    return (maps.attribution - maps.counterfactual).cpu().numpy()


def _area_with_references(measured: MeasuredMap, *, deleting: bool) -> Measurement:
    height, width = measured.pixels.shape[2:]
    shuffled = np.random.default_rng(_SEED).permutation(measured.raw.ravel())
    curves = {
        name: _curve(measured, ranking, deleting=deleting)
        for name, ranking in {
            "map": measured.at_input(),
            "random order": measured._replace(raw=shuffled.reshape(measured.raw.shape)).at_input(),
            "centre": _towards_centre((height, width)),
        }.items()
    }
    curve = curves.pop("map")
    references = {name: _area(each) for name, each in curves.items()}
    return Measurement(_area(curve), references, curve, curves)


def _towards_centre(size: tuple[int, ...]) -> np.ndarray:
    """Return a ranking of cells or pixels (h, w) from the centre outwards, highest first."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    return -np.hypot((y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5)


def _area(curve: tuple[float, ...]) -> float:
    return float(np.trapezoid(curve, dx=1 / _STEPS))


def _curve(measured: MeasuredMap, ranking: np.ndarray, *, deleting: bool) -> tuple[float, ...]:
    """Return the probability after each of 20 steps and before the first, (21,).

    Args:
        measured: Model, picture and target.
        ranking: (H_in, W_in) float: pixels with larger values are changed first.
        deleting: Whether they are deleted, or inserted.
    """
    order = _strongest_first(ranking)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    pixels = measured.pixels
    ranks = torch.from_numpy(rank).view(1, 1, *pixels.shape[2:]).to(pixels.device)
    before, after = (pixels, torch.zeros_like(pixels)) if deleting else (_blurred(pixels), pixels)

    def batches() -> Iterator[Tensor]:
        for shares in (torch.arange(_STEPS + 1) / _STEPS).split(batch_size()):
            limits = (shares * len(order)).view(-1, 1, 1, 1).to(pixels.device)
            yield torch.where(ranks < limits, after, before)

    return _probabilities(measured, batches(), _STEPS + 1)


def _blurred(pixels: Tensor) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur  # slow to import

    return gaussian_blur(pixels, [_BLUR, _BLUR], [_BLUR / 6, _BLUR / 6])


def _removed(measured: MeasuredMap, order: np.ndarray) -> Iterator[Tensor]:
    """Yield the input without the first pixels of an order, for each share of `_REMOVED`."""
    pixels = measured.pixels
    values = pixels[0].permute(1, 2, 0).cpu().numpy()
    draw = np.random.default_rng(_SEED)
    for share in _REMOVED:
        removed = np.zeros(values.shape[:2], bool)
        removed.flat[order[: round(share * len(order))]] = True
        filled = impute(values, removed)
        filled[removed] += draw.normal(0, _NOISE, (int(removed.sum()), values.shape[2]))
        yield torch.from_numpy(filled).permute(2, 0, 1)[None].to(pixels)


def _strongest_first(ranking: np.ndarray) -> np.ndarray:
    """Return the indices of the flattened pixels in descending order; equal ones keep theirs."""
    return np.argsort(-ranking, axis=None, kind="stable")


def _probabilities(
    measured: MeasuredMap, batches: Iterable[Tensor], count: int
) -> tuple[float, ...]:
    """Return the target's probability for each of `count` inputs."""
    found = []
    for score in score_inputs(measured.head, measured.target, (batches, count)):
        if score.probability is None:
            raise ValueError(
                "This metric needs the target's probability; a function of the output has none."
            )
        found.append(score.probability)
    return tuple(found)
