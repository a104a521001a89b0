"""Explain your own ResNet: it is trained on three shapes for some seconds, then explained.

python examples/own_resnet.py [folder]
"""

import sys
from pathlib import Path

import numpy as np
import torch
from shapes import NAMES, as_input, batch, draw, train
from torchvision.models.resnet import BasicBlock, ResNet

from gradcam_core import explain, wrap


def main(folder: Path) -> None:
    torch.manual_seed(0)
    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=len(NAMES))  # a ResNet-10
    train(network, steps=100)

    unseen = np.random.default_rng(1)
    pixels, classes, _ = batch(100, unseen)
    with torch.no_grad():
        right = (network(pixels).argmax(1) == classes).float().mean()
    print(f"{right:.0%} of 100 new pictures are classified correctly.")

    # For 64 x 64 pixels, layer4 has only 2 x 2 cells; layer2 is finer.
    model = wrap(network, as_input, NAMES, layer=network.layer2, name="shapes")
    print(
        "Layers:", ", ".join(f"{name} {shape}" for name, shape in list(model.layers.items())[-3:])
    )
    for kind, name in enumerate(NAMES):
        picture, mask = draw(kind, unseen)
        explanation = explain(picture, model=model, target=name)
        inside = explanation.heatmap[np.array(mask) > 0].sum() / explanation.heatmap.sum()
        print(f"{explanation}; {inside:.0%} of the map is on the shape")
        explanation.save(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "examples/out") / "own_resnet")
