"""Picture files become pixels, in a process that may take neither long nor much memory.

A file of a kilobyte can keep a decoder busy for half a minute, or make it fill the memory. So
`image.open_image` leaves files to this module, run as a program of its own: a request is a line of
JSON on its standard input, the answer a line of JSON and the pixels. What takes more than its
share ends the process, and nothing else. It imports Pillow only, and is ready in a tenth of a
second.
"""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import (
    AvifImagePlugin,
    Image,
    ImageOps,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

MAX_PIXELS = 100_000_000  # of a picture that is opened: phones make 50 megapixels
KEPT_PIXELS = 25_000_000  # of the picture that it becomes; larger ones are halved

# What one file may cost; a file that is larger than any upload may take longer.
CPU_SECONDS = 2.5
MEMORY = 520 * 2**20  # bytes beside the program's own 30 MB
LARGEST_UPLOAD = 30_000_000  # bytes

# Only formats that Pillow decodes itself (EPS, for one, would start Ghostscript). These three it
# does not know before they are imported, as above.
_IMPORTED = (AvifImagePlugin, TiffImagePlugin, WebPImagePlugin)
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")

# Of a picture that Pillow decodes in Python, not in C: BMP with run lengths, PPM in plain text.
_MAX_PIXELS_IN_PYTHON = 1_000_000

_STRIP = 2**16  # pixels; so few stay in the processor's cache


def decode_file(path: Path) -> Image.Image:
    """Return a file's picture; see `finished`.

    Raises:
        ValueError: Not a picture, damaged, or too large; the message is a sentence.
    """
    name = path.name
    try:
        image = Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError:
        raise ValueError(_unreadable(path)) from None
    except Image.DecompressionBombError:
        raise ValueError(_too_large(name)) from None
    except PermissionError:
        raise ValueError(f"{name} may not be read: permission denied.") from None
    except MemoryError:
        raise ValueError(takes_too_much(name)) from None
    except Exception as error:  # a damaged file raises whatever its decoder trips over
        raise ValueError(_damaged(name)) from error
    with image:
        check_size(image.width, image.height, name)
        if _too_many(image):
            # A JPEG is decoded at half its size at once, in a quarter of the time and memory.
            image.draft(None, (image.width // 2, image.height // 2))
        return finished(image, name)


def finished(image: Image.Image, name: str) -> Image.Image:
    """Return a picture as RGB, upright, of at most `KEPT_PIXELS`.

    Args:
        image: Of any mode, loaded or not: its size is known before any decoding. It may be
            changed, and be what is returned.
        name: What messages call it.

    Raises:
        ValueError: It is damaged, empty, or has more than `MAX_PIXELS`.
    """
    check_size(image.width, image.height, name)
    in_python = any(tile.codec_name in Image.DECODERS for tile in getattr(image, "tile", ()))
    if in_python and image.width * image.height > _MAX_PIXELS_IN_PYTHON:
        raise ValueError(
            f"{name} is a kind of {image.format} that hardly any program writes. "
            "Please save it as JPEG or PNG first."
        )
    try:
        image.load()
        return _upright(_halved(image) if _too_many(image) else _to_rgb(image), image)
    except MemoryError:
        raise ValueError(takes_too_much(name)) from None
    except Exception as error:  # as above
        raise ValueError(_damaged(name)) from error


def check_size(width: int, height: int, name: str) -> None:
    """Raise ValueError for a picture that is empty or larger than `MAX_PIXELS`."""
    if width == 0 or height == 0:
        raise ValueError(f"{name} is empty: {width} x {height} pixels.")
    if width * height > MAX_PIXELS:
        raise ValueError(_too_large(name, width, height))


def takes_too_much(name: str) -> str:
    """Say that decoding a file was given up."""
    return (
        f"{name} takes too much time or memory to decode. Please save it anew as JPEG, or make it "
        "smaller."
    )


def _too_many(image: Image.Image) -> bool:
    return image.width * image.height > KEPT_PIXELS


def _halved(image: Image.Image) -> Image.Image:
    """Return the picture as RGB at half its sides; a strip at a time, to hold it only once."""
    if image.mode == "F":
        image = _to_rgb(image)  # its scale is that of the whole
    halved = Image.new("RGB", ((image.width + 1) // 2, (image.height + 1) // 2))
    for left, top, right, bottom in strips(image.size):
        strip = image.crop((left, top, right, bottom))
        halved.paste(_to_rgb(strip).reduce(2), (0, top // 2))
    return halved


def strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Cut (width, height) into boxes of full width and, but for the last, an even height."""
    width, height = size
    rows = max(2, _STRIP // width // 2 * 2)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def _upright(picture: Image.Image, image: Image.Image) -> Image.Image:
    """Turn `picture` as the EXIF of `image`, which it was made from, says."""
    try:
        orientation = image.getexif().get(0x0112, 1)
        if orientation != 1:
            picture.getexif()[0x0112] = orientation
            ImageOps.exif_transpose(picture, in_place=True)
    except Exception:  # a broken EXIF block raises whatever its parser trips over
        return picture
    return picture


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        import numpy as np  # which few pictures need

        # Pillow would clip 16-bit grey at 255.
        grey = np.asarray(image).clip(0, 65535) // 257
        image = Image.fromarray(grey.astype(np.uint8))
    elif image.mode == "F":
        import numpy as np

        grey = np.nan_to_num(np.asarray(image))
        scale = 255 if grey.max(initial=0) <= 1 else 1
        image = Image.fromarray((grey * scale).clip(0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def _too_large(name: str, width: int | None = None, height: int | None = None) -> str:
    size = f" ({width} x {height})" if width else ""
    return f"{name} is too large{size}: at most {MAX_PIXELS // 1_000_000} megapixels, please."


def _damaged(name: str) -> str:
    # That its memory is at an end a decoder in C tells only by failing.
    return f"{name} is damaged, cut short or too large to be decoded."


def _unreadable(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(1024)
    kind = "not a picture that can be read"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc", b"ftypmsf1"):
        kind = "a HEIC photo, which cannot be read here"
    elif b"<svg" in head.lower():
        kind = "an SVG drawing, not a photo"
    return f"{path.name} is {kind}. Please save it as JPEG or PNG first."


def _limit_memory() -> None:
    """Let this process take no more than `MEMORY`; on Linux, elsewhere there is no such limit."""
    statistics = Path("/proc/self/statm")
    if statistics.exists():
        import resource

        taken = int(statistics.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))


def _limit_time(size: int) -> None:
    """Let the system end this process when decoding a file of so many bytes takes too long."""
    if hasattr(signal, "ITIMER_PROF"):  # not on Windows, where `open_image` looks at the clock
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS * max(1, size / LARGEST_UPLOAD))


def main() -> None:
    """Decode files until the standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each thread would take memory of its own
    TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader trips over YCbCr
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
