"""Whether a word's heat map shows what the word depends on (the paper's section 5.3).

Squares of the picture are covered one after the other, and each time the word's
log-probability is taken again. What Grad-CAM marks should be what makes it drop: the rank
correlation of the two is reported, against maps of the same head with its weights shuffled.

And whether it lies on the thing (section 8.1): words of captions that people wrote of COCO's
photos are mapped to the 80 kinds of things that have boxes. The pointing game (Zhang et al. 2016)
counts maps with their maximum in a box of that kind; inside/outside is the mean heat in the boxes
by that outside of them.

    python -m benchmarks.grounding ../shared/data
"""

import copy
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor, nn
from tqdm import tqdm

import gradcam_core
from benchmarks.captioning import things
from gradcam_core.image.geometry import enlarge
from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import Model, Target
from training import datasets

SEED = 0
SIDE = 224  # of the maps that boxes are compared with
PATCH = 64  # side of the square that is covered, in pixels of the network's 224 x 224 input
# Things that can be pointed at, and that are in many captions.
_NOUNS = (
    "dog dogs man men woman women boy boys girl girls child children person people player bike "
    "bicycle ball horse car cat snowboarder skateboard skateboarder surfer biker water snow grass "
    "beach mountain pool street rock tree hat shirt"
)
NOUNS = frozenset(_NOUNS.split())

# A picture after the CNN, what is said of it, and which of the target's terms are looked at.
Case = tuple[Encoded, Target, list[int]]


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k/ and coco/")],
    photos: Annotated[int, typer.Option(help="Number of photos of Flickr8k's dev split")] = 100,
    model: Annotated[str, typer.Option(help="A captioner's name")] = "lite0-caption",
) -> None:
    """Print the rank correlation for nouns of the model's own captions, and the pointing game."""
    captioner = gradcam_core.load(model)
    names = list(datasets.flickr8k(data, "dev"))
    names = random.Random(SEED).sample(names, photos)
    cases = list(nouns(captioner, datasets.pictures(data, "flickr8k", names)))
    report("nouns of captions", captioner, cases)
    pointing(captioner, data)


def pointing(model: Model, data: Path) -> None:
    """Print how the maps of people's words lie to the boxes of what they mean."""
    written, boxes = datasets.coco_captions(data, "dev"), datasets.coco_boxes(data)
    names = [name for name in written if name in boxes]
    hits, ratios, chance = [], [], []
    for name, photo in tqdm(datasets.pictures(data, "coco", names), "pointing", total=len(names)):
        encoded = model.encode(photo)
        for text in written[name]:
            try:
                target = model.target(text)
            except ValueError:  # a word that it does not know, or a long caption
                continue
            maps = term_maps(model, encoded, target)
            for word, heat in zip(target.words, maps, strict=True):
                inside = _inside([box for box in boxes[name] if box.label in things(word)])
                if heat.any() and 0 < inside.mean() < 1:
                    large = enlarge(heat, (SIDE, SIDE))
                    hits.append(inside[np.unravel_index(large.argmax(), large.shape)])
                    ratios.append(large[inside].mean() / max(large[~inside].mean(), 1e-9))
                    chance.append(inside.mean())
    print(
        f"pointing game, {len(hits)} words of people's captions of {len(names)} photos: "
        f"{np.mean(hits):.3f} (the boxes' share of the picture {np.mean(chance):.3f}); "
        f"inside/outside {np.median(ratios):.2f} (median)"
    )


def _inside(boxes: Sequence[datasets.Box]) -> np.ndarray:
    """Which pixels some boxes cover, (SIDE, SIDE) bool."""
    covered = np.zeros((SIDE, SIDE), bool)
    for box in boxes:
        rows, columns = (
            slice(round(start * SIDE), round((start + size) * SIDE))
            for start, size in ((box.y, box.h), (box.x, box.w))
        )
        covered[rows, columns] = True
    return covered


def nouns(model: Model, photos: Iterable[tuple[str, Image.Image]]) -> Iterator[Case]:
    """Give the nouns of the model's own caption of each photo that has some."""
    for _, photo in photos:
        encoded = model.encode(photo)
        target = model.target(model.predict(encoded, k=1)[0].text)
        positions = [i for i, word in enumerate(target.words) if word in NOUNS]
        if positions:
            yield encoded, target, positions


def report(label: str, model: Model, cases: Sequence[Case]) -> None:
    """Print the mean rank correlation over cases, of the model's maps and of shuffled ones."""
    makers = {"trained": model, "head shuffled": shuffled(model)}
    found = {name: [] for name in makers}
    for encoded, target, positions in tqdm(cases, label):
        drops = occlusion(model, encoded, target)
        for name, maker in makers.items():
            maps = term_maps(maker, encoded, target)
            found[name] += [rank_correlation(maps[i], drops[i]) for i in positions]
    for name, values in found.items():
        error = np.std(values) / np.sqrt(len(values))
        print(
            f"{label}, {len(values)} in {len(cases)} photos, patch {PATCH}, {name}: "
            f"{np.mean(values):.3f} +- {error:.3f}"
        )


def rank_correlation(heat: np.ndarray, drops: np.ndarray) -> float:
    """Return Spearman's; 0 for a map of zeros, which ranks nothing."""
    return spearmanr(heat.flatten(), drops.flatten()).statistic if heat.any() else 0.0


def term_maps(model: Model, encoded: Encoded, target: Target) -> np.ndarray:
    """Return the Grad-CAM maps (n, h, w) of the terms of the target's score."""
    terms = model.score_terms(encoded, target).terms
    return grad_cam(encoded.activations, gradients(terms, encoded.activations)).numpy()


@torch.no_grad()
def occlusion(model: Model, encoded: Encoded, target: Target) -> np.ndarray:
    """Return how far each term drops when a grey square covers each cell: (n, h, w)."""
    before = model.score_terms(encoded, target).terms
    rows, columns = encoded.activations.shape[2:]
    drops = [
        before - model.score_terms(_encoded(model.backbone, pixels, encoded.layer), target).terms
        for pixels in _covered(encoded.pixels, rows, columns)
    ]
    return torch.stack(drops, 1).view(-1, rows, columns).numpy()


def shuffled(model: Model) -> Model:
    """Return the model with the numbers within each weight of its head in random order."""
    torch.manual_seed(SEED)
    wrong = copy.copy(model)
    for name, module in vars(model).items():
        if isinstance(module, nn.Module):
            head = copy.deepcopy(module)
            for weight in head.parameters():
                weight.copy_(weight.flatten()[torch.randperm(weight.numel())].view_as(weight))
            setattr(wrong, name, head)
    return wrong


def _covered(pixels: Tensor, rows: int, columns: int) -> Iterator[Tensor]:
    height, width = pixels.shape[2:]
    for row in range(rows):
        for column in range(columns):
            y, x = (row + 0.5) * height / rows, (column + 0.5) * width / columns
            top, left = max(0, round(y - PATCH / 2)), max(0, round(x - PATCH / 2))
            picture = pixels.clone()
            picture[:, :, top : round(y + PATCH / 2), left : round(x + PATCH / 2)] = 0  # mid-grey
            yield picture


def _encoded(backbone: Backbone, pixels: Tensor, layer: str) -> Encoded:
    activations = backbone.to_layer(pixels, layer)
    return Encoded(layer, activations, backbone.from_layer(activations, layer), pixels)


if __name__ == "__main__":
    typer.run(main)
