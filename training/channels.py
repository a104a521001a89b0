"""Name directions among the channels of the last feature map, for explanations in words.

    python -m training.channels ../shared/data --work ../scratch

The paper's section 7 names single channels, by network dissection. Of this network single channels
mean many things at once (what is printed says how good their names are), so weighted sums of all
channels are named instead, and a class is taken apart into them, as by Zhou et al. (2018,
Interpretable Basis Decomposition). `concepts.toml` has the names and says which photos have what
they name.

A direction is that of linear discriminant analysis, S^-1 (mean of the photos that have it - mean of
those that do not), S the covariance of all photos. For names with few photos the mean of the
head's weights for the classes below the name ("bird": 59 classes) is added. All figures are
cross-validated: what a photo scores comes from directions made without it, and each class of
ImageNet has one photo only. A name is kept if of the 10 photos that score highest at least 6 have
what it names; it is seen in a photo that scores so high that half of all that do have it.

The logit of a class above the mean of all logits is then a sum of what is named, by least squares,
and a rest that has no name.
"""

import csv
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from safetensors.numpy import save_file
from scipy.optimize import nnls
from tqdm import tqdm

from gradcam_core.models.embedded.lite import lite_classifier_layer
from gradcam_core.models.labels import HYPERNYMS, indices
from training import datasets
from training.features import features

NAMES = Path("gradcam_core/models/embedded/weights/lite0-names.csv")
DIRECTIONS = NAMES.with_suffix(".safetensors")
CONCEPTS = Path(__file__).with_name("concepts.toml")
SETS = ("imagenet", "coco", "flickr8k", "scenes", "pets", "daquar")
JUDGED = 600  # photos of each set at most among which names are judged
FOLDS = 5
STRONGEST = 10
LEAST = 0.6  # share of them that must have it, for a name to be kept
SEEN = 0.5  # share of the photos with such a score or a higher one that must have it, to say so
FEWEST = 5  # photos that have it, for a name to be tried
FEW = 60  # photos with which the head's weights count as much as the photos do
BELOW = 5  # classes below a name, for the head's weights to tell what it means
SHRINKAGE = 1.0  # of the covariance, in mean variances
ANIMALS = 398  # classes of ImageNet, the first ones
LARGE = 0.02  # share of the picture that a box takes, for the thing to be seen
SEED = 1


class Photos(NamedTuple):
    """What is known of all photos.

    Attributes:
        source: (n,) which set each is from.
        said: What each is: its name in the set.
        values: (n, 1280) float32, the mean of each channel.
        mirrored: The same of the mirrored photo.
        has: (n, concepts) int8: 1 if it has what is named, 0 if not, -1 if nobody said.
    """

    source: np.ndarray
    said: list[str]
    values: np.ndarray
    mirrored: np.ndarray
    has: np.ndarray


class Judged(NamedTuple):
    """How good names are: how many photos have it, and of the strongest 10 how many."""

    photos: np.ndarray
    strongest: np.ndarray


def main(
    data: Annotated[Path, typer.Argument(help="Folder of all data sets")],
    work: Annotated[Path, typer.Option(help="Folder that keeps the features, as `features`")],
) -> None:
    """Write the names with their directions, and print how good they are."""
    concepts = tomllib.loads(CONCEPTS.read_text("utf-8"))
    photos = read(data, work / "features", concepts)
    layer = lite_classifier_layer(0)
    weight, bias = layer.weight.detach().numpy().astype(np.float64), layer.bias.detach().numpy()
    weight -= weight.mean(0)  # above the mean of all logits
    below = {name: _below(concept) for name, concept in concepts.items()}
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(photos.said))
    fold, half = order % FOLDS, order // FOLDS % 2 == 0
    judged = np.zeros(len(fold), bool)
    for name in SETS:
        judged[rng.permutation(np.flatnonzero(photos.source == name))[:JUDGED]] = True

    scores = np.empty(photos.has.shape)
    for held in tqdm(range(FOLDS), "directions"):
        made = directions(photos, fold != held, weight, below.values())
        scores[fold == held] = (photos.values[fold == held] - made.mean) @ made.basis.T
    every = judge(scores, photos.has, judged)
    tried = np.flatnonzero(every.photos >= FEWEST)
    kept = tried[every.strongest[tried] >= LEAST * STRONGEST]
    names = [list(concepts)[j] for j in kept]
    classes = [below[name] for name in names]
    seen = np.array([_threshold(scores[:, j], photos.has[:, j], judged) for j in kept])
    without = np.array([np.median(scores[judged & (photos.has[:, j] == 0), j]) for j in kept])

    print(f"{len(fold)} photos, {judged.sum()} to judge by; {len(tried)} names tried")
    print(f"of the 10 strongest have it, of all tried: {every.strongest[tried].mean() / 10:.3f}")
    print(f"{len(kept)} names kept; of theirs: {every.strongest[kept].mean() / 10:.3f}")
    first, second = (judge(scores, photos.has, judged & part) for part in (half, ~half))
    chosen = np.flatnonzero((first.photos >= 4) & (first.strongest >= LEAST * STRONGEST))
    share = second.strongest[chosen].mean() / 10
    print(f"kept by half of the photos {len(chosen)}; of the other half's strongest: {share:.3f}")
    _print_single_channels(photos, judged, half)

    logits = photos.values @ layer.weight.detach().numpy().T + bias
    ours = np.flatnonzero(np.isin(photos.source, ["imagenet", "coco"]))
    best = logits[ours].argmax(1)
    adds = np.empty((len(ours), len(kept)))
    for held in tqdm(range(FOLDS), "classes"):
        parts = take_apart(photos, scores[:, kept], weight, classes, fold != held)
        mine = fold[ours] == held
        adds[mine] = (scores[np.ix_(ours[mine], kept)] - without) * parts[best[mine]]
    total = logits[ours, best] - logits[ours].mean(1)
    _print_shares(photos.source[ours], adds, scores[np.ix_(ours, kept)] >= seen, total)

    made = directions(photos, np.ones(len(fold), bool), weight, below.values())
    parts = take_apart(photos, scores[:, kept], weight, classes, np.ones(len(fold), bool))
    basis = made.basis[kept]
    save_file(
        {
            "directions": basis.astype(np.float16),
            "offset": (basis @ made.mean + without).astype(np.float32),
            "seen": (seen - without).astype(np.float32),
            "parts": parts.astype(np.float16),
        },
        DIRECTIONS,
    )
    with NAMES.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "photos", "of_ten"))
        writer.writerows(
            zip(names, every.photos[kept], every.strongest[kept].round().astype(int), strict=True)
        )


def read(data: Path, cache: Path, concepts: dict[str, dict[str, str]]) -> Photos:
    """Read all sets: what each photo is, its features, and what it has."""
    source, said, values, mirrored, has = [], [], [], [], []
    for name in SETS:
        known = _KNOWN[name](data)
        pictures = data / name / "images.tar"
        found = features(pictures, list(known), ["whole", "whole-flip"], cache)
        source += [name] * len(known)
        said += known
        values.append(found[:, 0])
        mirrored.append(found[:, 1])
        has += [[_has(name, what, c) for c in concepts.values()] for what in known.values()]
    return Photos(
        np.array(source),
        said,
        np.concatenate(values).astype(np.float32),
        np.concatenate(mirrored).astype(np.float32),
        np.array(has, np.int8),
    )


class Known(NamedTuple):
    """What is known of one photo: the words of each caption, its boxes, its label or class."""

    captions: list[set[str]] | None = None
    boxes: list[datasets.Box] | None = None
    label: str | int | None = None


def _flickr8k(data: Path) -> dict[str, Known]:
    captions = datasets.flickr8k(data, "train") | datasets.flickr8k(data, "dev")
    return {name: Known(_words(written)) for name, written in captions.items()}


def _coco(data: Path) -> dict[str, Known]:
    captions, boxes = datasets.coco_captions(data), datasets.coco_boxes(data)
    return {
        name: Known(_words(captions[name]) if name in captions else None, boxes.get(name))
        for name in sorted({*captions, *boxes})
    }


def _labelled(name: str, data: Path) -> dict[str, Known]:
    read = {
        "imagenet": lambda split: datasets.imagenet(data, split),
        "scenes": datasets.scenes,
        "pets": datasets.pets,
        "daquar": lambda split: {q.picture: "" for q in datasets.daquar(data, split)},
    }[name]
    return {
        name: Known(label=label) for name, label in sorted((read("train") | read("dev")).items())
    }


_KNOWN = {
    "flickr8k": _flickr8k,
    "coco": _coco,
    **{name: partial(_labelled, name) for name in ("imagenet", "scenes", "pets", "daquar")},
}


def _words(captions: list[str]) -> list[set[str]]:
    return [set(re.findall(r"[a-z]+", caption.lower())) for caption in captions]


def _has(source: str, known: Known, concept: dict[str, str]) -> int:
    """Return 1 if a photo has what a concept names, 0 if not, -1 if nobody said."""
    if source in concept.get("sets", "").split():
        return 1
    if source in concept.get("never", "").split():
        return 0
    if source == "imagenet":
        below = _below(concept)
        return int(known.label in below) if below else -1
    if source in ("scenes", "pets"):
        labels = concept.get(source, "").split()
        return int(known.label in labels) if labels else -1
    boxed = _is_boxed(known.boxes, concept.get("boxes", ""))
    said = _is_said(known.captions, _inflected(concept.get("captions", "")))
    return said if boxed is None or (boxed == 0 and said == 1) else boxed


def _is_boxed(boxes: list[datasets.Box] | None, things: str) -> int | None:
    """The same by the boxes of a photo: 1 if there is a large one, -1 if all are small."""
    if boxes is None or not things:
        return None
    sizes = [box.w * box.h for box in boxes if box.label in things.split(", ")]
    return 0 if not sizes else 1 if max(sizes) > LARGE else -1


def _is_said(captions: list[set[str]] | None, words: set[str]) -> int:
    """The same by the captions of a photo: 1 if two have one of the words, 0 if none has."""
    if captions is None or not words:
        return -1
    mentions = sum(bool(words & caption) for caption in captions)
    return 0 if not mentions else 1 if mentions > 1 else -1


def _inflected(words: str) -> set[str]:
    return {word + ending for word in words.split() for ending in ("", "s", "es")}


@cache
def _hypernyms() -> dict[str, str]:
    words: dict[str, str] = tomllib.loads(HYPERNYMS.read_text("utf-8"))["words"]
    return words


def _below(concept: dict[str, str]) -> frozenset[int]:
    """Return the classes of ImageNet below a concept."""
    above = [word for word in concept.get("imagenet", "").split(", ") if word]
    return frozenset(index for word in above for index in indices(_hypernyms()[word]))


class Directions(NamedTuple):
    """The mean photo (1280,), and of each concept its direction, (concepts, 1280)."""

    mean: np.ndarray
    basis: np.ndarray


def directions(
    photos: Photos, rows: np.ndarray, weight: np.ndarray, below: Iterable[Iterable[int]]
) -> Directions:
    """Find the direction of each concept by some of the photos; of unit variance among them."""
    share = _shares(photos.source, rows)[rows]
    mean = share @ photos.values[rows]
    both = np.concatenate([photos.values[rows], photos.mirrored[rows]]) - mean
    covariance = (both * np.tile(share, 2)[:, None] / 2).T @ both.astype(np.float64)
    sizes = np.sqrt(np.diag(covariance)) + 1e-3
    variances, axes = np.linalg.eigh(covariance / sizes[:, None] / sizes)
    inverse = axes / (variances + SHRINKAGE * variances.mean()) @ axes.T / sizes[:, None] / sizes
    basis = []
    for has, classes in zip(photos.has.T, below, strict=True):
        positive = rows & (has == 1)
        direction = _of_unit_variance(
            inverse @ (_mean(photos, positive) - _mean(photos, rows & (has == 0))), covariance
        )
        if len(ids := list(classes)) >= BELOW:
            head = _of_unit_variance(weight[ids].mean(0), covariance)
            direction += 2 * FEW / (FEW + positive.sum()) * head
        basis.append(_of_unit_variance(direction, covariance))
    return Directions(mean, np.array(basis))


def _of_unit_variance(direction: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    return direction / np.sqrt(direction @ covariance @ direction)


def _mean(photos: Photos, rows: np.ndarray) -> np.ndarray:
    """Return the mean photo of some; a set counts as the root of its number of photos."""
    sums, weights = np.zeros(photos.values.shape[1]), 0.0
    for name in SETS:
        ours = rows & (photos.source == name)
        if number := ours.sum():
            both = photos.values[ours].mean(0) + photos.mirrored[ours].mean(0)
            sums += np.sqrt(number) * both / 2
            weights += np.sqrt(number)
    return sums / weights


def _shares(source: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the weight of each photo: those of each set together as much as of another."""
    share = np.zeros(len(source))
    for name in np.unique(source[rows]):
        ours = rows & (source == name)
        share[ours] = 1 / ours.sum()
    return share / share.sum()


def judge(scores: np.ndarray, has: np.ndarray, rows: np.ndarray) -> Judged:
    """Count for each concept the photos that have it, and those among the strongest."""
    photos, strongest = [], []
    for j in range(has.shape[1]):
        ranked = _ranked(scores[:, j], has[:, j], rows)[0]
        photos.append(ranked.sum())
        strongest.append(ranked[:STRONGEST].sum())
    return Judged(np.array(photos), np.array(strongest))


def _ranked(scores: np.ndarray, has: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each photo has it, where that is known, and the scores; highest first."""
    known = np.flatnonzero(rows & (has >= 0))
    order = known[np.argsort(-scores[known], kind="stable")]
    return has[order] == 1, scores[order]


def _threshold(scores: np.ndarray, has: np.ndarray, rows: np.ndarray) -> float:
    """Return the lowest score at and above which a share of `SEEN` has it."""
    hits, ranked = _ranked(scores, has, rows)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(ranked[np.flatnonzero(precision >= SEEN)[-1]])


def take_apart(
    photos: Photos,
    scores: np.ndarray,
    weight: np.ndarray,
    below: Sequence[frozenset[int]],
    rows: np.ndarray,
) -> np.ndarray:
    """Return what each name adds to each class per unit of its score, (1000, names).

    Least squares over some of the photos. A name cannot speak against a class that it comes with
    or stands above, nor for one that it does not come with, whatever the other names do; and a
    kind of animal speaks for animals only, a kind of thing for things.
    """
    share = _shares(photos.source, rows)[rows][:, None]
    found = scores[rows] - (share * scores[rows]).sum(0)
    logits = photos.values[rows] @ weight.T
    logits -= (share * logits).sum(0)
    among, with_logits = (found * share).T @ found, (found * share).T @ logits
    root = np.linalg.cholesky(among)  # least squares of as many rows as there are names
    targets = np.linalg.solve(root, with_logits)
    signs = np.sign(with_logits)
    for sign, classes in zip(signs, below, strict=True):
        if classes and max(classes) < ANIMALS:
            sign[ANIMALS:] = sign[ANIMALS:].clip(max=0)
        elif classes:
            sign[:ANIMALS] = sign[:ANIMALS].clip(max=0)
        sign[list(classes)] = 1
    return np.stack(
        [nnls(root.T * signs[:, c], targets[:, c])[0] * signs[:, c] for c in range(len(weight))]
    )


def _print_shares(
    source: np.ndarray, adds: np.ndarray, seen: np.ndarray, total: np.ndarray
) -> None:
    speaks_for = adds.clip(min=0)
    whole = speaks_for.sum(1) + (total - adds.sum(1)).clip(min=0)
    print("of what speaks for the network's first choice, median over photos:")
    for name in ("imagenet", "coco"):
        ours = source == name
        said = np.median((speaks_for * seen).sum(1)[ours] / whole[ours])
        named = np.median(speaks_for.sum(1)[ours] / whole[ours])
        none = 1 - ((speaks_for * seen)[ours] > 0.03 * whole[ours, None]).any(1).mean()
        print(f"  {name}: {said:.3f} said, {named:.3f} has a name; nothing to say: {none:.3f}")
    said = np.median((speaks_for * seen).sum(1) / whole)
    print(f"  both: {said:.3f} said, {np.median(speaks_for.sum(1) / whole):.3f} has a name")


def _print_single_channels(photos: Photos, judged: np.ndarray, half: np.ndarray) -> None:
    """Name each single channel by half of the photos, and judge it by the others."""
    chosen, held_out = (_strongest(photos, judged & part) for part in (half, ~half))
    common = chosen - _commonness(photos.has, judged & half)  # else all were "person"
    best, channels = common.argmax(0), np.arange(common.shape[1])
    good = chosen[best, channels] >= LEAST
    right = held_out[best, channels][good].mean()
    expected = _commonness(photos.has, judged & ~half)[best[good]].mean()
    print(f"single channels with a name by half of the photos: {good.sum()} of {len(good)};")
    print(f"  of the other half's 10 strongest have it {right:.3f}, by chance {expected:.3f}")
    said = Counter(list(tomllib.loads(CONCEPTS.read_text("utf-8")))[j] for j in best[good])
    print(f"  {len(said)} names, {said.most_common(5)}")


def _strongest(photos: Photos, rows: np.ndarray) -> np.ndarray:
    """Of the 10 photos where a channel is strongest, the share that has it: (concepts, 1280)."""
    shares = []
    for has in photos.has.T:
        known = np.flatnonzero(rows & (has >= 0))
        order = np.argpartition(-photos.values[known], STRONGEST, axis=0)[:STRONGEST]
        shares.append((has[known][order] == 1).mean(0))
    return np.array(shares)


def _commonness(has: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return of how many photos each concept is, where that is known: (concepts, 1)."""
    return ((has[rows] == 1).sum(0) / (has[rows] >= 0).sum(0).clip(min=1))[:, None]


if __name__ == "__main__":
    typer.run(main)
