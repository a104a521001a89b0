"""What does the network say when a part of the picture is not there? Asked by painting over it."""

import numpy as np
from PIL import Image

FILLINGS = ("grey", "mean", "blur")

_GREY = (128, 128, 128)
_BLURRED_SIDE = 16  # cells of the longer side that are left of what is blurred


def cover(picture: Image.Image, mask: np.ndarray, filling: str = "grey") -> Image.Image:
    """Return a picture with a part of it painted over; to explain it is to ask without that part.

    Args:
        picture: RGB, (H, W) pixels.
        mask: (h, w) bool, True where to paint; of any size, enlarged cell by cell.
        filling: "grey", "mean" for the picture's mean colour, or "blur", which leaves 16 cells of
            the longer side.

    Raises:
        ValueError: There is no such filling.
    """
    if filling not in FILLINGS:
        raise ValueError(f"There is no filling '{filling}'. Known: {', '.join(FILLINGS)}.")
    if filling == "blur":
        scale = min(1.0, _BLURRED_SIDE / max(picture.size))
        small = picture.resize(
            [max(1, round(side * scale)) for side in picture.size], Image.Resampling.BOX
        )
        paint = small.resize(picture.size, Image.Resampling.BICUBIC)
    else:
        mean = picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        paint = Image.new("RGB", picture.size, mean if filling == "mean" else _GREY)
    stencil = Image.fromarray(mask.astype(np.uint8) * 255).resize(
        picture.size, Image.Resampling.NEAREST
    )
    return Image.composite(paint, picture, stencil)
