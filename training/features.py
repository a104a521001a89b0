"""Pooled features of the embedded backbones, computed once and kept on disk.

The networks read the last feature map through global average pooling, so training needs one
vector of 1280 numbers per picture and view (the whole picture, a crop, their mirror images). The
CNN is frozen and runs once per view.
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from gradcam_core.models.backbone import Backbone
from gradcam_core.models.embedded.lite import lite_backbone


class View(NamedTuple):
    """A part of the picture (left, top, right, bottom as shares of its sides), or its mirror."""

    box: tuple[float, float, float, float]
    flip: bool = False


VIEWS = {
    "whole": View((0.0, 0.0, 1.0, 1.0)),
    "whole-flip": View((0.0, 0.0, 1.0, 1.0), flip=True),
    "centre": View((0.12, 0.12, 0.88, 0.88)),
    "top-left": View((0.0, 0.0, 0.8, 0.8)),
    "top-right-flip": View((0.2, 0.0, 1.0, 0.8), flip=True),
    "bottom-left-flip": View((0.0, 0.2, 0.8, 1.0), flip=True),
    "bottom-right": View((0.2, 0.2, 1.0, 1.0)),
}


def features(
    pictures: Path, names: Sequence[str], views: Sequence[str], cache: Path, backbone: int = 0
) -> np.ndarray:
    """Return the pooled features of some pictures of a folder or tar archive.

    The first call for an archive and a view runs the CNN over the whole archive and writes
    `cache/lite<backbone>-<set>-<view>.npz`; later calls read that file.

    Args:
        pictures: A folder, or an uncompressed tar archive, of pictures.
        names: File names relative to it; see `datasets`.
        views: Keys of `VIEWS`.
        cache: Folder for the computed features.
        backbone: 0 or 2, for EfficientNet-Lite0 or Lite2.

    Returns:
        float16 array (len(names), len(views), 1280), values in 0..6 (means of ReLU6 outputs).

    Raises:
        KeyError: An unknown view, or a name that is not in the archive.
    """
    label = pictures.parent.name if pictures.suffix == ".tar" else pictures.name
    columns = []
    for view in views:
        path = cache / f"lite{backbone}-{label}-{view}.npz"
        if not path.exists():
            _compute(pictures, VIEWS[view], path, lite_backbone(backbone))
        with np.load(path) as stored:
            row = {name: i for i, name in enumerate(stored["names"])}
            columns.append(stored["features"][[row[name] for name in names]])
    return np.stack(columns, axis=1)


def _compute(pictures: Path, view: View, path: Path, backbone: Backbone, batch: int = 4) -> None:
    names, vectors, tensors = [], [], []
    total = _count(pictures)
    with tqdm(total=total, desc=path.stem, unit="picture") as bar:
        for name, picture in every_picture(pictures):
            names.append(name)
            tensors.append(_tensor(picture, view, backbone))
            if len(tensors) == batch or len(names) == total:
                vectors.append(_pooled(torch.cat(tensors), backbone))
                bar.update(len(tensors))
                tensors.clear()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, names=np.array(names), features=np.concatenate(vectors))
    part.replace(path)  # so that an interrupted run leaves no partial file


def _count(pictures: Path) -> int:
    if pictures.is_dir():
        return sum(path.is_file() for path in pictures.rglob("*"))
    with tarfile.open(pictures) as archive:
        return sum(member.isfile() for member in archive)


def every_picture(pictures: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yield each picture with its name relative to the folder, or to `images/` in an archive."""
    if pictures.is_dir():
        for path in sorted(path for path in pictures.rglob("*") if path.is_file()):
            yield str(path.relative_to(pictures)), Image.open(path)
        return
    with tarfile.open(pictures) as archive:
        for member in archive:
            if member.isfile():
                data = io.BytesIO(archive.extractfile(member).read())
                yield member.name.removeprefix("images/"), Image.open(data)


def _tensor(picture: Image.Image, view: View, backbone: Backbone) -> torch.Tensor:
    """Return the network's input for a view, (1, 3, H_in, W_in) float32."""
    width, height = picture.size
    left, top, right, bottom = view.box
    box = (left * width, top * height, right * width, bottom * height)
    part = picture.convert("RGB").crop(tuple(round(side) for side in box))
    if view.flip:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return backbone.preprocess(part)[0]


@torch.inference_mode()
def _pooled(batch: torch.Tensor, backbone: Backbone) -> np.ndarray:
    maps = backbone.to_layer(batch, backbone.layers[-1])
    return maps.mean((2, 3)).half().cpu().numpy()
