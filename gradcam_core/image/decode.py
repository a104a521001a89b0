"""Decode picture files in a separate process with limits on time and memory.

A file of one kilobyte can keep a decoder busy for half a minute or fill the memory. So
`image.open` runs this module as a program: a request is one line of JSON on its standard input,
the answer is one line of JSON and the pixels. A file that exceeds the limits ends this process
only. The program imports Pillow alone and starts in a tenth of a second.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import (
    AvifImagePlugin,
    Image,
    ImageOps,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

if TYPE_CHECKING:
    import numpy as np

MAX_PIXELS = 100_000_000  # of a picture that is opened: phones make 50 megapixels
KEPT_PIXELS = 25_000_000  # of the picture that is returned; larger ones are halved

# Limits for one file; the time limit grows for files larger than any upload.
CPU_SECONDS = 2.5
MEMORY = 520 * 2**20  # bytes, in addition to the program's own 30 MB
LARGEST_UPLOAD = 30_000_000  # bytes

# Only formats that Pillow decodes itself (for EPS it would start Ghostscript). It knows these three
# only after they are imported, as above.
_IMPORTED = (AvifImagePlugin, TiffImagePlugin, WebPImagePlugin)
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")

# Bytes 4 to 12 of a HEIC file, which needs the package pillow-heif.
_HEIC_TYPES = {b"ftyp" + brand for brand in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")}
_HEIC_TYPES |= {b"ftypmif1", b"ftypmsf1"}

# Limit where Pillow decodes in Python instead of C: BMP with run lengths, PPM in plain text.
_MAX_PIXELS_IN_PYTHON = 1_000_000

_STRIP = 2**16  # pixels that are processed at once, so that they fit into the CPU's cache

GreyRange = tuple[float, float]  # the lowest and the highest value


def suffixes() -> frozenset[str]:
    """Return the file name suffixes of pictures, in lower case, with the dot."""
    Image.preinit()
    known = {suffix for suffix, name in Image.EXTENSION.items() if name in _FORMATS}
    # Multi-picture files are JPEGs. HEIC is named in a message where it cannot be read.
    return frozenset(known | {".mpo", ".heic", ".heif", ".hif"})


def decode_file(path: Path) -> Image.Image:
    """Return a file's picture; see `prepare`.

    Raises:
        ValueError: Not a picture, damaged, or too large; the message is a sentence.
    """
    name = printable_name(path)
    try:
        image = _open(path)
    except UnidentifiedImageError:
        raise ValueError(_unreadable(path)) from None
    except Image.DecompressionBombError:
        raise ValueError(_too_large(name)) from None
    except PermissionError:
        raise ValueError(f"{name} may not be read: permission denied.") from None
    except MemoryError:
        raise ValueError(exceeds_limits(name)) from None
    except Exception as error:  # damaged files raise all kinds of exceptions
        raise ValueError(_damaged(name)) from error
    with image:
        check_size(image.width, image.height, name)
        if _must_be_halved(image):
            # JPEG decodes directly at half the size, in a quarter of the time and memory.
            image.draft(None, (image.width // 2, image.height // 2))
        return prepare(image, name)


def prepare(image: Image.Image, name: str) -> Image.Image:
    """Return a picture as RGB, upright, of at most `KEPT_PIXELS`.

    Args:
        image: Of any mode, loaded or not. It may be changed, and may be the result.
        name: Used in messages.

    Raises:
        ValueError: It is damaged, empty, or has more than `MAX_PIXELS`.
    """
    check_size(image.width, image.height, name)
    in_python = any(tile.codec_name in Image.DECODERS for tile in getattr(image, "tile", ()))
    if in_python and image.width * image.height > _MAX_PIXELS_IN_PYTHON:
        raise ValueError(
            f"{name} uses a rare variant of {image.format}. Please save it as JPEG or PNG first."
        )
    try:
        image.load()
        loaded = _unsigned(image)
        grey_range = _grey_range(loaded) if _is_deep_grey(loaded) else None
        if _must_be_halved(loaded):
            picture = _halved(loaded, grey_range)
        else:
            picture = _to_rgb(loaded, grey_range)
        return _upright(picture, image)
    except MemoryError:
        raise ValueError(exceeds_limits(name)) from None
    except Exception as error:  # as above
        raise ValueError(_damaged(name)) from error


def check_size(width: int, height: int, name: str) -> None:
    """Raise a ValueError for a picture that is empty or larger than `MAX_PIXELS`."""
    if width == 0 or height == 0:
        raise ValueError(f"{name} is empty: {width} x {height} pixels.")
    if width * height > MAX_PIXELS:
        raise ValueError(_too_large(name, width, height))


def exceeds_limits(name: str) -> str:
    """Return the message for a file that takes too much time or memory."""
    return (
        f"{name} takes too much time or memory to decode. Please save it again as JPEG, or make it "
        "smaller."
    )


def printable_name(path: Path) -> str:
    r"""Return a file's name for messages, with \x escapes for what cannot be printed."""
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Cut (width, height) into boxes of full width and, except for the last, an even height."""
    width, height = size
    rows = max(2, _STRIP // width // 2 * 2)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError:
        if not _is_heic(_head(path)):
            raise
    try:
        # Not a dependency. Imported here, since it makes the start slower.
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        raise UnidentifiedImageError from None
    heif.register_heif_opener(thumbnails=False, decode_threads=1)
    return Image.open(path, formats=("HEIF",))


def _must_be_halved(image: Image.Image) -> bool:
    return image.width * image.height > KEPT_PIXELS


def _halved(image: Image.Image, grey_range: GreyRange | None) -> Image.Image:
    """Return the picture as RGB at half its sides, converted in strips to save memory."""
    halved = Image.new("RGB", ((image.width + 1) // 2, (image.height + 1) // 2))
    for left, top, right, bottom in strips(image.size):
        strip = image.crop((left, top, right, bottom))
        halved.paste(_to_rgb(strip, grey_range).reduce(2), (0, top // 2))
    return halved


def _upright(picture: Image.Image, image: Image.Image) -> Image.Image:
    """Rotate `picture` by the EXIF orientation of `image`, from which it was made."""
    try:
        orientation = image.getexif().get(0x0112, 1)
        if orientation != 1:
            picture.getexif()[0x0112] = orientation
            ImageOps.exif_transpose(picture, in_place=True)
    except Exception:  # broken EXIF data raises all kinds of exceptions
        return picture
    return picture


def _to_rgb(image: Image.Image, grey_range: GreyRange | None) -> Image.Image:
    if grey_range is not None:
        image = _scaled_grey(image, grey_range)
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_deep_grey(image: Image.Image) -> bool:
    """Whether the picture is grey with more than 8 bits; Pillow would cut these off at 255."""
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def _unsigned(image: Image.Image) -> Image.Image:
    """Return a 32-bit TIFF without sign as floats: Pillow reads it as signed."""
    bits, sample_format = 258, 339
    tags = getattr(image, "tag_v2", {})
    if image.mode != "I" or tags.get(bits) != (32,) or tags.get(sample_format, (1,)) != (1,):
        return image
    import numpy as np

    return Image.fromarray(np.asarray(image).view(np.uint32).astype(np.float32))


def _grey_range(image: Image.Image) -> GreyRange:
    """Return the range of the finite values.

    The file format does not tell it: X-rays and depth maps have 8 to 12 bits in 16 or 32.
    """
    import numpy as np  # few pictures need it

    low, high = np.inf, -np.inf
    for strip in strips(image.size):
        values = _grey_values(image.crop(strip))
        values = values[np.isfinite(values)]
        low, high = min(low, values.min(initial=low)), max(high, values.max(initial=high))
    return float(low), float(high)


def _scaled_grey(image: Image.Image, grey_range: GreyRange) -> Image.Image:
    """Return a picture of mode L that spreads a range of values over black to white."""
    import numpy as np

    low, high = grey_range
    values = _grey_values(image)
    # One value everywhere becomes black, or white if it is positive.
    values = (values - low) / (high - low) if high > low else np.sign(values)
    return Image.fromarray(np.rint(np.nan_to_num(values).clip(0, 1) * 255).astype(np.uint8))


def _grey_values(image: Image.Image) -> "np.ndarray":
    import numpy as np

    return np.asarray(image).astype(np.float64)


def _too_large(name: str, width: int | None = None, height: int | None = None) -> str:
    size = f" ({width} x {height})" if width else ""
    return f"{name} is too large{size}: at most {MAX_PIXELS // 1_000_000} megapixels, please."


def _damaged(name: str) -> str:
    # Decoders in C do not say that they ran out of memory: they just fail.
    return f"{name} is damaged, truncated or too large to be decoded."


def _unreadable(path: Path) -> str:
    head, name = _head(path), printable_name(path)
    if _is_heic(head):
        return (
            f"{name} is a HEIC photo. To read it, install the package pillow-heif, or save it as "
            "JPEG or PNG first."
        )
    kind = "an SVG drawing, not a photo" if b"<svg" in head.lower() else "not a picture we can read"
    return f"{name} is {kind}. Please save it as JPEG or PNG first."


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024)


def _is_heic(head: bytes) -> bool:
    return head[4:12] in _HEIC_TYPES


def _limit_memory() -> None:
    """Limit this process to `MEMORY`; on Linux only, other systems have no such limit."""
    statistics = Path("/proc/self/statm")
    if statistics.exists():
        import resource

        used = int(statistics.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def _limit_time(size: int) -> None:
    """Let the system end this process if decoding a file of `size` bytes takes too long."""
    if hasattr(signal, "ITIMER_PROF"):  # not on Windows, where `image.open` has a timeout only
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS * max(1, size / LARGEST_UPLOAD))


def main() -> None:
    """Decode files until the standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each thread would need its own memory
    TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader fails for YCbCr
    _limit_memory()
    answers = sys.stdout.buffer
    for line in sys.stdin:
        path = Path(json.loads(line))
        try:
            _limit_time(path.stat().st_size)
            picture = decode_file(path)
        except (ValueError, OSError) as error:
            answers.write(json.dumps({"error": str(error)}).encode() + b"\n")
        else:
            answers.write(json.dumps({"size": picture.size}).encode() + b"\n")
            for strip in strips(picture.size):
                answers.write(picture.crop(strip).tobytes())
            del picture
        answers.flush()


if __name__ == "__main__":
    main()
