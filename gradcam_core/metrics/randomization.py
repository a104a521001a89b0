"""Does the map depend on what the network has learned? Asked by making it forget, from the top."""

from collections.abc import Iterator
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from gradcam_core.methods import method_named
from gradcam_core.metrics.measurement import Subject, rank_correlation
from gradcam_core.models.classifiers import Classifier

_SEED = 0


class Step(NamedTuple):
    """One step of the cascade.

    Attributes:
        layer: What was randomised last; all above it is random too.
        raw: (h, w) float32 >= 0, the map of the network as it then is.
        correlation: Spearman's rank correlation with the true map, in [-1, 1].
    """

    layer: str
    raw: np.ndarray
    correlation: float


def cascade(subject: Subject, method: str) -> Iterator[Step]:
    """Randomise a classifier from the head down to its first stage, and draw the map at each step.

    Adebayo et al., NeurIPS 2018 (arXiv 1810.03292), section 3.1. A method whose maps stay the same
    explains the picture, not the network: correlations near 0 are good. The model itself is left
    as it is.

    Raises:
        ValueError: The model is no classifier.
    """
    model = subject.model
    if not isinstance(model, Classifier):
        raise ValueError("The sanity check randomises classifiers; captions and answers have none.")
    forgetful = deepcopy(model)
    draw = torch.Generator().manual_seed(_SEED)
    parts = forgetful.parts()
    for layer, part in tqdm(parts.items(), desc="randomising", leave=False, disable=None):
        _randomise(part, draw)
        encoded = forgetful.backbone.encode_pixels(subject.pixels, subject.encoded.layer)
        raw = method_named(method).maps(forgetful, encoded, subject.target).evidence.cpu().numpy()
        yield Step(layer, raw, rank_correlation(raw, subject.raw))


def _randomise(part: nn.Module, draw: torch.Generator) -> None:
    """Draw the weights anew, each tensor as spread as it is now; statistics of batches stay."""
    with torch.no_grad():
        for parameter in part.parameters():
            spread = parameter.std().item() if parameter.numel() > 1 else 1.0
            drawn = torch.randn(parameter.shape, generator=draw) * spread
            parameter.copy_(drawn + parameter.mean().cpu())
