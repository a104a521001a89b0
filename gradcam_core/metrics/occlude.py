"""What does the network say when a part of the picture is not there? Asked by painting over it."""

import numpy as np
from PIL import Image

from gradcam_core.metrics.imputation import impute

FILLINGS = ("grey", "mean", "blur", "inpainted")

_GREY = (128, 128, 128)
_BLURRED_SIDE = 16  # cells of the longer side that are left of what is blurred
_INPAINTED_SIDE = 128  # the same of what is filled in from around, which has no detail anyway


def cover(picture: Image.Image, mask: np.ndarray, filling: str = "grey") -> Image.Image:
    """Return a picture with a part of it painted over; to explain it is to ask without that part.

    Args:
        picture: RGB, (H, W) pixels.
        mask: (h, w) bool, True where to paint; of any size, enlarged cell by cell.
        filling: "grey", "mean" for the picture's mean colour, "blur", which leaves 16 cells of
            the longer side, or "inpainted", from what is around it (see `imputation.impute`).

    Raises:
        ValueError: There is no such filling.
    """
    if filling not in FILLINGS:
        raise ValueError(f"There is no filling '{filling}'. Known: {', '.join(FILLINGS)}.")
    stencil = Image.fromarray(mask.astype(np.uint8) * 255).resize(
        picture.size, Image.Resampling.NEAREST
    )
    if filling == "blur":
        paint = _small(picture, _BLURRED_SIDE).resize(picture.size, Image.Resampling.BICUBIC)
    elif filling == "inpainted":
        small = _small(picture, _INPAINTED_SIDE)
        # Every cell that has something covered in it: nothing of that may seep in.
        touched = np.asarray(_small(stencil.convert("F"), _INPAINTED_SIDE)) > 0
        filled = impute(np.asarray(small), touched).round().clip(0, 255).astype(np.uint8)
        paint = Image.fromarray(filled).resize(picture.size, Image.Resampling.BICUBIC)
    else:
        mean = picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        paint = Image.new("RGB", picture.size, mean if filling == "mean" else _GREY)
    return Image.composite(paint, picture, stencil)


def _small(picture: Image.Image, side: int) -> Image.Image:
    scale = min(1.0, side / max(picture.size))
    size = [max(1, round(each * scale)) for each in picture.size]
    return picture.resize(size, Image.Resampling.BOX)
