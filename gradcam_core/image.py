"""Pictures: open, check, orient, squash to the network's input; maps back to picture pixels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

MAX_PIXELS = 25_000_000

_MAX_RATIO = 50  # of the longer to the shorter side

# Only formats that Pillow decodes itself (EPS, for one, would start Ghostscript).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")

ImageSource = str | Path | Image.Image | np.ndarray

# (left, top, right, bottom) as shares of a picture's sides: the part that a network's input
# shows. Less than 0 or more than 1 where the input has a margin around the picture.
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def open_image(source: ImageSource) -> Image.Image:
    """Return the picture as RGB, upright, of its own size.

    EXIF orientation is applied, transparency laid on white, 16-bit scaled to 8, and of an
    animation the first frame is taken. The source is not changed.

    Args:
        source: A path, a PIL image, or an array (H, W, 3) uint8.

    Raises:
        FileNotFoundError: No file at the path.
        ValueError: Not a picture, damaged, empty, or larger than `MAX_PIXELS`.
        TypeError: `source` is none of the above.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decode(source, "The picture")
    if isinstance(source, str | Path):
        return _from_file(Path(source))
    raise TypeError(
        f"A picture must be a path, a PIL image or a (H, W, 3) uint8 array, "
        f"not {type(source).__name__}."
    )


def to_pixels(
    image: Image.Image,
    size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Return a picture as a network's input, (1, 3, height, width) float32.

    The whole picture is squashed, not cropped, as the paper's own code does: so the heat map
    covers all of it.

    Args:
        image: RGB.
        size: (height, width) in pixels.
        mean: Per channel, of values in [0, 1].
        std: Per channel, of values in [0, 1].
    """
    height, width = size
    # The embedded weights were trained on TensorFlow's bicubic, which does not average: worth
    # 1.5 points of top-1. It would alias a large photo, so that is averaged down to twice first.
    bounded = (min(image.width, 2 * width), min(image.height, 2 * height))
    if bounded != image.size:
        image = image.resize(bounded, Image.Resampling.BICUBIC, reducing_gap=2.0)
    values = torch.from_numpy(np.array(image, np.float32)).permute(2, 0, 1)[None]
    squashed = F.interpolate(values, size=size, mode="bicubic", align_corners=False)
    channel_mean, channel_std = (torch.tensor(c).view(3, 1, 1) for c in (mean, std))
    return (squashed.clamp(0, 255) / 255 - channel_mean) / channel_std


def normalised(raw: np.ndarray) -> np.ndarray:
    """Scale a map >= 0 to a maximum of 1; zeros stay zeros: no evidence never looks like some."""
    highest = raw.max()
    return raw / highest if highest > 0 else raw


def enlarge(values: np.ndarray, size: tuple[int, int], box: Box = WHOLE) -> np.ndarray:
    """Stretch a map over the part of the picture that it belongs to, bilinearly.

    Args:
        values: (h, w) or (h, w, c) float32.
        size: (H, W) of the picture, in pixels.
        box: The part that `values` belong to.

    Returns:
        (H, W) or (H, W, c) float32; zeros outside of `box`.
    """
    height, width = size
    left, top, right, bottom = in_pixels(box, width, height)
    stack = torch.from_numpy(values.reshape(*values.shape[:2], -1)).permute(2, 0, 1)
    enlarged = F.interpolate(
        stack[None],
        size=(bottom - top, right - left),
        mode="bilinear",
        align_corners=False,
    )[0]
    # Negative padding cuts off what lies outside of the picture.
    placed = F.pad(enlarged, (left, width - right, top, height - bottom))
    return placed.permute(1, 2, 0).reshape(*size, *values.shape[2:]).numpy()


def in_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of a box in the pixels of a picture; at least one each."""
    left, top, right, bottom = (
        round(share * side) for share, side in zip(box, (width, height) * 2, strict=True)
    )
    return left, top, max(right, left + 1), max(bottom, top + 1)


def seen_through(
    preprocess: Callable[[Image.Image], Tensor],
) -> Callable[[Image.Image], tuple[Tensor, Box]]:
    """Let a preprocessing of a library also tell which part of a picture it shows; see `covered`.

    What it returns raises ValueError for a picture longer than `_MAX_RATIO`.
    """

    def both(image: Image.Image) -> tuple[Tensor, Box]:
        # Those that scale the shorter side would make gigabytes of a thread-thin picture.
        if max(image.size) > _MAX_RATIO * min(image.size):
            raise ValueError(
                f"The picture is too narrow for this model ({image.width} x {image.height}): "
                f"its sides may be as {_MAX_RATIO} to 1."
            )
        return preprocess(image), covered(preprocess, image.size)

    return both


def covered(preprocess: Callable[[Image.Image], Tensor], size: tuple[int, int]) -> Box:
    """Find out which part of a picture a preprocessing shows to the network.

    Libraries crop, squash and pad in ways of their own. So it is not read from their settings but
    seen: a picture goes through whose colours tell where each pixel comes from.

    Args:
        preprocess: Picture (RGB) -> (1, 3, H_in, W_in) float32; linear in the colours.
        size: (width, height) of the picture, in pixels.
    """
    scale = min(1.0, 512 / max(size))  # what counts is the shape
    width, height = (max(2, round(side * scale)) for side in size)
    across = np.tile(np.linspace(0, 255, 2 * width + 1)[1::2], (height, 1))
    down = np.tile(np.linspace(0, 255, 2 * height + 1)[1::2, None], (1, width))
    black, white, x, y = (
        preprocess(Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB"))[0, 0].double()
        for grey in (0 * across, 0 * across + 255, across, down)
    )
    # Where black and white look the same there is no picture but a margin.
    span = torch.where((white - black).abs() > 1e-3, white - black, torch.nan)
    left, right = _ends(((x - black) / span).nanmean(0))
    top, bottom = _ends(((y - black) / span).nanmean(1))
    return left, top, right, bottom


def _ends(shares: Tensor) -> tuple[float, float]:
    """Fit a line through the places that an input's pixels come from; return those of its edges."""
    n = len(shares)
    known = ~shares.isnan()
    centres = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    # The outermost pixels are blurred with what is beyond.
    keep = known & known.roll(1) & known.roll(-1)
    design = torch.stack([centres[keep], torch.ones_like(centres[keep])], 1)
    slope, start = torch.linalg.lstsq(design, shares[keep][:, None]).solution[:, 0].tolist()
    # The colours tell to about a third of a per cent; an edge of the picture is meant exactly.
    first, last = (
        round(end) if abs(end - round(end)) < 4e-3 else end for end in (start, start + slope)
    )
    return float(first), float(last)


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ValueError(
            f"A picture given as an array must be (H, W, 3) uint8; "
            f"this one is {array.shape} {array.dtype}."
        )
    _check_size(array.shape[1], array.shape[0], "The array")
    return Image.fromarray(array)


def _from_file(path: Path) -> Image.Image:
    try:
        found = path.is_file()
    except OSError:  # a name too long for the file system
        found = False
    if not found:
        raise FileNotFoundError(f"There is no file {path}.")
    name = path.name
    Image.init()  # Pillow must know all of `_FORMATS`; a no-op from the second time on
    try:
        image = Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError:
        raise ValueError(_unreadable(path)) from None
    except Image.DecompressionBombError:
        raise ValueError(_too_large(name)) from None
    except PermissionError:
        raise ValueError(f"{name} may not be read: permission denied.") from None
    except Exception as error:  # a damaged file raises whatever its decoder trips over
        raise ValueError(_damaged(name)) from error
    with image:
        return _decode(image, name)


def _decode(image: Image.Image, name: str) -> Image.Image:
    """Return an upright RGB copy; `image.size` is known from the header before any decoding."""
    _check_size(image.width, image.height, name)
    try:
        image.load()
        return _to_rgb(_upright(image))
    except Exception as error:  # as above
        raise ValueError(_damaged(name)) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block raises whatever its parser trips over
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow would clip 16-bit grey at 255.
        grey = np.asarray(image).astype(np.int64).clip(0, 65535) // 257
        image = Image.fromarray(grey.astype(np.uint8))
    elif image.mode == "F":
        grey = np.nan_to_num(np.asarray(image))
        scale = 255 if grey.max(initial=0) <= 1 else 1
        image = Image.fromarray((grey * scale).clip(0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba)
    # `convert` of an RGB image copies it, so the caller's picture stays its own.
    return image.convert("RGB")


def _check_size(width: int, height: int, name: str) -> None:
    if width == 0 or height == 0:
        raise ValueError(f"{name} is empty: {width} x {height} pixels.")
    if width * height > MAX_PIXELS:
        raise ValueError(_too_large(name, width, height))


def _too_large(name: str, width: int | None = None, height: int | None = None) -> str:
    size = f" ({width} x {height})" if width else ""
    return f"{name} is too large{size}: at most {MAX_PIXELS // 1_000_000} megapixels, please."


def _damaged(name: str) -> str:
    return f"{name} is damaged or cut short: it cannot be decoded."


def _unreadable(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(1024)
    kind = "not a picture that can be read"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc", b"ftypmsf1"):
        kind = "a HEIC photo, which cannot be read here"
    elif b"<svg" in head.lower():
        kind = "an SVG drawing, not a photo"
    return f"{path.name} is {kind}. Please save it as JPEG or PNG first."
