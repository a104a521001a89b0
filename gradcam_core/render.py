"""Maps as pictures: colour maps, overlays, files."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from PIL import Image

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
    """
    return Image.blend(picture, coloured(heatmap, colour_map), opacity)


def gradient_picture(gradient: np.ndarray) -> Image.Image:
    """Return a signed gradient (H, W, 3) as an RGB picture; grey is zero.

    The scale is the 99.5th percentile of its magnitude, so that a few strong pixels do not
    leave the rest grey.
    """
    magnitude = np.abs(gradient)
    scale = np.percentile(magnitude, 99.5) or magnitude.max() or 1.0
    return Image.fromarray(np.rint((gradient / scale).clip(-1, 1) * 127.5 + 127.5).astype(np.uint8))


def panels(
    explanation: Explanation, colour_map: str = DEFAULT_COLOUR_MAP
) -> dict[str, Image.Image]:
    """Return the pictures of the paper's Figure 1 by name, as large as the explained picture.

    Guided backprop and Guided Grad-CAM are there if the explanation has them.
    """
    picture, heatmap = explanation.picture, explanation.heatmap
    pictures = {
        "grad_cam": overlay(picture, heatmap, colour_map),
        "counterfactual": overlay(picture, explanation.counterfactual, colour_map),
    }
    gradient = explanation.guided_backprop
    if gradient is not None:
        pictures["guided_backprop"] = gradient_picture(gradient)
        pictures["guided_grad_cam"] = gradient_picture(gradient * heatmap[:, :, None])
    return pictures


def save(
    explanation: Explanation,
    folder: Path,
    colour_map: str = DEFAULT_COLOUR_MAP,
) -> list[Path]:
    """Write an explanation into `folder`; see `Explanation.save`."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "picture": explanation.picture,
        "heatmap": coloured(explanation.heatmap, colour_map),
        **panels(explanation, colour_map),
    }
    for index, word in enumerate(explanation.words):
        name = f"word_{index + 1:02d}_{re.sub(r'[^a-z0-9]+', '-', word.text.lower())}"
        pictures[name] = overlay(explanation.picture, explanation.word_heatmap(index), colour_map)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
        # Everything is finished there first, so that no half-written file is ever left.
        workshop = Path(temporary)
        for name, picture in pictures.items():
            picture.save(workshop / f"{name}.png")
        np.save(workshop / "raw.npy", explanation.raw)
        numbers = json.dumps(explanation.numbers(), indent=1, ensure_ascii=False)
        (workshop / "explanation.json").write_text(numbers + "\n", encoding="utf-8")
        return [file.replace(folder / file.name) for file in sorted(workshop.iterdir())]
