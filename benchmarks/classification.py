"""How often a classifier is right about ImageNet photos, and how well Grad-CAM finds them.

python -m benchmarks.classification ../shared/data
"""

import io
import random
import tarfile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from timm.data import ImageNetInfo
from tqdm import tqdm

import gradcam_core

SIDE = 224  # of a quarter of the collage, pixels
SEED = 0


def main(
    data: Annotated[Path, typer.Argument(help="Folder with imagenet/images.tar")],
    name: Annotated[str, typer.Option("--model", help="Trained on ImageNet-1k")] = "lite0",
) -> None:
    """Print top-1 accuracy and the share and the peak of the heat map in the right quarter."""
    photos = read_photos(data / "imagenet" / "images.tar")
    model = gradcam_core.load(name, "classification")
    right, confident, guesses = 0, [], []
    for wnid, photo in tqdm(photos.items(), desc="classify"):
        best = model.predict(model.encode(photo), k=1)[0]
        correct = model.target(best.text).ids == (class_index(wnid),)
        right += correct
        if best.probability < model.unsure_below:
            guesses.append(correct)
        if correct and best.probability >= 0.8:
            confident.append((best.text, photo))
    print(f"top-1 on {len(photos)} photos: {right / len(photos):.3f}")

    if guesses:
        below = f"{len(guesses)} of them are said with less than {model.unsure_below}"
        print(f"{below} and called a guess, right of these: {np.mean(guesses):.3f}")

    drawing = random.Random(SEED)
    drawing.shuffle(confident)
    shares, hits, faint, faint_of_none = [], [], [], []
    collages = [confident[i : i + 4] for i in range(0, len(confident) - 3, 4)]
    for quarters in tqdm(collages, desc="collages"):
        picture = collage([photo for _, photo in quarters])
        for position, (target, _) in enumerate(quarters):
            explanation = gradcam_core.explain(picture, target=target, model=name)
            if target != explanation.predictions[0].text:
                faint.append(explanation.hardly_any_evidence)
            other = gradcam_core.explain(picture, target=drawing.randrange(1000), model=name)
            faint_of_none.append(other.hardly_any_evidence or other.no_evidence)
            heatmap = explanation.heatmap
            row, column = divmod(position, 2)
            quarter = heatmap[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
            shares.append(quarter.sum() / max(heatmap.sum(), 1e-12))
            hits.append(quarter.max() == heatmap.max() > 0)
    print(f"{len(collages)} collages of four of the {len(confident)} photos right with p >= 0.8:")
    print(f"mean share of the heat map in the right quarter: {np.mean(shares):.3f}")
    print(f"its maximum in the right quarter: {np.mean(hits):.3f}")
    print(f"hardly any evidence for a photo's class, if not said first: {np.mean(faint):.3f}")
    print(f"hardly any or none for a class drawn by lot: {np.mean(faint_of_none):.3f}")


def read_photos(archive: Path) -> dict[str, Image.Image]:
    """Return the photos of a tar by name without suffix, RGB."""
    with tarfile.open(archive) as tar:
        return {
            Path(member.name).stem: Image.open(io.BytesIO(tar.extractfile(member).read())).convert(
                "RGB"
            )
            for member in tar
            if member.isfile()
        }


def class_index(wnid: str) -> int:
    """Return the index of an ImageNet-1k class from its WordNet id."""
    return _WNIDS.index(wnid)


def collage(photos: list[Image.Image]) -> Image.Image:
    """Lay four photos out 2 x 2, each squashed to `SIDE` x `SIDE`."""
    canvas = Image.new("RGB", (2 * SIDE, 2 * SIDE))
    for position, photo in enumerate(photos):
        row, column = divmod(position, 2)
        canvas.paste(
            photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (column * SIDE, row * SIDE)
        )
    return canvas


_INFO = ImageNetInfo("imagenet-1k")
_WNIDS = _INFO.label_names()

if __name__ == "__main__":
    torch.manual_seed(SEED)
    typer.run(main)
