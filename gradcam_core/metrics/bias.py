"""Bias: where does a network look for a class, over many photos? The paper's section 6.3.

The report is one HTML file that needs no server: mean maps, the photos with the highest and the
lowest probability of the class with their maps, and the difference between two sets of photos.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from gradcam_core.explanation import Explanation
from gradcam_core.image.geometry import enlarge
from gradcam_core.image.render import coloured, overlay

_CELLS = 56  # side of the mean maps
_SHEET = 12  # photos with the highest probability, and as many with the lowest
_SIDE = 160  # longer side of such a photo, in pixels
_LARGE = 224  # side of a drawn mean map, in pixels


class PhotoMap(NamedTuple):
    """One photo of a set, with its map.

    Attributes:
        name: Name of its file.
        probability: Of the class, in [0, 1].
        heatmap: (56, 56) float32 in [0, 1], of the whole photo, squashed to a square.
        drawn: The photo under its map, at most 160 pixels a side.
    """

    name: str
    probability: float
    heatmap: np.ndarray
    drawn: Image.Image


def photo_map(explanation: Explanation) -> PhotoMap:
    """Return what the report needs of an explanation of a class."""
    small = explanation.picture.copy()
    small.thumbnail((_SIDE, _SIDE))
    heatmap = explanation.heatmap
    return PhotoMap(
        "photo" if explanation.source is None else explanation.source.name,
        explanation.probability or 0.0,
        enlarge(heatmap, (_CELLS, _CELLS)),
        overlay(small, enlarge(heatmap, (small.height, small.width)).clip(0, 1)),
    )


def mean_map(photos: Sequence[PhotoMap]) -> np.ndarray:
    """Return the mean of the maps, (56, 56) float32 in [0, 1]; every photo has the same weight."""
    return np.stack([photo.heatmap for photo in photos]).mean(0)


def report(target: str, sets: Mapping[str, Sequence[PhotoMap]]) -> str:
    """Return an HTML page about one or two sets of photos, with all pictures embedded.

    Args:
        target: The class.
        sets: Name of each set -> its photos, at least one.
    """
    means = {name: mean_map(photos) for name, photos in sets.items()}
    highest = max(float(each.max()) for each in means.values()) or 1.0
    sections = []
    for name, photos in sets.items():
        ranked = sorted(photos, key=lambda photo: -photo.probability)
        mean = np.mean([photo.probability for photo in photos])
        sections.append(
            f"<h2>{html.escape(name)}</h2><p>{len(photos)} photos, mean probability {mean:.3f}."
            f" Mean map, on a scale from 0 to {highest:.2f}:</p>"
            f"{_image(_enlarged(coloured(means[name] / highest)))}"
            f"<h3>Highest probability</h3>{_sheet(ranked[:_SHEET])}"
        )
        if len(ranked) > _SHEET:
            least = ranked[_SHEET:][::-1][:_SHEET]
            sections.append(f"<h3>Lowest probability</h3>{_sheet(least)}")
    if len(means) == 2:
        (one, first), (other, second) = means.items()
        difference = first - second
        reach = float(np.abs(difference).max()) or 1.0
        sections.append(
            f"<h2>Difference</h2><p>Red: the mean map is stronger for {html.escape(one)}; blue: "
            f"for {html.escape(other)}. The largest difference is {reach:.2f}.</p>"
            f"{_image(_enlarged(coloured(difference / reach / 2 + 0.5, 'bwr')))}"
        )
    title = f"Where the network looks for “{html.escape(target)}”"
    return _PAGE.format(title=title, body="\n".join(sections))


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 1rem }}
figure {{ display: inline-block; margin: 0 .5rem .5rem 0; vertical-align: top; width: 160px }}
figcaption {{ font-size: .8rem; overflow-wrap: anywhere }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def _sheet(photos: Sequence[PhotoMap]) -> str:
    return "".join(
        f"<figure>{_image(photo.drawn)}<figcaption>{photo.probability:.3f} "
        f"{html.escape(photo.name)}</figcaption></figure>"
        for photo in photos
    )


def _enlarged(picture: Image.Image) -> Image.Image:
    return picture.resize((_LARGE, _LARGE), Image.Resampling.BILINEAR)


def _image(picture: Image.Image) -> str:
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=85)
    data = base64.b64encode(jpeg.getvalue()).decode("ascii")
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'
