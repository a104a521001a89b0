"""Maps as pictures: colour maps, overlays, files."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from PIL import Image

from gradcam_core.image import WHOLE, Box, enlarge, in_pixels, normalised

if TYPE_CHECKING:
    from gradcam_core.explain import Explanation

COLOUR_MAPS = ("jet", "turbo", "viridis", "inferno", "gray")
DEFAULT_COLOUR_MAP = "jet"  # the paper's
DEFAULT_OPACITY = 0.5


def coloured(heatmap: np.ndarray, colour_map: str = DEFAULT_COLOUR_MAP) -> Image.Image:
    """Return a map (H, W) in [0, 1] as an RGB picture.

    Raises:
        ValueError: matplotlib has no such colour map.
    """
    if colour_map not in matplotlib.colormaps:
        raise ValueError(f"There is no colour map '{colour_map}'. Try {', '.join(COLOUR_MAPS)}.")
    table = matplotlib.colormaps[colour_map](np.arange(256), bytes=True)[:, :3]
    return Image.fromarray(table[np.rint(heatmap * 255).astype(np.uint8)])


def overlay(
    picture: Image.Image,
    heatmap: np.ndarray,
    colour_map: str = DEFAULT_COLOUR_MAP,
    opacity: float = DEFAULT_OPACITY,
) -> Image.Image:
    """Lay a map (H, W) in [0, 1] over the RGB picture (H, W) it belongs to.

    Args:
        picture: RGB.
        heatmap: As large as the picture.
        colour_map: A name that matplotlib knows.
        opacity: Of the colours, in [0, 1].

    Raises:
        ValueError: matplotlib has no such colour map, or the sizes differ.
    """
    return Image.blend(picture, coloured(heatmap, colour_map), opacity)


def gradient_picture(gradient: np.ndarray, size: tuple[int, int], box: Box = WHOLE) -> Image.Image:
    """Return a signed gradient (h, w, 3) as an RGB picture; grey is zero.

    The colours' scale is the 99.5th percentile of its magnitude, so that a few strong pixels do
    not leave the rest grey.

    Args:
        gradient: At the size of the network's input.
        size: (width, height) of the picture to return, in pixels.
        box: The part of it that the network's input shows; grey outside.
    """
    magnitude = np.abs(gradient)
    scale = np.percentile(magnitude, 99.5) or magnitude.max() or 1.0
    colours = np.rint((gradient / scale).clip(-1, 1) * 127.5 + 127.5).astype(np.uint8)
    left, top, right, bottom = in_pixels(box, *size)
    canvas = Image.new("RGB", size, (128, 128, 128))
    seen = Image.fromarray(colours).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    canvas.paste(seen, (left, top))
    return canvas


def panels(
    explanation: Explanation, colour_map: str = DEFAULT_COLOUR_MAP
) -> dict[str, Image.Image]:
    """Return the pictures of the paper's Figure 1 by name, as large as the explained picture.

    Guided backprop and Guided Grad-CAM are there if the explanation has them.
    """
    picture = explanation.picture
    pictures = {
        "grad_cam": overlay(picture, explanation.heatmap, colour_map),
        "counterfactual": overlay(picture, explanation.counterfactual, colour_map),
    }
    gradient = explanation.gradient
    if gradient is not None:
        # Multiplied at the network's input size: the same to the eye, and quick for a large photo.
        weights = enlarge(normalised(explanation.raw), gradient.shape[:2])[:, :, None]
        pictures["guided_backprop"] = gradient_picture(gradient, picture.size, explanation.box)
        pictures["guided_grad_cam"] = gradient_picture(
            gradient * weights, picture.size, explanation.box
        )
    return pictures


def save(
    explanation: Explanation,
    folder: Path,
    colour_map: str = DEFAULT_COLOUR_MAP,
) -> list[Path]:
    """Write an explanation into `folder`; see `Explanation.save`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
        # Everything is finished there first, so that no half-written file is ever left.
        workshop = Path(temporary)
        for name, picture in _pictures(explanation, colour_map):
            # Level 1: a large photo is written in a third of the time, and is little larger.
            picture.save(workshop / f"{name}.png", compress_level=1)
        np.save(workshop / "raw.npy", explanation.raw)
        numbers = json.dumps(explanation.numbers(), indent=1, ensure_ascii=False)
        (workshop / "explanation.json").write_text(numbers + "\n", encoding="utf-8")
        return [file.replace(folder / file.name) for file in sorted(workshop.iterdir())]


def _pictures(explanation: Explanation, colour_map: str) -> Iterator[tuple[str, Image.Image]]:
    """Draw what `save` writes, one after the other: a large photo fills much memory."""
    yield "picture", explanation.picture
    yield "heatmap", coloured(explanation.heatmap, colour_map)
    yield from panels(explanation, colour_map).items()
    for index, word in enumerate(explanation.words):
        name = f"word_{index + 1:02d}_{re.sub(r'[^a-z0-9]+', '-', word.text.lower())}"
        heatmap = explanation.word_heatmap(index)
        yield name, overlay(explanation.picture, heatmap, colour_map)
