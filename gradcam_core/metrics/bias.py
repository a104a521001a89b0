"""Where does a network look for a class, over many photos? Section 6.3: bias shows in the maps.

A page without a server: mean maps, the photos with the most and the least of the class with their
maps, and of two sets of photos the difference.
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

_CELLS = 56  # a side of the mean maps
_SHEET = 12  # photos at either end
_SIDE = 160  # of a photo in the sheet, pixels
_LARGE = 224  # of a mean map


class Seen(NamedTuple):
    """One photo of a set.

    Attributes:
        name: Of its file.
        probability: Of the class, in [0, 1].
        heatmap: (56, 56) float32 in [0, 1], of the class; the whole photo squashed.
        drawn: The photo under its map, at most 160 pixels a side.
    """

    name: str
    probability: float
    heatmap: np.ndarray
    drawn: Image.Image


def seen(explanation: Explanation) -> Seen:
    """Keep of an explanation of a class what the page needs."""
    small = explanation.picture.copy()
    small.thumbnail((_SIDE, _SIDE))
    heatmap = explanation.heatmap
    return Seen(
        "photo" if explanation.source is None else explanation.source.name,
        explanation.probability or 0.0,
        enlarge(heatmap, (_CELLS, _CELLS)),
        overlay(small, enlarge(heatmap, (small.height, small.width)).clip(0, 1)),
    )


def mean_map(photos: Sequence[Seen]) -> np.ndarray:
    """Return the mean of their maps, (56, 56) float32 in [0, 1]; photos count alike."""
    return np.stack([photo.heatmap for photo in photos]).mean(0)


def page(target: str, sets: Mapping[str, Sequence[Seen]]) -> str:
    """Return a page of HTML about one or two sets of photos; all pictures are in it.

    Args:
        target: The class.
        sets: Name -> photos; none is empty.
    """
    means = {name: mean_map(photos) for name, photos in sets.items()}
    highest = max(float(each.max()) for each in means.values()) or 1.0
    parts = []
    for name, photos in sets.items():
        ranked = sorted(photos, key=lambda photo: -photo.probability)
        mean = np.mean([photo.probability for photo in photos])
        parts.append(
            f"<h2>{html.escape(name)}</h2><p>{len(photos)} photos, mean probability {mean:.3f}."
            f" Mean map, on the scale of 0 to {highest:.2f}:</p>"
            f"{_image(_enlarged(coloured(means[name] / highest)))}"
            f"<h3>The most of it</h3>{_sheet(ranked[:_SHEET])}"
        )
        if len(ranked) > _SHEET:
            least = ranked[_SHEET:][::-1][:_SHEET]
            parts.append(f"<h3>The least of it</h3>{_sheet(least)}")
    if len(means) == 2:
        (one, first), (other, second) = means.items()
        difference = first - second
        reach = float(np.abs(difference).max()) or 1.0
        parts.append(
            f"<h2>What differs</h2><p>Red: looked at more in {html.escape(one)}; blue: more in "
            f"{html.escape(other)}; the strongest is a difference of {reach:.2f}.</p>"
            f"{_image(_enlarged(coloured(difference / reach / 2 + 0.5, 'bwr')))}"
        )
    title = f"Where the network looks for “{html.escape(target)}”"
    return _PAGE.format(title=title, body="\n".join(parts))


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


def _sheet(photos: Sequence[Seen]) -> str:
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
