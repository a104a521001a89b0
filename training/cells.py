"""Cells of the backbone's last map, for the co-attention network; computed once, kept on disk.

A picture has 49 cells of 1280 numbers. Only the principal components of cells are kept.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from gradcam_core.models.backbone import Backbone
from gradcam_core.models.embedded.lite import lite_backbone
from training.features import every_picture

COMPONENTS = 256  # 70 % of the variance
SETS = ("coco", "imagenet", "pets", "daquar", "scenes", "flickr8k")
SAMPLE = range(0, 1200, 20)  # pictures of each set used to find the components


def components(data: Path, cache: Path, backbone: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean cell (1280,) and the principal directions (1280, `COMPONENTS`)."""
    path = cache / f"lite{backbone}-components.npz"
    if not path.exists():
        network = lite_backbone(backbone)
        found = []
        for name in tqdm(SETS, "components"):
            sample = islice(_pictures(data, name), SAMPLE.start, SAMPLE.stop, SAMPLE.step)
            found += [_cells(picture, network) for _, picture in sample]
        every = np.concatenate(found)
        mean = every.mean(0)
        _, vectors = np.linalg.eigh((every - mean).T @ (every - mean))  # the largest come last
        _save(path, mean=mean, basis=vectors[:, : -COMPONENTS - 1 : -1])
    with np.load(path) as stored:
        return stored["mean"], stored["basis"]


def cells(data: Path, source: str, names: list[str], cache: Path, backbone: int) -> np.ndarray:
    """Return the components of the named pictures' cells.

    The first call runs the CNN over the whole set.

    Returns:
        float16 array (len(names), cells, `COMPONENTS`).
    """
    path = cache / f"lite{backbone}-{source}-cells.npz"
    if not path.exists():
        mean, basis = components(data, cache, backbone)
        network = lite_backbone(backbone)
        read, found = [], []
        for name, picture in tqdm(_pictures(data, source), path.stem, unit="picture"):
            read.append(name)
            found.append(((_cells(picture, network) - mean) @ basis).astype(np.float16))
        _save(path, names=np.array(read), cells=np.stack(found))
    with np.load(path) as stored:
        row = {name: i for i, name in enumerate(stored["names"])}
        return stored["cells"][[row[name] for name in names]]


def _pictures(data: Path, source: str) -> Iterator[tuple[str, Image.Image]]:
    return every_picture(data / source / "images.tar")


@torch.inference_mode()
def _cells(picture: Image.Image, backbone: Backbone) -> np.ndarray:
    """Return the cells of the last map, (cells, 1280) float32."""
    pixels, _ = backbone.preprocess(picture.convert("RGB"))
    return backbone.to_layer(pixels, backbone.layers[-1])[0].flatten(1).T.cpu().numpy()


def _save(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)
    part.replace(path)  # so that an interrupted run leaves no partial file
