"""Does a word's heat map show what the word depends on? The paper's section 5.3.

A square covers one part of the picture after another, and each time the word's log-probability is
computed again. Grad-CAM should mark the parts where it drops: reported is the rank correlation of
the two, also for maps of the same head with shuffled weights.

And does it lie on the object (section 8.1)? Words of people's captions of COCO photos are mapped
to the 80 classes that have boxes. The pointing game (Zhang et al. 2016) counts maps with their
maximum in a box of that class; inside/outside is the mean of the map inside the boxes, divided by
that outside.

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
from torch import Tensor, nn
from tqdm import tqdm

import gradcam_core
from benchmarks.captioning import things
from gradcam_core.image.geometry import enlarge
from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import gradients
from gradcam_core.methods.perturbation import score_inputs
from gradcam_core.metrics.metric import rank_correlation
from gradcam_core.models.base import Head, Model, ResolvedTarget
from training import datasets

SEED = 0
SIDE = 224  # of the maps that are compared with boxes
PATCH = 64  # side of the occluding square, in pixels of the network's 224 x 224 input
# Nouns of visible things that are in many captions.
_NOUNS = (
    "dog dogs man men woman women boy boys girl girls child children person people player bike "
    "bicycle ball horse car cat snowboarder skateboard skateboarder surfer biker water snow grass "
    "beach mountain pool street rock tree hat shirt"
)
NOUNS = frozenset(_NOUNS.split())

# The model looking at a picture, a caption of it, and the positions of the words to evaluate.
Case = tuple[Head, ResolvedTarget, list[int]]


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
    """Print whether the maps of people's words lie in the boxes of what they mean."""
    written, boxes = datasets.coco_captions(data, "dev"), datasets.coco_boxes(data)
    names = [name for name in written if name in boxes]
    hits, ratios, chance = [], [], []
    for name, photo in tqdm(datasets.pictures(data, "coco", names), "pointing", total=len(names)):
        head = model.bind(model.encode(photo))
        for text in written[name]:
            try:
                target = head.target(text)
            except ValueError:  # an unknown word, or a caption that is too long
                continue
            maps = term_maps(head, target)
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
    """Return which pixels the boxes cover, (SIDE, SIDE) bool."""
    covered = np.zeros((SIDE, SIDE), bool)
    for box in boxes:
        rows, columns = (
            slice(round(start * SIDE), round((start + size) * SIDE))
            for start, size in ((box.y, box.h), (box.x, box.w))
        )
        covered[rows, columns] = True
    return covered


def nouns(model: Model, photos: Iterable[tuple[str, Image.Image]]) -> Iterator[Case]:
    """Yield the model's own caption of each photo, with its nouns, if it has any."""
    for _, photo in photos:
        head = model.bind(model.encode(photo))
        target = head.target()
        positions = [i for i, word in enumerate(target.words) if word in NOUNS]
        if positions:
            yield head, target, positions


def report(label: str, model: Model, cases: Sequence[Case]) -> None:
    """Print the mean rank correlation over cases, for the model and for its shuffled head."""
    models = {"trained": model, "head shuffled": shuffled(model)}
    found = {name: [] for name in models}
    for head, target, positions in tqdm(cases, label):
        drops = occlusion(head, target)
        for name, each in models.items():
            maps = term_maps(each.bind(head.encoded, head.question), target)
            found[name] += [rank_correlation(maps[i], drops[i]) for i in positions]
    for name, values in found.items():
        error = np.std(values) / np.sqrt(len(values))
        print(
            f"{label}, {len(values)} in {len(cases)} photos, patch {PATCH}, {name}: "
            f"{np.mean(values):.3f} +- {error:.3f}"
        )


def term_maps(head: Head, target: ResolvedTarget) -> np.ndarray:
    """Return the Grad-CAM maps (n, h, w) of the terms of the target's score."""
    activations = head.encoded.activations
    (score,) = head.scores([target])
    return grad_cam(activations, gradients(score.terms, activations)).numpy()


def occlusion(head: Head, target: ResolvedTarget) -> np.ndarray:
    """Return the drop of each term when a grey square covers each cell: (n, h, w)."""
    rows, columns = head.encoded.activations.shape[2:]
    inputs = (_occluded(head.encoded.pixels, rows, columns), rows * columns)
    before = head.own_score(target).terms
    drops = [before - score.terms for score in score_inputs(head, target, inputs)]
    return torch.stack(drops, 1).view(-1, rows, columns).numpy()


def shuffled(model: Model) -> Model:
    """Return the model with the values of each weight of its head in random order."""
    torch.manual_seed(SEED)
    wrong = copy.copy(model)
    for name, module in vars(model).items():
        if isinstance(module, nn.Module):
            head = copy.deepcopy(module)
            for weight in head.parameters():
                weight.copy_(weight.flatten()[torch.randperm(weight.numel())].view_as(weight))
            setattr(wrong, name, head)
    return wrong


def _occluded(pixels: Tensor, rows: int, columns: int) -> Iterator[Tensor]:
    height, width = pixels.shape[2:]
    for row in range(rows):
        for column in range(columns):
            y, x = (row + 0.5) * height / rows, (column + 0.5) * width / columns
            top, left = max(0, round(y - PATCH / 2)), max(0, round(x - PATCH / 2))
            picture = pixels.clone()
            picture[:, :, top : round(y + PATCH / 2), left : round(x + PATCH / 2)] = 0  # mid-grey
            yield picture


if __name__ == "__main__":
    typer.run(main)
