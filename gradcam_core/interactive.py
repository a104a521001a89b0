"""Explanations as a page of one file, which draws them in any browser."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import ImageOps

from gradcam_core.image.render import COLOUR_MAPS
from gradcam_core.methods import METHODS
from gradcam_core.models.registry import models
from gradcam_core.serialize import FAINT, colour_tables, jpeg_url, to_dict
from gradcam_core.viewer import DATA, template

if TYPE_CHECKING:
    from gradcam_core.explanation import Explanation

_SIDE = 768  # pixels, the most per side of a picture, as in the page of the demo
_GUIDED = 400_000  # characters that guided backpropagation may take in all


def html(explanations: Sequence["Explanation"], colour_map: str, opacity: float) -> str:
    """Return a page with explanations of one picture or several.

    Photos are at most 768 pixels per side. Guided backpropagation takes some 100 kB per
    explanation: it is left out of the page where there is no space for it any more.

    Args:
        explanations: At least one; the first is shown at first.
        colour_map: A name that matplotlib knows; visitors can choose another.
        opacity: Of the heat maps' colours, in [0, 1]; visitors can change it.

    Raises:
        ValueError: matplotlib has no such colour map.
    """
    pictures: dict[str, int] = {}
    written = []
    space = _GUIDED
    for explanation in explanations:
        values = to_dict(explanation, packed=True)
        for name in ("source", "versions", "concepts"):
            del values[name]
        if values["gradient"] is not None:
            space -= len(values["gradient"]["data"])
            if space < 0:
                values["gradient"] = None
        photo = explanation.picture
        if max(photo.size) > _SIDE:
            photo = ImageOps.contain(photo, (_SIDE, _SIDE))
        values["picture"] = pictures.setdefault(jpeg_url(photo), len(pictures))
        values["model_title"] = _model_title(explanation)
        values["method_title"] = METHODS[explanation.method].title
        written.append(values)
    data = {
        "pictures": list(pictures),
        "explanations": written,
        "colours": colour_tables(dict.fromkeys([*COLOUR_MAPS, colour_map])),
        "colour": colour_map,
        "opacity": opacity,
        "faint_below": FAINT,
    }
    # In ASCII, with unpaired surrogates escaped; without "<" nothing can end the script.
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return template().replace(DATA, text, 1)


def _model_title(explanation: "Explanation") -> str:
    titles = {info.name: info.title for info in models(explanation.task)}
    return titles.get(explanation.model, explanation.model)
