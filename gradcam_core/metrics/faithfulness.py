"""Does the map show what the network uses? Asked by changing the picture where the map says."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gradcam_core.methods.perturbation import ask, occlusion
from gradcam_core.metrics.imputation import impute
from gradcam_core.metrics.measurement import Finding, Subject, rank_correlation
from gradcam_core.models.backbone import pictures_a_pass

_STEPS = 20  # of the curves
_BLUR = 31  # pixels a side, the kernel of insertion's starting picture
_REMOVED = (0.1, 0.3, 0.5, 0.7, 0.9)  # shares of the pixels, by ROAD
_NOISE = 0.01  # of what ROAD fills in, in the input's standard deviations
_SEED = 0
_ONE_IN_TWENTY = 1.645  # standard deviations of a normal distribution


def deletion(subject: Subject) -> Finding:
    """Area under the probability as pixels become grey, the map's strongest first.

    Petsiuk et al., BMVC 2018 (arXiv 1806.07421), section 4.1. Lower is better. Beside it, the same
    with the map's cells shuffled ("random order"), and from the picture's centre outwards. Pixels
    one by one in random order would be no fair rival: such noise alone makes a network blind.
    """
    return _compared(subject, torch.zeros_like(subject.pixels), deleting=True)


def insertion(subject: Subject) -> Finding:
    """Area under the probability as pixels come back into a blurred picture, strongest first.

    Petsiuk et al., as above. Higher is better.
    """
    return _compared(subject, _blurred(subject.pixels), deleting=False)


def road(subject: Subject) -> Finding:
    """Probability left without what the map marks least, less that without what it marks most.

    ROAD, remove and debias, Rong et al., ICML 2022 (arXiv 2202.00449): what is removed is filled in
    from around it, with a little noise, so that the hole itself tells nothing. 10 % to 90 % of the
    pixels are removed; half the difference, and its mean, as pytorch-grad-cam has it for a single
    picture. Higher is better, in [-0.5, 0.5]; 0 is chance. The curves are the probabilities.
    """
    strongest_first = np.argsort(-subject.at_input(), axis=None, kind="stable")
    curves = []
    for order in (strongest_first, strongest_first[::-1]):
        scores = ask(subject.model, subject.target, (_without(subject, order), len(_REMOVED)))
        curves.append(tuple(_probability(score.probability) for score in scores))
    most, least = curves
    value = float(np.mean(np.subtract(least, most))) / 2
    return Finding(value, curve=most, curves_beside={"weakest first": least})


def _without(subject: Subject, order: np.ndarray) -> Iterator[Tensor]:
    """Yield the input without the first pixels of an order, for each share of `_REMOVED`."""
    pixels = subject.pixels
    values = pixels[0].permute(1, 2, 0).cpu().numpy()
    draw = np.random.default_rng(_SEED)
    for share in _REMOVED:
        removed = np.zeros(values.shape[:2], bool)
        removed.flat[order[: round(share * len(order))]] = True
        filled = impute(values, removed)
        filled[removed] += draw.normal(0, _NOISE, (int(removed.sum()), values.shape[2]))
        yield torch.from_numpy(filled).permute(2, 0, 1)[None].to(pixels)


def curve_area(subject: Subject, *, deleting: bool) -> float:
    """Return what `deletion` or `insertion` find, at a third of the cost: of the map alone."""
    other = torch.zeros_like(subject.pixels) if deleting else _blurred(subject.pixels)
    order = np.argsort(-subject.at_input(), axis=None, kind="stable")
    return float(np.trapezoid(_curve(subject, other, order, deleting=deleting), dx=1 / _STEPS))


def _blurred(pixels: Tensor) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur  # slow to import

    return gaussian_blur(pixels, [_BLUR, _BLUR], [_BLUR / 6, _BLUR / 6])


def average_drop(subject: Subject) -> Finding:
    """By how much of itself the probability falls when only what the map marks is seen.

    Chattopadhay et al., WACV 2018 (arXiv 1710.11063), section 5.1: max(0, Y - O) / Y, O of the
    picture multiplied by the map, in [0, 1]. Lower is better. Beside it "increase": 1 where O
    is larger than Y (their "increase in confidence", of many pictures the share).
    """
    whole, seen = _through_the_map(subject)
    drop = max(0.0, whole - seen) / whole if whole else 0.0  # it can be too small for a float
    return Finding(drop, {"increase": float(seen > whole)})


def occlusion_correlation(subject: Subject) -> Finding:
    """Rank correlation of the map with the drop of the score when each part is covered.

    The paper's section 5.3; Spearman's, in [-1, 1]. Higher is better. A map without any evidence
    ranks nothing: 0. The finding's map are those drops, negative where covering raised the score.
    """
    drops = drops_when_covered(subject)
    return Finding(correlation(subject.raw, drops), map=drops)


def drops_when_covered(subject: Subject) -> np.ndarray:
    """Return the drop of the score when each part is covered, (h, w) float32, signed."""
    maps = occlusion(subject.model, subject.encoded, subject.target)
    return (maps.evidence - maps.counterevidence).cpu().numpy()


def correlation(raw: np.ndarray, drops: np.ndarray) -> float:
    """Return the rank correlation of a map with such drops, of as many cells or fewer."""
    rows, columns = drops.shape
    # Of a finer map, the mean of the cells that were covered together.
    coarse = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(raw)[None], (rows, columns))
    return rank_correlation(coarse[0].numpy(), drops)


def ranks_alike(finding: Finding) -> bool:
    """Tell whether a finding of `occlusion_correlation` is more than chance.

    Of n cells in random order, one in twenty correlates by more than 1.645 / sqrt(n - 1).
    """
    assert finding.map is not None
    return finding.value * (finding.map.size - 1) ** 0.5 > _ONE_IN_TWENTY


def _compared(subject: Subject, other: Tensor, *, deleting: bool) -> Finding:
    """Measure the curve of the map's order, of its cells shuffled, and of the centre's."""
    height, width = subject.pixels.shape[2:]
    shuffled = np.random.default_rng(_SEED).permutation(subject.raw.ravel())
    y, x = np.mgrid[:height, :width]
    ranked = {
        "map": subject.at_input(),
        "random order": subject._replace(raw=shuffled.reshape(subject.raw.shape)).at_input(),
        "centre": -np.hypot((y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5),
    }
    curves = {
        name: _curve(
            subject, other, np.argsort(-field, axis=None, kind="stable"), deleting=deleting
        )
        for name, field in ranked.items()
    }
    area = {name: float(np.trapezoid(curve, dx=1 / _STEPS)) for name, curve in curves.items()}
    value, curve = area.pop("map"), curves.pop("map")
    return Finding(value, area, curve, curves)


def _curve(
    subject: Subject, other: Tensor, order: np.ndarray, *, deleting: bool
) -> tuple[float, ...]:
    """Return the probability at each of `_STEPS` + 1 shares of pixels changed, in `order`."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    ranks = torch.from_numpy(rank).view(1, 1, *subject.pixels.shape[2:]).to(other.device)
    before, after = (subject.pixels, other) if deleting else (other, subject.pixels)

    def batches() -> Iterator[Tensor]:
        for shares in (torch.arange(_STEPS + 1) / _STEPS).split(pictures_a_pass()):
            limits = (shares * len(order)).view(-1, 1, 1, 1).to(other.device)
            yield torch.where(ranks < limits, after, before)

    scores = ask(subject.model, subject.target, (batches(), _STEPS + 1))
    return tuple(_probability(score.probability) for score in scores)


def _through_the_map(subject: Subject) -> tuple[float, float]:
    """Return the probability of the whole picture, and of what the map lets through."""
    mask = torch.from_numpy(subject.at_input()).to(subject.pixels.device)
    pictures = torch.cat([subject.pixels, subject.pixels * mask])
    whole, seen = ask(subject.model, subject.target, ([pictures], 2))
    return _probability(whole.probability), _probability(seen.probability)


def _probability(probability: float | None) -> float:
    if probability is None:
        raise ValueError(
            "This asks for the target's probability, and a function of the output has none."
        )
    return probability
