"""How accurate a classifier is on ImageNet photos, and how well Grad-CAM localizes them.

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
from gradcam_core import metrics

SIDE = 224  # of a quarter of the collage, in pixels
SEED = 0


def main(
    data: Annotated[Path, typer.Argument(help="Folder with imagenet/images.tar")],
    name: Annotated[str, typer.Option("--model", help="Trained on ImageNet-1k")] = "lite0",
) -> None:
    """Print top-1 accuracy, and the share and the maximum of the map in the right quarter."""
    photos = read_photos(data / "imagenet" / "images.tar")
    model = gradcam_core.load(name, "classification")
    right, confident, guesses = 0, [], []
    for wnid, photo in tqdm(photos.items(), desc="classify"):
        head = model.bind(model.encode(photo))
        (best,) = head.predictions(1)
        correct = head.target().ids == (class_index(wnid),)
        right += correct
        if head.is_guess(best):
            guesses.append(correct)
        if correct and best.probability >= 0.8:
            confident.append((best.text, photo))
    print(f"top-1 on {len(photos)} photos: {right / len(photos):.3f}")
    if guesses:
        print(
            f"predictions below {model.unsure_below}, which are called a guess: {len(guesses)}; "
            f"correct: {np.mean(guesses):.3f}"
        )

    random_state = random.Random(SEED)
    random_state.shuffle(confident)
    shares, hits, faint, faint_random = [], [], [], []
    collages = [confident[i : i + 4] for i in range(0, len(confident) - 3, 4)]
    query = gradcam_core.Query(model=name)
    for quarters in tqdm(collages, desc="collages"):
        picture = collage([photo for _, photo in quarters])
        targets = [target for target, _ in quarters]
        classes = [random_state.randrange(1000) for _ in quarters]
        explanations = gradcam_core.Explainer().explain_targets(picture, query, targets + classes)
        for position, explanation in enumerate(explanations[:4]):
            if explanation.target != explanation.predictions[0].text:
                faint.append(explanation.faint)
            row, column = divmod(position, 2)
            box = (column * SIDE, row * SIDE, (column + 1) * SIDE, (row + 1) * SIDE)
            shares.append(metrics.share_inside(explanation.heatmap, box))
            hits.append(metrics.points_at(explanation.heatmap, box))
        faint_random += [each.faint or each.no_evidence for each in explanations[4:]]
    print(f"{len(collages)} collages of four of the {len(confident)} photos right with p >= 0.8:")
    print(f"mean share of the map in the right quarter: {np.mean(shares):.3f}")
    print(f"its maximum in the right quarter: {np.mean(hits):.3f}")
    print(f"faint map for a photo's class that is not predicted first: {np.mean(faint):.3f}")
    print(f"faint or empty map for a random class: {np.mean(faint_random):.3f}")


def read_photos(archive: Path) -> dict[str, Image.Image]:
    """Return the photos of a tar archive, RGB, by name without suffix."""
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


_WNIDS = ImageNetInfo("imagenet-1k").label_names()

if __name__ == "__main__":
    torch.manual_seed(SEED)
    typer.run(main)
