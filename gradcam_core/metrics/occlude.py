"""Paint over a part of a picture, to explain it again without that part."""

import numpy as np
from PIL import Image

from gradcam_core.metrics.imputation import impute

FILLS = ("grey", "mean", "blur", "inpainted")
"""Ways to paint over a part: `occlude(picture, mask, FILLS[2])`."""

_GREY = (128, 128, 128)
_BLURRED_SIDE = 16  # cells of the longer side that the blur keeps
_INPAINTED_SIDE = 128  # the same for inpainting, which has no detail in any case


def occlude(picture: Image.Image, mask: np.ndarray, fill: str = "grey") -> Image.Image:
    """Return a copy of a picture with a part painted over.

    Args:
        picture: RGB, (H, W) pixels.
        mask: (h, w) bool of any size, True where to paint; enlarged cell by cell.
        fill: "grey"; "mean", the picture's mean colour; "blur", which keeps 16 cells of the longer
            side; or "inpainted", from the surrounding pixels (see `imputation.impute`).

    Raises:
        ValueError: There is no such fill.

    Examples:
        >>> mask = metrics.segment(explanation.heatmap)
        >>> without = gradcam_core.explain(metrics.occlude(explanation.picture, mask, "blur"))
    """
    if fill not in FILLS:
        raise ValueError(f"There is no fill '{fill}'. Known: {', '.join(FILLS)}.")
    stencil = Image.fromarray(mask.astype(np.uint8) * 255).resize(
        picture.size, Image.Resampling.NEAREST
    )
    if fill == "blur":
        paint = _small(picture, _BLURRED_SIDE).resize(picture.size, Image.Resampling.BICUBIC)
    elif fill == "inpainted":
        small = _small(picture, _INPAINTED_SIDE)
        # Every cell with an occluded pixel: nothing of what is occluded may show.
        touched = np.asarray(_small(stencil.convert("F"), _INPAINTED_SIDE)) > 0
        filled = impute(np.asarray(small), touched).round().clip(0, 255).astype(np.uint8)
        paint = Image.fromarray(filled).resize(picture.size, Image.Resampling.BICUBIC)
    else:
        mean = picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        paint = Image.new("RGB", picture.size, mean if fill == "mean" else _GREY)
    return Image.composite(paint, picture, stencil)


def _small(picture: Image.Image, side: int) -> Image.Image:
    scale = min(1.0, side / max(picture.size))
    size = [max(1, round(each * scale)) for each in picture.size]
    return picture.resize(size, Image.Resampling.BOX)
