"""What each part of Grad-CAM contributes: the paper's appendix B.

    python -m benchmarks.ablations ../shared/data --photos 60

Localization with the class known, and the pointing game, on COCO photos with their boxes: with the
mean or the maximum of the gradient, with and without the ReLU, at several layers. Means with 95 %
intervals, bootstrapped over photos.
"""

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor
from tqdm import tqdm

import gradcam_core
from benchmarks.evaluate import boxed, hit_and_miss, known_objects
from benchmarks.evaluate_tables import SEED, cell
from gradcam_core.methods.cams import grad_cam, weighted_map
from gradcam_core.methods.gradients import Cam, gradients

LAYERS = 4  # the last ones


def _maximum(activations: Tensor, gradient: Tensor) -> Tensor:
    return weighted_map(activations, gradient.amax((2, 3)))


def _without_relu(activations: Tensor, gradient: Tensor) -> Tensor:
    """Return the signed map shifted to a minimum of 0, so that the threshold is of its range."""
    signed = torch.einsum("nk,kij->nij", gradient.mean((2, 3)), activations.detach()[0])
    return signed - signed.amin((1, 2), keepdim=True)


VARIANTS: dict[str, Cam] = {
    "Grad-CAM: mean, ReLU": grad_cam,
    "maximum, ReLU": _maximum,
    "mean, no ReLU": _without_relu,
}


def main(
    data: Annotated[Path, typer.Argument(help="Folder with coco/")],
    photos: Annotated[int, typer.Option(help="Number of photos")] = 60,
    name: Annotated[str, typer.Option("--model", help="Trained on ImageNet-1k")] = "lite0",
) -> None:
    """Print the table."""
    model = gradcam_core.load(name, "classification")
    layers = list(model.layers)[-LAYERS:]
    found: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for _, photo, boxes in tqdm(boxed(data, photos), total=photos, desc="photos"):
        for layer in layers:
            head = model.bind(model.encode(photo, layer))
            activations = head.encoded.activations
            rows: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
            for target, there in known_objects(head, photo, boxes):
                (score,) = head.scores([target])
                gradient = gradients(score.terms, activations)
                for variant, cam in VARIANTS.items():
                    raw = cam(activations, gradient)[0].cpu().numpy()
                    rows[variant].append(hit_and_miss(raw, photo, there))
            for variant, results in rows.items():
                found[layer, variant].append(np.mean(results, axis=0))
    draw = np.random.default_rng(SEED)
    print(
        "\n| layer | map | pointing game (higher is better) | localization error (lower) | photos |"
    )
    print("|---|---|---|---|---|")
    for (layer, variant), values in found.items():
        cells = [cell([float(value[i]) for value in values], draw) for i in (0, 1)]
        print(f"| {layer} | {variant} | {' | '.join(cells)} | {len(values)} |")


if __name__ == "__main__":
    typer.run(main)
