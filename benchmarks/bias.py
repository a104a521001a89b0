"""Find a bias in the maps, and remove it with balanced data: the paper's section 6.3.

    python -m benchmarks.bias ../shared/data --out bias.html

Dog or child? A linear layer on the embedded CNN is trained with Flickr8k photos of dogs on grass
and of children in water (beaches, pools) only; then with as many photos, half of each kind with
the other background. The captions tell what is in a photo. Both models are tested with 50 other
photos of each of the four kinds. Where do they look for a dog? Measured is the share of the map
that lies on the dog: in the segment that `lite0` itself marks for its likeliest class of dog.
"""

import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from sklearn.linear_model import LogisticRegression
from torch import nn
from tqdm import tqdm

import gradcam_core
from gradcam_core.metrics import segment
from gradcam_core.metrics.bias import photo_map, report
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.embedded.lite import lite_backbone
from training import datasets

SEED = 0
TESTED = 50  # photos of each kind
THINGS = {
    "dog": {"dog", "dogs", "puppy", "puppies"},
    "child": {"child", "children", "boy", "boys", "girl", "girls", "kid", "kids", "toddler"},
}
PLACES = {
    "grass": {"grass", "grassy", "field", "lawn", "yard", "park", "meadow"},
    "water": {"water", "beach", "ocean", "sea", "pool", "lake", "river", "waves", "swimming"},
}
BIASED = (("dog", "grass"), ("child", "water"))
KINDS = [(thing, place) for thing in THINGS for place in PLACES]

Kind = tuple[str, str]


class Photo(NamedTuple):
    """A photo's name, and its feature map averaged over cells, (1280,) float32."""

    name: str
    features: np.ndarray


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k/")],
    out: Annotated[
        Path | None, typer.Option(help="HTML file: where both models look for dogs in water")
    ] = None,
) -> None:
    """Train with biased and with balanced data; print accuracies and shares of the maps."""
    kinds = _kinds(data)
    pictures = dict(datasets.pictures(data, "flickr8k", {n for k in kinds.values() for n in k}))
    backbone = lite_backbone(0)
    photos: dict[Kind, list[Photo]] = {}
    for kind, names in kinds.items():
        maps = (backbone.encode(pictures[name]) for name in tqdm(names, desc=" ".join(kind)))
        pooled = [each.head_input.mean((2, 3))[0].detach().numpy() for each in maps]
        photos[kind] = [Photo(*each) for each in zip(names, pooled, strict=True)]
    tested = {kind: all_[:TESTED] for kind, all_ in photos.items()}
    # As many photos of each kind as the rarest has; twice as many of the two biased kinds.
    rest = {kind: all_[TESTED:] for kind, all_ in photos.items()}
    few = min(len(rest[kind]) * (1 if kind not in BIASED else 2) for kind in KINDS)
    sets = {
        "biased": {kind: rest[kind][: 2 * few] for kind in BIASED},
        "balanced": {kind: rest[kind][:few] for kind in KINDS},
    }
    explanations = {}
    print("\n| trained with | photos | " + " | ".join(map(" in ".join, KINDS)) + " | all four |")
    print("|---" * 7 + "|")
    for name, chosen in sets.items():
        model = _trained(name, chosen)
        right = {
            kind: np.mean([_says(model, photo) == kind[0] for photo in tested[kind]])
            for kind in KINDS
        }
        cells = [f"{right[kind]:.2f}" for kind in KINDS]
        count = sum(map(len, chosen.values()))
        print(f"| {name} | {count} | {' | '.join(cells)} | {np.mean(list(right.values())):.3f} |")
        explanations[name] = [
            gradcam_core.explain(pictures[photo.name], model=model, target="dog")
            for photo in tqdm(tested["dog", "water"], desc="maps", leave=False)
        ]
    own = gradcam_core.load("lite0", "classification")
    there = [
        segment(gradcam_core.explain(pictures[photo.name], model=own, target="dog").heatmap)
        for photo in tested["dog", "water"]
    ]
    print(f"the dog's part of the photo: {np.mean([mask.mean() for mask in there]):.2f}")
    for name, maps in explanations.items():
        shares = [
            each.heatmap[mask].sum() / max(each.heatmap.sum(), 1e-12)
            for each, mask in zip(maps, there, strict=True)
        ]
        print(f"share of the map of dogs in water that lies on the dog, {name}: ", end="")
        print(f"{np.mean(shares):.2f}")
    if out is not None:
        photo_maps = {
            name: [photo_map(each) for each in maps] for name, maps in explanations.items()
        }
        out.write_text(report("dog", photo_maps), "utf-8")


def _kinds(data: Path) -> dict[Kind, list[str]]:
    """Return the photos of each kind by their captions, shuffled."""
    found = defaultdict(list)
    for split in ("train", "dev"):
        for name, captions in sorted(datasets.flickr8k(data, split).items()):
            words = [set(re.findall("[a-z]+", caption.lower())) for caption in captions]
            thing = only(THINGS, words, least=3)
            place = only(PLACES, words, least=2)
            if thing and place:
                found[thing, place].append(name)
    for names in found.values():
        random.Random(SEED).shuffle(names)
    return found


def only(known: dict[str, set[str]], captions: list[set[str]], least: int) -> str | None:
    """Return what at least `least` captions name, if no caption names any other of `known`."""
    said = {name: sum(bool(words & each) for each in captions) for name, words in known.items()}
    named = [name for name, count in said.items() if count]
    return named[0] if len(named) == 1 and said[named[0]] >= least else None


def _trained(name: str, chosen: dict[Kind, list[Photo]]) -> Classifier:
    """Train the linear layer by logistic regression with scikit-learn's defaults."""
    features = np.stack([photo.features for all_ in chosen.values() for photo in all_])
    is_dog = [thing == "dog" for (thing, _), all_ in chosen.items() for _ in all_]
    found = LogisticRegression(max_iter=2000).fit(features, is_dog)
    weight, bias = torch.from_numpy(found.coef_).float(), torch.from_numpy(found.intercept_).float()
    layer = nn.Linear(weight.shape[1], 2)
    with torch.no_grad():  # the two logits differ by the regression's
        layer.weight.copy_(torch.cat([weight, -weight]) / 2)
        layer.bias.copy_(torch.cat([bias, -bias]) / 2)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)
    return Classifier(name, lite_backbone(0), head, [("dog",), ("child",)])


def _says(model: Classifier, photo: Photo) -> str:
    logits = model.head(torch.from_numpy(photo.features)[None, :, None, None])
    return model.labels[int(logits.argmax())]


if __name__ == "__main__":
    typer.run(main)
