"""Why, in words: what a class's score is made of, by names for directions among the channels.

The paper's section 7 names single channels. Those of the embedded network mean many things at
once, so weighted sums of all channels are named (Zhou et al. 2018, Interpretable Basis
Decomposition): `training/channels.py` finds them, and measures how good the names are.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import Model, Target
from gradcam_core.models.classifiers import Classifier

WEIGHTS = Path(__file__).parent / "weights"
_LEAST = 0.05  # of all that speaks for a class; what counts for less is not said
_MOST = 3  # that are said, for it and against it


@dataclass(frozen=True)
class Reason:
    """What is seen in a picture and speaks for a class, or against it.

    Attributes:
        name: "dog", "snow", ...
        share: What it adds to the score above the mean of all classes' scores, in [-1, 1]: > 0
            for the class, < 0 against it; as a share of all that speaks for the class, named or
            not (or of all that speaks against it, where that is more).
        of_ten: Of the 10 photos where it was strongest, among those that its direction was not
            made of, so many have what it is called.
        raw: (h, w) float32 >= 0: where it adds, or takes away, in units of the score; the score
            changes by the mean over all cells, those of the other sign included.
    """

    name: str
    share: float
    of_ten: int
    raw: np.ndarray


@dataclass(frozen=True)
class Named:
    """Directions among the channels of a network's last map.

    Attributes:
        names: What they are called.
        of_ten: See `Reason`.
        directions: (names, C) float32.
        offset: (names,) float32, what the typical picture without it scores.
        seen: (names,) float32, above that: from where on at least half of the photos have it.
        parts: (classes, names) float32, what a score of 1 adds to a class.
    """

    names: tuple[str, ...]
    of_ten: tuple[int, ...]
    directions: np.ndarray
    offset: np.ndarray
    seen: np.ndarray
    parts: np.ndarray


@cache
def named(model: str) -> Named | None:
    """Return the named directions of a model, by its name; None where nobody made any."""
    table = WEIGHTS / f"{model}-names.csv"
    if not table.exists():
        return None
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    arrays = load_file(table.with_suffix(".safetensors"))
    return Named(
        tuple(row["name"] for row in rows),
        tuple(int(row["of_ten"]) for row in rows),
        **{name: numbers.astype(np.float32) for name, numbers in arrays.items()},
    )


@torch.no_grad()
def reasons(model: Model, encoded: Encoded, target: Target) -> tuple[Reason, ...] | None:
    """Return what is seen and speaks for a class, then what speaks against it.

    Of each at most three, the strongest first; maybe none. Over all names, what they add is the
    named part of the score above the mean of all classes' scores.

    Returns:
        None where there are no names: for all but the embedded classifier Lite0.
    """
    if type(model) is not Classifier:  # a network of one's own, whatever it is called
        return None
    known = named(model.name)
    if known is None:
        return None
    (index,) = target.ids
    logits = model.logits(encoded.features, None) if encoded.logits is None else encoded.logits
    maps = encoded.features[0].cpu().numpy()
    scores = known.directions @ maps.mean((1, 2)) - known.offset
    adds = known.parts[index] * scores
    rest = (logits[index] - logits.mean()).item() - float(adds.sum())
    for_it = float(adds.clip(min=0).sum()) + max(rest, 0.0)
    against = -float(adds.clip(max=0).sum()) + max(-rest, 0.0)
    share = np.where(scores >= known.seen, adds / max(for_it, against), 0)
    order = share.argsort()[::-1].tolist()
    said = [i for i in order[:_MOST] if share[i] >= _LEAST]
    said += [i for i in order[: -_MOST - 1 : -1] if share[i] <= -_LEAST]
    # A name's score is linear in the map, so what it adds is the mean of what each cell adds.
    cells = np.tensordot(known.directions[said], maps, 1) - known.offset[said, None, None]
    of_names = np.sign(share[said])[:, None, None] * known.parts[index, said, None, None] * cells
    return tuple(
        Reason(known.names[i], float(share[i]), known.of_ten[i], of_name.clip(min=0))
        for i, of_name in zip(said, of_names, strict=True)
    )
