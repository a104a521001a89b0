"""Find named directions among the channels of the last feature map: the concepts of lite0.

    python -m training.channels ../shared/data --work ../scratch

The Grad-CAM paper (section 7) names single channels by network dissection. A single channel of
this network means many things at once (the output says how well their names fit), so weighted sums
of all channels are named instead, and classes are decomposed into them (Zhou et al. 2018,
"Interpretable Basis Decomposition"). `concepts.toml` has the names, and rules for which photos
show each concept.

A direction comes from linear discriminant analysis: S^-1 (mean of the photos with the concept -
mean of those without), where S is the covariance of all photos. For concepts with few photos, the
mean of the classifier's weights for the classes below the concept ("bird": 59 classes) is added.
All figures are cross-validated: a photo's response comes from directions that were fitted without
it, and each ImageNet class has only one photo. A name is kept if at least 6 of the 10 photos with
the strongest response show the concept. The concept counts as seen from the response on where half
of the photos show it.

A class's logit above the mean of all logits is then a sum of concepts, by least squares, and an
unnamed rest.
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
JUDGED = 600  # largest number of photos per set for judging names
FOLDS = 5
STRONGEST = 10
LEAST = 0.6  # share of these that must show the concept for its name to be kept
SEEN = 0.5  # share of photos at or above the threshold that must show the concept
FEWEST = 5  # photos with the concept for its name to be tried
FEW = 60  # number of photos that count as much as the classifier's weights
BELOW = 5  # classes below a concept for the classifier's weights to be used
SHRINKAGE = 1.0  # of the covariance, relative to the mean variance
ANIMALS = 398  # the first classes of ImageNet
LARGE = 0.02  # least area of a box, as a share of the picture, for the thing to be visible
SEED = 1


class Photos(NamedTuple):
    """All photos.

    Attributes:
        source: (n,), the set of each photo.
        names: The name of each photo in its set.
        values: (n, 1280) float32, the mean of each channel.
        mirrored: (n, 1280) float32, the same for the mirrored photo.
        has: (n, concepts) int8: 1 if it shows the concept, 0 if not, -1 if unknown.
    """

    source: np.ndarray
    names: list[str]
    values: np.ndarray
    mirrored: np.ndarray
    has: np.ndarray


class NameQuality(NamedTuple):
    """For each concept: how many photos show it, and how many of the 10 strongest do."""

    photos: np.ndarray
    strongest: np.ndarray


def main(
    data: Annotated[Path, typer.Argument(help="Folder of all data sets")],
    work: Annotated[Path, typer.Option(help="Folder for the features")],
) -> None:
    """Write the concepts with their directions, and print how well the names fit."""
    concepts = tomllib.loads(CONCEPTS.read_text("utf-8"))
    photos = read(data, work / "features", concepts)
    layer = lite_classifier_layer(0)
    weight, bias = layer.weight.detach().numpy().astype(np.float64), layer.bias.detach().numpy()
    weight -= weight.mean(0)  # above the mean of all logits
    below = {name: classes_below(concept) for name, concept in concepts.items()}
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(photos.names))
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
    seen = np.array([threshold(scores[:, j], photos.has[:, j], judged) for j in kept])
    without = np.array([np.median(scores[judged & (photos.has[:, j] == 0), j]) for j in kept])

    print(f"{len(fold)} photos, {judged.sum()} to judge by; {len(tried)} names tried")
    print(f"share of the 10 strongest that show it: {every.strongest[tried].mean() / 10:.3f}")
    print(f"{len(kept)} names kept, with a share of {every.strongest[kept].mean() / 10:.3f}")
    first, second = (judge(scores, photos.has, judged & part) for part in (half, ~half))
    chosen = np.flatnonzero((first.photos >= 4) & (first.strongest >= LEAST * STRONGEST))
    share = second.strongest[chosen].mean() / 10
    print(f"kept by one half of the photos: {len(chosen)}; share in the other half: {share:.3f}")
    _print_single_channels(photos, judged, half)

    logits = photos.values @ layer.weight.detach().numpy().T + bias
    ours = np.flatnonzero(np.isin(photos.source, ["imagenet", "coco"]))
    best = logits[ours].argmax(1)
    adds = np.empty((len(ours), len(kept)))
    for held in tqdm(range(FOLDS), "classes"):
        parts = decompose(photos, scores[:, kept], weight, classes, fold != held)
        mine = fold[ours] == held
        adds[mine] = (scores[np.ix_(ours[mine], kept)] - without) * parts[best[mine]]
    total = logits[ours, best] - logits[ours].mean(1)
    _print_shares(photos.source[ours], adds, scores[np.ix_(ours, kept)] >= seen, total)

    made = directions(photos, np.ones(len(fold), bool), weight, below.values())
    parts = decompose(photos, scores[:, kept], weight, classes, np.ones(len(fold), bool))
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
    """Read the photos of all sets, with their features and concepts."""
    source, names, values, mirrored, has = [], [], [], [], []
    for name in SETS:
        known = _KNOWN[name](data)
        pictures = data / name / "images.tar"
        found = features(pictures, list(known), ["whole", "whole-flip"], cache)
        source += [name] * len(known)
        names += known
        values.append(found[:, 0])
        mirrored.append(found[:, 1])
        has += [[has_concept(name, what, c) for c in concepts.values()] for what in known.values()]
    return Photos(
        np.array(source),
        names,
        np.concatenate(values).astype(np.float32),
        np.concatenate(mirrored).astype(np.float32),
        np.array(has, np.int8),
    )


class Annotations(NamedTuple):
    """The annotations of one photo: the words of each caption, boxes, label or class."""

    captions: list[set[str]] | None = None
    boxes: list[datasets.Box] | None = None
    label: str | int | None = None


def _flickr8k(data: Path) -> dict[str, Annotations]:
    captions = datasets.flickr8k(data, "train") | datasets.flickr8k(data, "dev")
    return {name: Annotations(_words(written)) for name, written in captions.items()}


def _coco(data: Path) -> dict[str, Annotations]:
    captions, boxes = datasets.coco_captions(data), datasets.coco_boxes(data)
    return {
        name: Annotations(_words(captions[name]) if name in captions else None, boxes.get(name))
        for name in sorted({*captions, *boxes})
    }


def _labelled(name: str, data: Path) -> dict[str, Annotations]:
    read = {
        "imagenet": lambda split: datasets.imagenet(data, split),
        "scenes": datasets.scenes,
        "pets": datasets.pets,
        "daquar": lambda split: {q.picture: "" for q in datasets.daquar(data, split)},
    }[name]
    return {
        name: Annotations(label=label)
        for name, label in sorted((read("train") | read("dev")).items())
    }


_KNOWN = {
    "flickr8k": _flickr8k,
    "coco": _coco,
    **{name: partial(_labelled, name) for name in ("imagenet", "scenes", "pets", "daquar")},
}


def _words(captions: list[str]) -> list[set[str]]:
    return [set(re.findall(r"[a-z]+", caption.lower())) for caption in captions]


def has_concept(source: str, known: Annotations, concept: dict[str, str]) -> int:
    """Return 1 if a photo shows a concept, 0 if not, -1 if unknown.

    Args:
        source: The photo's set.
        known: Its annotations.
        concept: Its row in concepts.toml.
    """
    if source in concept.get("sets", "").split():
        return 1
    if source in concept.get("never", "").split():
        return 0
    if source == "imagenet":
        below = classes_below(concept)
        return int(known.label in below) if below else -1
    if source in ("scenes", "pets"):
        labels = concept.get(source, "").split()
        return int(known.label in labels) if labels else -1
    boxed = _in_boxes(known.boxes, concept.get("boxes", ""))
    captioned = _in_captions(known.captions, _inflected(concept.get("captions", "")))
    return captioned if boxed is None or (boxed == 0 and captioned == 1) else boxed


def _in_boxes(boxes: list[datasets.Box] | None, things: str) -> int | None:
    """Return the same by the photo's boxes: 1 for a large box, -1 if all are small, or None."""
    if boxes is None or not things:
        return None
    sizes = [box.w * box.h for box in boxes if box.label in things.split(", ")]
    return 0 if not sizes else 1 if max(sizes) > LARGE else -1


def _in_captions(captions: list[set[str]] | None, words: set[str]) -> int:
    """Return the same by the photo's captions: 1 if two have one of the words, 0 if none has."""
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


def classes_below(concept: dict[str, str]) -> frozenset[int]:
    """Return the classes of ImageNet below a concept."""
    above = [word for word in concept.get("imagenet", "").split(", ") if word]
    return frozenset(index for word in above for index in indices(_hypernyms()[word]))


class Directions(NamedTuple):
    """The mean photo (1280,), and the direction of each concept, (concepts, 1280)."""

    mean: np.ndarray
    basis: np.ndarray


def directions(
    photos: Photos, rows: np.ndarray, weight: np.ndarray, below: Iterable[Iterable[int]]
) -> Directions:
    """Fit the direction of each concept to some photos; its response has unit variance."""
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
    """Return the mean of some photos; a set's weight is the square root of its number of photos."""
    sums, weights = np.zeros(photos.values.shape[1]), 0.0
    for name in SETS:
        ours = rows & (photos.source == name)
        if number := ours.sum():
            both = photos.values[ours].mean(0) + photos.mirrored[ours].mean(0)
            sums += np.sqrt(number) * both / 2
            weights += np.sqrt(number)
    return sums / weights


def _shares(source: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the weight of each photo, so that all sets have the same total weight."""
    share = np.zeros(len(source))
    for name in np.unique(source[rows]):
        ours = rows & (source == name)
        share[ours] = 1 / ours.sum()
    return share / share.sum()


def judge(scores: np.ndarray, has: np.ndarray, rows: np.ndarray) -> NameQuality:
    """Count for each concept the photos that show it, and those among the strongest."""
    photos, strongest = [], []
    for j in range(has.shape[1]):
        ranked = _ranked(scores[:, j], has[:, j], rows)[0]
        photos.append(ranked.sum())
        strongest.append(ranked[:STRONGEST].sum())
    return NameQuality(np.array(photos), np.array(strongest))


def _ranked(scores: np.ndarray, has: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each photo shows the concept, where known, and the scores; highest first."""
    known = np.flatnonzero(rows & (has >= 0))
    order = known[np.argsort(-scores[known], kind="stable")]
    return has[order] == 1, scores[order]


def threshold(scores: np.ndarray, has: np.ndarray, rows: np.ndarray) -> float:
    """Return the lowest score from which on a share of `SEEN` shows the concept; inf if none."""
    hits, ranked = _ranked(scores, has, rows)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    reached = np.flatnonzero(precision >= SEEN)
    return float(ranked[reached[-1]]) if len(reached) else np.inf


def decompose(
    photos: Photos,
    scores: np.ndarray,
    weight: np.ndarray,
    below: Sequence[frozenset[int]],
    rows: np.ndarray,
) -> np.ndarray:
    """Return what each concept adds to each class per unit of its score, (1000, concepts).

    Least squares over some photos, with constraints on the signs: a concept counts for the classes
    below it and those it is correlated with, and against the others. Kinds of animals count for
    animals only, kinds of things for things only.
    """
    share = _shares(photos.source, rows)[rows][:, None]
    found = scores[rows] - (share * scores[rows]).sum(0)
    logits = photos.values[rows] @ weight.T
    logits -= (share * logits).sum(0)
    among, with_logits = (found * share).T @ found, (found * share).T @ logits
    root = np.linalg.cholesky(among)  # the same least squares with one row per concept
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
    supporting = adds.clip(min=0)
    whole = supporting.sum(1) + (total - adds.sum(1)).clip(min=0)
    print("share of the evidence for the predicted class, median over photos:")
    for name in ("imagenet", "coco"):
        ours = source == name
        shown = np.median((supporting * seen).sum(1)[ours] / whole[ours])
        named = np.median(supporting.sum(1)[ours] / whole[ours])
        none = 1 - ((supporting * seen)[ours] > 0.03 * whole[ours, None]).any(1).mean()
        print(f"  {name}: {shown:.3f} shown, {named:.3f} named; photos without any: {none:.3f}")
    shown = np.median((supporting * seen).sum(1) / whole)
    print(f"  both: {shown:.3f} shown, {np.median(supporting.sum(1) / whole):.3f} named")


def _print_single_channels(photos: Photos, judged: np.ndarray, half: np.ndarray) -> None:
    """Name each single channel by one half of the photos, and judge it by the other."""
    chosen, held_out = (_strongest(photos, judged & part) for part in (half, ~half))
    excess = chosen - _frequency(photos.has, judged & half)  # else all would be "person"
    best, channels = excess.argmax(0), np.arange(excess.shape[1])
    good = chosen[best, channels] >= LEAST
    right = held_out[best, channels][good].mean()
    expected = _frequency(photos.has, judged & ~half)[best[good]].mean()
    print(f"single channels named by one half of the photos: {good.sum()} of {len(good)};")
    print(f"  of the other half's 10 strongest show it: {right:.3f}, by chance {expected:.3f}")
    names = Counter(list(tomllib.loads(CONCEPTS.read_text("utf-8")))[j] for j in best[good])
    print(f"  {len(names)} names, {names.most_common(5)}")


def _strongest(photos: Photos, rows: np.ndarray) -> np.ndarray:
    """Return the share of each channel's 10 strongest photos with a concept, (concepts, 1280)."""
    shares = []
    for has in photos.has.T:
        known = np.flatnonzero(rows & (has >= 0))
        order = np.argpartition(-photos.values[known], STRONGEST, axis=0)[:STRONGEST]
        shares.append((has[known][order] == 1).mean(0))
    return np.array(shares)


def _frequency(has: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the share of photos with each concept, where that is known, (concepts, 1)."""
    return ((has[rows] == 1).sum(0) / (has[rows] >= 0).sum(0).clip(min=1))[:, None]


if __name__ == "__main__":
    typer.run(main)
