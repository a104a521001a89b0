"""Explain the similarity of two pictures: which part of a collage resembles the photo of a cat?

python examples/similarity.py [folder]
"""

import sys
from pathlib import Path

import torch
from PIL import Image
from skimage import data
from torch import Tensor, nn

from gradcam_core import explain, load, wrap


def main(folder: Path) -> None:
    # The embedded EfficientNet-Lite0 without its classes: a picture becomes 1280 numbers.
    backbone = load("lite0").backbone
    embed = nn.Sequential(*backbone.stages.values(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def as_input(image: Image.Image) -> Tensor:
        return backbone.preprocess(image)[0]

    cat, coffee, astronaut, rocket = (
        Image.fromarray(photo()).resize((224, 224))
        for photo in (data.chelsea, data.coffee, data.astronaut, data.rocket)
    )
    collage = Image.new("RGB", (448, 448))
    mirrored = cat.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for place, photo in {
        (0, 0): coffee, (224, 0): astronaut, (0, 224): rocket, (224, 224): mirrored
    }.items():  # fmt: skip
        collage.paste(photo, place)
    with torch.no_grad():
        reference = embed(as_input(cat))

    def similarity(output: Tensor) -> Tensor:
        return nn.functional.cosine_similarity(output, reference)

    explanation = explain(collage, model=wrap(embed, as_input, name="lite0"), target=similarity)
    share = explanation.heatmap[224:, 224:].sum() / explanation.heatmap.sum()
    print(f"{explanation}; {share:.0%} of the map is on the cat's quarter")
    explanation.save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "examples/out") / "similarity")
