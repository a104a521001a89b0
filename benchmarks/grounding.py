"""Whether a word's heat map shows what the word depends on (the paper's section 5.3).

Squares of the picture are covered one after the other, and each time the word's
log-probability is taken again. What Grad-CAM marks should be what makes it drop: the rank
correlation of the two is reported, against maps of the same head with its weights shuffled.

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
from benchmarks.captioning import pictures
from gradcam_core.methods.cams import grad_cam
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import Model, Target
from training.captioning import flickr8k

SEED = 0
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
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k/")],
    photos: Annotated[int, typer.Option(help="Number of photos of the dev split")] = 100,
) -> None:
    """Print the rank correlation for the nouns of lite0-caption's own captions."""
    model = gradcam_core.load("lite0-caption")
    names = [picture.name for picture in flickr8k(data, "dev")]
    names = random.Random(SEED).sample(names, photos)
    cases = list(nouns(model, pictures(data / "flickr8k", names)))
    report("nouns of captions", model, cases)


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
