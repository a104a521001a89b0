"""Pictures: open, check, orient."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 25_000_000

# Only formats that Pillow decodes itself (EPS, for one, would start Ghostscript).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")

ImageSource = str | Path | Image.Image | np.ndarray


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
