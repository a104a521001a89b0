"""How often are reasons in words right, by their share of the evidence?

    python -m benchmarks.reasons ../shared/data --work ../scratch

Data: at most 600 photos of each set that judge the concepts' names in `training.channels`. As
there, a photo's response comes from directions that were fitted without it; and whether a concept
is seen is decided by a threshold from the other half of the photos. A reason for the predicted
class is right if people say that the photo shows it: captions, boxes or labels. Reasons against are
those against a random other class. Photos of which people say neither do not count.
"""

import tomllib
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from gradcam_core.models.embedded.concepts import MOST
from gradcam_core.models.embedded.lite import lite_classifier_layer
from training import channels
from training.channels import CONCEPTS, FEWEST, FOLDS, JUDGED, LEAST, SEED, SETS, STRONGEST

SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)


class Reasons(NamedTuple):
    """What would be said of each photo.

    Attributes:
        source: (n,) the set of each photo.
        share: (n, concepts) of the evidence, 0 where the concept is not seen.
        has: (n, concepts) 1 if people say that the photo shows it, 0 if not, -1 if unknown.
    """

    source: np.ndarray
    share: np.ndarray
    has: np.ndarray


def main(
    data: Annotated[Path, typer.Argument(help="Folder of all data sets")],
    work: Annotated[Path, typer.Option(help="Folder for the features")],
) -> None:
    """Print the share of right reasons from several shares of the evidence on."""
    for title, found in zip(("for", "against"), _measured(data, work), strict=True):
        columns = (f"reasons {title}, share from", *SETS, "mean of the sets", "photos with one")
        print(f"| {' | '.join(columns)} |")
        print("|---" * (len(SETS) + 3) + "|")
        for least in SHARES:
            shown = _shown(found.share, least)
            judged = shown & (found.has >= 0)
            parts = [found.has[judged & (found.source == name)[:, None]] for name in SETS]
            means = [part.mean() if len(part) else np.nan for part in parts]
            cells = [f"{mean:.2f} ({len(part)})" for mean, part in zip(means, parts, strict=True)]
            photos = shown.any(1).mean()
            print(f"| {least} | {' | '.join(cells)} | {np.nanmean(means):.3f} | {photos:.2f} |")
        print()


def _shown(share: np.ndarray, least: float) -> np.ndarray:
    """Return which concepts are shown, (n, concepts) bool: the largest shares, down to a floor."""
    rank = (-share).argsort(1, kind="stable").argsort(1, kind="stable")
    return (share >= least) & (rank < MOST)


def _measured(data: Path, work: Path) -> tuple[Reasons, Reasons]:
    """Return the reasons for the predicted class, and those against a random one."""
    concepts = tomllib.loads(CONCEPTS.read_text("utf-8"))
    photos = channels.read(data, work / "features", concepts)
    layer = lite_classifier_layer(0)
    weight, bias = layer.weight.detach().numpy().astype(np.float64), layer.bias.detach().numpy()
    logits = photos.values @ weight.T + bias
    weight -= weight.mean(0)
    below = {name: channels.classes_below(concept) for name, concept in concepts.items()}
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(photos.names))
    fold, half = order % FOLDS, order // FOLDS % 2 == 0
    judged = np.zeros(len(fold), bool)
    for name in SETS:
        judged[rng.permutation(np.flatnonzero(photos.source == name))[:JUDGED]] = True
    scores = np.empty(photos.has.shape)
    for held in range(FOLDS):
        made = channels.directions(photos, fold != held, weight, below.values())
        scores[fold == held] = (photos.values[fold == held] - made.mean) @ made.basis.T
    every = channels.judge(scores, photos.has, judged)
    tried = np.flatnonzero(every.photos >= FEWEST)
    kept = tried[every.strongest[tried] >= LEAST * STRONGEST]
    scores, has = scores[:, kept], photos.has[:, kept]
    without = np.array([np.median(scores[judged & (has[:, j] == 0), j]) for j in range(len(kept))])
    seen = np.empty(scores.shape, bool)
    for part in (half, ~half):
        for j in range(len(kept)):
            limit = channels.threshold(scores[:, j], has[:, j], judged & ~part)
            seen[part, j] = scores[part, j] >= limit
    best, others = logits.argmax(1), rng.integers(logits.shape[1], size=len(fold))
    adds = np.empty((2, *scores.shape))
    classes = [below[list(concepts)[j]] for j in kept]
    for held in range(FOLDS):
        parts = channels.decompose(photos, scores, weight, classes, fold != held)
        mine = fold == held
        for number, chosen in enumerate((best, others)):
            adds[number, mine] = (scores[mine] - without) * parts[chosen[mine]]
    found = []
    for added, chosen, sign in zip(adds, (best, others), (1, -1), strict=True):
        total = logits[np.arange(len(fold)), chosen] - logits.mean(1)
        rest = total - added.sum(1)
        supporting = added.clip(min=0).sum(1) + rest.clip(min=0)
        opposing = -added.clip(max=0).sum(1) + (-rest).clip(min=0)
        share = np.where(seen, sign * added / np.maximum(supporting, opposing)[:, None], 0)
        found.append(Reasons(photos.source[judged], share[judged], has[judged]))
    return found[0], found[1]


if __name__ == "__main__":
    typer.run(main)
