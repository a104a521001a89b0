"""Damaged picture files without end: python tests/fuzz.py MINUTES [SEED].

Every file is opened or refused with a sentence; anything else is printed with the file's place.
"""

import io
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

KINDS = {
    "jpg": {"format": "JPEG", "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"},
    "progressive.jpg": {"format": "JPEG", "progressive": True},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP"},
    "lossless.webp": {"format": "WEBP", "lossless": True},
    "gif": {"format": "GIF"},
    "bmp": {"format": "BMP"},
    "tif": {"format": "TIFF"},
    "lzw.tif": {"format": "TIFF", "compression": "tiff_lzw"},
    "jpeg.tif": {"format": "TIFF", "compression": "jpeg"},
    "avif": {"format": "AVIF"},
    "ppm": {"format": "PPM"},
}


def damaged(seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of files, each a small photo with a few bytes gone wrong."""
    chance = random.Random(seed)
    photo = Image.effect_noise((40, 30), 60).convert("RGB")
    whole = {}
    for kind, options in KINDS.items():
        buffer = io.BytesIO()
        photo.save(buffer, **options)
        whole[kind] = buffer.getvalue()
    while True:
        kind = chance.choice(list(whole))
        content = bytearray(whole[kind])
        for _ in range(chance.randint(1, 6)):
            # Headers are where a byte says most.
            place = chance.randrange(min(len(content), chance.choice((64, 600, 10**6))))
            match chance.randrange(5):
                case 0:
                    content[place] = chance.randrange(256)
                case 1:
                    content[place : place + 4] = chance.choice((b"\0\0\0\0", b"\xff" * 4))
                case 2:
                    content[place] ^= 1 << chance.randrange(8)
                case 3:
                    del content[place : place + chance.randint(1, 40)]
                case _:
                    piece = content[place : place + chance.randint(1, 200)]
                    content[place:place] = piece * chance.randint(1, 50)
            content = content or bytearray(b"\0")
        yield f"damaged.{kind}", bytes(content)


def _main() -> None:
    from gradcam_core.image.open import open_image

    minutes = float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    end = time.monotonic() + 60 * minutes
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    counts: dict[str, int] = {}
    slowest = (0.0, "")
    for number, (name, content) in enumerate(damaged(seed)):
        path = folder / name
        path.write_bytes(content)
        start = time.monotonic()
        try:
            open_image(path)
            outcome = "opened"
        except ValueError as error:
            outcome = " ".join(str(error).split()[1:5])
        except Exception as error:
            outcome = repr(error)
        slowest = max(slowest, (time.monotonic() - start, name))
        counts[outcome] = counts.get(outcome, 0) + 1
        if "too much" in str(outcome) or counts[outcome] == 1:
            path.rename(folder / f"{number}-{name}")
            print(f"{number} {name}: {outcome} -> {folder}", flush=True)
        if time.monotonic() > end:
            break
    print(f"{number + 1} files from seed {seed}; the slowest took {slowest[0]:.2f} s: {slowest[1]}")
    for outcome, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:8} {outcome}")


if __name__ == "__main__":
    _main()
