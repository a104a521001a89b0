"""Randomization: does the map depend on what the network has learned?

Layer after layer is filled with random weights, from the output down. A map that stays the same
explains the picture, not the network.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from gradcam_core.explanation import Explanation
from gradcam_core.methods import method_named
from gradcam_core.metrics.metric import MeasuredMap, rank_correlation
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.compute_mode import standard_mode

_SEED = 0


class SanityStep(NamedTuple):
    """One step of the cascading randomization.

    Attributes:
        layer: The layer randomized in this step; all above it are random already.
        raw: (h, w) float32 >= 0, the map of the network after this step.
        correlation: Spearman's rank correlation with the original map, in [-1, 1].

    Examples:
        >>> step = next(metrics.sanity_check(explanation))
        >>> step.layer, round(step.correlation, 2)
        ('head', -0.26)
    """

    layer: str
    raw: np.ndarray
    correlation: float


def sanity_check(explanation: Explanation) -> Iterator[SanityStep]:
    """Randomize a classifier from the output down, and compare the map after each step.

    Cascading randomization, Adebayo et al., NeurIPS 2018 (arXiv 1810.03292), section 3.1.
    Correlations near 0 are good. The model itself stays as it is: a copy is randomized.

    Args:
        explanation: Of a class.

    Raises:
        ValueError: The model is not a classifier.

    Examples:
        >>> for step in metrics.sanity_check(explanation):
        ...     print(f"{step.layer}: {step.correlation:.2f}")
    """
    return cascade(
        MeasuredMap.from_explanation(explanation, explanation.detail), explanation.method
    )


def cascade(measured: MeasuredMap, method: str) -> Iterator[SanityStep]:
    """Do the same for a map by `method`, encoded at the detail that it was made at."""
    head = measured.head
    if not isinstance(head.model, Classifier):
        raise ValueError(
            "The sanity check is for classifiers: it does not randomize captioners or VQA models."
        )
    steps, total = randomized(head.model), len(head.model.parts())
    for layer, model in tqdm(steps, total=total, desc="randomizing", leave=False, disable=None):
        with standard_mode():
            encoded = model.backbone.encode_pixels(measured.pixels, head.encoded.layer)
            (maps,) = method_named(method).attribute(model.bind(encoded), [measured.target])
        raw = maps.attribution.cpu().numpy()
        yield SanityStep(layer, measured.upright(raw), rank_correlation(raw, measured.raw))


def randomized(classifier: Classifier) -> Iterator[tuple[str, Classifier]]:
    """Yield a copy of a classifier with one layer more random each time, and that layer's name.

    The copy is the same object each time. The random weights are always the same.

    Examples:
        >>> layer, network = next(randomized(load("lite0")))
        >>> layer
        'head'
    """
    model = deepcopy(classifier)
    draw = torch.Generator().manual_seed(_SEED)
    for layer, part in model.parts().items():
        with standard_mode():
            _randomize(part, draw)
        yield layer, model


def _randomize(part: nn.Module, draw: torch.Generator) -> None:
    """Draw each parameter from a normal distribution with its own mean and standard deviation.

    Batch normalization keeps its running statistics, unless it was folded into a convolution.
    """
    with torch.no_grad():
        for parameter in part.parameters():
            spread = parameter.std().item() if parameter.numel() > 1 else 1.0
            drawn = torch.randn(parameter.shape, generator=draw) * spread
            parameter.copy_(drawn + parameter.mean().cpu())
