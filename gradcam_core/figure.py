"""The paper's Figure 1 of an explanation: its panels, and the figure made of them."""

import string
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from gradcam_core.image.fonts import drawable
from gradcam_core.image.geometry import normalised
from gradcam_core.image.render import gradient_picture, overlay
from gradcam_core.methods import METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradcam_core.explanation import Explanation

# The panels of a figure in their order; {} is the method's title.
_TITLES = {
    "picture": "Picture",
    "guided_backprop": "Guided Backprop",
    "grad_cam": "{}",
    "guided_grad_cam": "Guided Backprop × {}",
    "counterfactual": "Counterfactual",
}
_HEIGHT = 2.6  # inches, of a panel


def panels(
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
    maps = {"grad_cam": explanation.raw, "counterfactual": explanation.raw_counterfactual}
    pictures = {}
    for name, raw in maps.items():
        scaled = normalised(raw) if vmax is None else (raw / vmax).clip(max=1)
        heatmap = explanation.at_picture_size(scaled)
        pictures[name] = overlay(explanation.picture, heatmap, colour_map, opacity)
    gradient, product = explanation.gradient, explanation.guided_product
    if gradient is not None and product is not None:
        size, box = explanation.picture.size, explanation.box
        pictures["guided_backprop"] = gradient_picture(gradient, size, box)
        pictures["guided_grad_cam"] = gradient_picture(product, size, box)
    return pictures


def figure(
    rows: Sequence["Explanation"], colour_map: str, opacity: float, vmax: float | None = None
) -> "Figure":
    """Return the paper's Figure 1: a labelled row of panels for each explanation.

    Args:
        rows: Explanations of one picture: of several targets, or by several models.
        colour_map: A name that matplotlib knows.
        opacity: Of the heat maps' colours, in [0, 1].
        vmax: The value, > 0, at which the colours of all heat maps end; None to scale each row to
            its map's maximum.

    Raises:
        ValueError: matplotlib has no such colour map.
    """
    from matplotlib.figure import Figure

    first = rows[0]
    drawn = [{"picture": row.picture, **panels(row, colour_map, opacity, vmax)} for row in rows]
    columns = [name for name in _TITLES if any(name in pictures for pictures in drawn)]
    width = _HEIGHT * first.picture.width / first.picture.height
    result = Figure(
        figsize=(len(columns) * width + 1.2, len(rows) * (_HEIGHT + 0.4) + 0.6),
        layout="constrained",
    )
    grid = result.subplots(len(rows), len(columns), squeeze=False)
    letters = iter(string.ascii_lowercase)
    for row, pictures, axes in zip(rows, drawn, grid, strict=True):
        for name, axis in zip(columns, axes, strict=True):
            axis.axis("off")
            if name in pictures:
                axis.imshow(pictures[name])
                axis.set_title(f"({next(letters)}) {_panel_title(name, row.method)}", fontsize=9)
        if len(rows) > 1:
            label = textwrap.fill(row.target, 28)
            label += f"\n{row.model}" if row.model != first.model else ""
            text, fonts = drawable(label)
            place = {"rotation": 90, "ha": "right", "va": "center", "fontsize": 9}
            axes[0].text(-0.04, 0.5, text, transform=axes[0].transAxes, fontfamily=fonts, **place)
        if vmax is None:
            _colour_bar(result, list(axes), colour_map, row.raw.max().item() or 1.0, row)
    if vmax is not None:
        _colour_bar(result, list(grid.flat), colour_map, vmax, first)
    text, fonts = drawable("\n".join(map(str, rows)))
    result.supxlabel(text, fontsize=8, fontfamily=fonts, wrap=True)
    return result


def _colour_bar(
    figure: "Figure", axes: list[Any], colour_map: str, vmax: float, row: "Explanation"
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(0, vmax), colour_map)
    bar = figure.colorbar(scale, ax=axes, fraction=0.03, pad=0.01)
    bar.set_label(f"{row.method_title}, not normalized", fontsize=7)
    bar.ax.tick_params(labelsize=7)


def _panel_title(panel: str, method: str) -> str:
    if (panel, method) == ("guided_grad_cam", "grad-cam"):
        return METHODS["guided-grad-cam"].title
    return _TITLES[panel].format(METHODS[method].title)
