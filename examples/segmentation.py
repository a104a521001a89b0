"""Explain a segmentation: which pixels make the network label a region "triangle"?

python examples/segmentation.py [folder]
"""

import sys
from pathlib import Path

import numpy as np
import torch
from shapes import NAMES, as_input, draw, train
from torch import Tensor, nn

from gradcam_core import explain, wrap


def network() -> nn.Module:
    """Return a small fully convolutional network; it gives each pixel a class, 0 for none."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, 1, 2, dilation=2), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 3, 1, 4, dilation=4), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 1 + len(NAMES), 1),
        nn.Upsample(scale_factor=4, mode="bilinear"),
    )  # fmt: skip


def main(folder: Path) -> None:
    torch.manual_seed(0)
    segmenter = network()
    train(segmenter, steps=150, learn_masks=True, rate=3e-3)

    kind = NAMES.index("triangle")
    picture, mask = draw(kind, np.random.default_rng(2))
    model = wrap(segmenter, as_input, name="segmenter")
    region = torch.from_numpy(np.array(mask) > 0)
    with torch.no_grad():
        found = segmenter(as_input(picture)[None])[0].argmax(0)
    print(f"{(found[region] == kind + 1).float().mean():.0%} of the triangle's pixels are found.")

    def triangle(output: Tensor) -> Tensor:
        return output[0, kind + 1][region].sum()  # y^c, summed over a region

    explanation = explain(picture, model=model, target=triangle)
    inside = explanation.heatmap[region.numpy()].sum() / explanation.heatmap.sum()
    print(f"{explanation}; {inside:.0%} of the map is on the shape")
    explanation.save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "examples/out") / "segmentation")
