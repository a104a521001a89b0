"""The paper's Figure 1 of an explanation: its panels, and the figure made of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from PIL import Image

from gradcam_core.image.geometry import normalised
from gradcam_core.image.render import (
    DEFAULT_COLOUR_MAP,
    DEFAULT_OPACITY,
    gradient_picture,
    gradient_scale,
    overlay,
)
from gradcam_core.methods import METHODS
from gradcam_core.models.registry import models

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from gradcam_core.explanation import Explanation

PanelName = Literal[
    "picture", "guided_backprop", "grad_cam", "guided_grad_cam", "counterfactual", "words"
]
Size = Literal["column", "page", "slide"]

# Titles of panels; {} is the method's.
_TITLES = {
    "picture": "Picture",
    "guided_backprop": "Guided Backprop",
    "grad_cam": "{}",
    "guided_grad_cam": "Guided Backprop × {}",
    "counterfactual": "Counterfactual",
}
MOST_ROWS, _MOST_PANELS = 12, 60
_ASPECTS = 1 / 3, 8  # width / height of a panel; longer pictures are stretched


class Scale(NamedTuple):
    """What the colours of a map mean.

    Attributes:
        colour_map: A name that matplotlib knows.
        low: The value of its first colour.
        high: The value of its last one; 0 for a map of zeros.
        clipped: Whether larger values have the last colour, too.
    """

    colour_map: str
    low: float
    high: float
    clipped: bool = False


class Panel(NamedTuple):
    """A picture with a title; its own scale is drawn beneath it."""

    title: str
    scale: Scale | None


class Row(NamedTuple):
    """A row of a figure.

    Attributes:
        heading: Stands over it.
        panels: One for each column; None leaves it empty.
        aspect: Width / height of its panels.
        pictures: Returns those of the panels with at most so many pixels a side.
    """

    heading: str
    panels: Sequence[Panel | None]
    aspect: float
    pictures: Callable[[int], Sequence[Image.Image | None]]


def panel_pictures(
    explanation: "Explanation", colour_map: str, opacity: float, vmax: float | None = None
) -> dict[str, Image.Image]:
    """Return the pictures of the paper's Figure 1 by name, at the picture's size.

    Guided backpropagation and Guided Grad-CAM are included if the query is guided.

    Args:
        explanation: What to draw.
        colour_map: A name that matplotlib knows.
        opacity: Of the heat maps' colours, in [0, 1].
        vmax: The value, > 0, at which their colours end; None for each map's own maximum.

    Raises:
        ValueError: matplotlib has no such colour map.
    """
    pictures = {
        name: map_picture(explanation, raw, colour_map, opacity, vmax)
        for name, raw in _maps(explanation).items()
        if name in _TITLES
    }
    size, box = explanation.picture.size, explanation.box
    for name, gradient in _gradients(explanation).items():
        pictures[name] = gradient_picture(gradient, size, box)
    return pictures


def map_picture(
    explanation: "Explanation",
    raw: "np.ndarray",
    colour_map: str,
    opacity: float,
    vmax: float | None = None,
) -> Image.Image:
    """Lay a map (h, w) >= 0 over the explanation's picture, see `panel_pictures`."""
    scaled = normalised(raw) if vmax is None else (raw / vmax).clip(max=1)
    heatmap = explanation.at_picture_size(scaled)
    return overlay(explanation.picture, heatmap, colour_map, opacity)


def figure(
    explanations: Sequence["Explanation"],
    colour_map: str = DEFAULT_COLOUR_MAP,
    opacity: float = DEFAULT_OPACITY,
    vmax: float | None = None,
    *,
    panels: Sequence[PanelName] | None = None,
    size: Size = "page",
) -> "Figure":
    """Return the paper's Figure 1: a row of panels for each explanation.

    Each map is drawn up to its own maximum, with a colour bar of its own, unless `vmax` is given:
    then one colour bar is for all of them. Maps of different models, layers or methods keep
    colour bars of their own, since their values cannot be compared.

    Args:
        explanations: At most 12: of several targets, or by several models or methods.
        colour_map: A name that matplotlib knows.
        opacity: Of the heat maps' colours, in [0, 1].
        vmax: The value, > 0, at which the colours of all maps end.
        panels: "picture", "guided_backprop", "grad_cam" (the method's map), "guided_grad_cam",
            "counterfactual", and "words" for a map of each word of a caption; None for those that
            all explanations have, without the words. At most 60 in all.
        size: "column" (3.4 inches wide, type of 7 points, 300 dots per inch), "page" (7.2, 8, 200)
            or "slide" (13.33, 18, 144). A slide is 7.5 inches high, if that is possible; for the
            others the height follows.

    Raises:
        ValueError: There are too many rows or panels, an unknown panel or size, or one that no
            explanation has; or matplotlib has no such colour map.

    Examples:
        >>> several = explain("cat.jpg", target=["tabby", "tiger cat"])
        >>> figure(several, panels=["picture", "grad_cam"], size="slide").savefig("slide.svg")
    """
    from gradcam_core.drawing import draw  # matplotlib's part of it takes long to import

    if not 0 < len(explanations) <= MOST_ROWS:
        raise ValueError(f"A figure has 1 to {MOST_ROWS} rows.")
    if size not in get_args(Size):
        raise ValueError(f"There is no size '{size}'. Known: {', '.join(get_args(Size))}.")
    columns = _columns(explanations, panels)
    if len(explanations) * len(columns) > _MOST_PANELS:
        raise ValueError(f"A figure has at most {_MOST_PANELS} panels. Choose fewer.")
    highest = max(raw.max() for each in explanations for raw in _maps(each).values())
    kinds = {(each.model, each.layer, each.method, each.detail) for each in explanations}
    shared = None
    if vmax is not None and len(kinds) == 1:
        shared = (
            f"{explanations[0].method_title}, not normalized",
            Scale(colour_map, 0, vmax, clipped=bool(highest > vmax)),
        )
    rows = [
        _row(each, columns, colour_map, opacity, vmax, shared=bool(shared)) for each in explanations
    ]
    return draw(rows, size, shared)


def _columns(
    explanations: Sequence["Explanation"], panels: Sequence[PanelName] | None
) -> list[str]:
    """Return what stands in each column: a panel, or "word 0" and so on."""
    for name in panels or ():
        if name not in get_args(PanelName):
            raise ValueError(
                f"There is no panel '{name}'. Known: {', '.join(get_args(PanelName))}."
            )
    there = [{"picture", *_maps(each), *_gradients(each)} for each in explanations]
    if panels is None:
        return [name for name in _TITLES if all(name in names for names in there)]
    every = set().union(*there)
    words = [f"word {at}" for at in range(len(every)) if f"word {at}" in every]
    named = [name for panel in panels for name in (words if panel == "words" else [panel])]
    columns = [name for name in dict.fromkeys(named) if name in every]
    if not columns:
        raise ValueError(f"There is nothing to draw: no explanation has {' or '.join(panels)}.")
    return columns


def _row(
    explanation: "Explanation",
    columns: Sequence[str],
    colour_map: str,
    opacity: float,
    vmax: float | None,
    *,
    shared: bool,
) -> Row:
    maps, gradients = _maps(explanation), _gradients(explanation)

    def panel(name: str) -> Panel | None:
        scale = None
        if name in gradients:
            end = gradient_scale(gradients[name])
            scale = Scale("gray", -end or -1.0, end)
        elif name in maps and not shared:
            highest = float(maps[name].max())
            end = vmax if vmax is not None and highest else highest
            scale = Scale(colour_map, 0, end, clipped=highest > end)
        elif name not in maps and name != "picture":
            return None
        return Panel(_title(name, explanation), scale)

    def pictures(side: int) -> list[Image.Image | None]:
        small = replace(explanation, picture=_resized(explanation.picture, side))
        drawn = {"picture": small.picture}
        for name in columns:
            if name in maps:
                drawn[name] = map_picture(small, maps[name], colour_map, opacity, vmax)
            elif name in gradients:
                drawn[name] = gradient_picture(gradients[name], small.picture.size, small.box)
        return [drawn.get(name) for name in columns]

    width, height = explanation.picture.size
    aspect = min(max(width / height, _ASPECTS[0]), _ASPECTS[1])
    heading = explanation.describe(_model_title(explanation.model))
    heading += f"; {width} × {height} pixels, stretched" if aspect != width / height else ""
    return Row(heading, [panel(name) for name in columns], aspect, pictures)


def _maps(explanation: "Explanation") -> dict[str, "np.ndarray"]:
    words = {f"word {at}": word.raw for at, word in enumerate(explanation.words)}
    maps = {"grad_cam": explanation.raw, "counterfactual": explanation.raw_counterfactual}
    return maps | words


def _gradients(explanation: "Explanation") -> dict[str, "np.ndarray"]:
    gradient, product = explanation.gradient, explanation.guided_product
    if gradient is None or product is None:
        return {}
    return {"guided_backprop": gradient, "guided_grad_cam": product}


def _resized(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture with some `side` pixels on its longer side.

    A large one would take much memory, and a tiny one leave its maps no pixels.
    """
    share = side / max(picture.size)
    if 1 <= share < 3:
        return picture
    width, height = (max(1, round(share * each)) for each in picture.size)
    kind = Image.Resampling.NEAREST if share > 1 else Image.Resampling.BICUBIC
    return picture.resize((width, height), kind, reducing_gap=3)


def _title(name: str, explanation: "Explanation") -> str:
    if name.startswith("word "):
        return f"“{explanation.words[int(name[5:])].text}”"
    if (name, explanation.method) == ("guided_grad_cam", "grad-cam"):
        return METHODS["guided-grad-cam"].title
    return _TITLES[name].format(explanation.method_title)


def _model_title(name: str) -> str:
    return next((info.title for info in models() if info.name == name), name)
