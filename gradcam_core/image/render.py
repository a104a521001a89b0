"""Maps as pictures: arrays in, pictures out."""

import matplotlib
import numpy as np
from PIL import Image

from gradcam_core.image.geometry import WHOLE, Box, in_pixels

COLOUR_MAPS = ("jet", "turbo", "viridis", "inferno", "gray")
"""Colour maps to choose from: `overlay(picture, heatmap, COLOUR_MAPS[2])`."""
DEFAULT_COLOUR_MAP = "jet"
"""The paper's colour map."""
DEFAULT_OPACITY = 0.5
"""Of the colours over the picture: `overlay(picture, heatmap, opacity=DEFAULT_OPACITY)`."""


def coloured(heatmap: np.ndarray, colour_map: str = DEFAULT_COLOUR_MAP) -> Image.Image:
    """Return a map (H, W) in [0, 1] as an RGB picture.

    Raises:
        ValueError: matplotlib has no such colour map.

    Examples:
        >>> coloured(explanation.heatmap, "viridis").save("map.png")
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

    Examples:
        >>> overlay(explanation.picture, explanation.heatmap, opacity=0.4).save("overlay.png")
    """
    return Image.blend(picture, coloured(heatmap, colour_map), opacity)


def gradient_picture(gradient: np.ndarray, size: tuple[int, int], box: Box = WHOLE) -> Image.Image:
    """Return a signed gradient (h, w, 3) as an RGB picture; grey is zero.

    Its colours end at `gradient_scale`.

    Args:
        gradient: At the size of the network's input.
        size: (width, height) of the picture to return, in pixels.
        box: The part of it that the network's input shows; grey outside.
    """
    scale = gradient_scale(gradient) or 1.0
    colours = np.rint((gradient / scale).clip(-1, 1) * 127.5 + 127.5).astype(np.uint8)
    left, top, right, bottom = in_pixels(box, *size)
    canvas = Image.new("RGB", size, (128, 128, 128))
    seen = Image.fromarray(colours).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    canvas.paste(seen, (left, top))
    return canvas


def gradient_scale(gradient: np.ndarray) -> float:
    """Return the magnitude at which the colours of a gradient end; 0 if it is zero everywhere.

    It is the 99.5th percentile, so that a few strong pixels do not leave the rest grey.
    """
    magnitude = np.abs(gradient)
    return float(np.percentile(magnitude, 99.5) or magnitude.max())
