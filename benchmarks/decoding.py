"""What it costs to open a photo in a separate process, compared with decoding it in this one.

python -m benchmarks.decoding
"""

import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from gradcam_core.image.decode import decode_file
from gradcam_core.image.open import open_image

_SIZES = ((640, 480), (4000, 3000), (8160, 6120))  # a small photo, 12 and 50 megapixels


def main() -> None:
    """Print the shortest time in milliseconds, for each size and format, both ways."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for size in _SIZES:
            # Noise at an eighth of the size, enlarged, has about as much detail as a photo.
            noise = random.integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
            photo = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
            for suffix in ("jpg", "png"):
                path = Path(folder) / f"photo.{suffix}"
                photo.save(path)
                repeats = 100 if photo.width < 1000 else 5
                here, apart = (_measure(f, path, repeats) for f in (decode_file, open_image))
                print(
                    f"{size[0]} x {size[1]} {suffix}, {path.stat().st_size / 1e6:.1f} MB: "
                    f"in this process {here:.1f} ms, in a separate one {apart:.1f} ms"
                )


def _measure(read: Callable[[Path], Image.Image], path: Path, repeats: int) -> float:
    read(path)  # starts the process
    return 1000 * min(timeit.repeat(lambda: read(path), number=1, repeat=repeats))


if __name__ == "__main__":
    main()
