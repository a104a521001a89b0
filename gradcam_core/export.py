"""An explanation as files."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from tqdm import tqdm

from gradcam_core.figure import map_picture, panel_pictures
from gradcam_core.image.render import coloured
from gradcam_core.interactive import html
from gradcam_core.serialize import to_dict

if TYPE_CHECKING:
    from gradcam_core.explanation import Explanation


def save(
    explanation: "Explanation",
    folder: Path,
    colour_map: str,
    opacity: float,
    vmax: float | None = None,
) -> list[Path]:
    """Write pictures (PNG), raw map (.npy), numbers (JSON) and interactive page into a folder.

    The folder is created if need be. Files of the same names are replaced, and files that an
    earlier explanation left behind are removed.

    Args:
        explanation: What to write.
        folder: For this explanation alone.
        colour_map: A name that matplotlib knows.
        opacity: Of the heat maps' colours, in [0, 1].
        vmax: The value, > 0, at which the colours of the overlays end; None for each map's own
            maximum.

    Returns:
        The files written.

    Raises:
        ValueError: matplotlib has no such colour map.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
        # Everything is written here first, so that no partial result is left behind.
        staging = Path(temporary)
        pictures = _pictures(explanation, colour_map, opacity, vmax)
        for name, picture in tqdm(pictures, desc="saving", leave=False, disable=None):
            # Level 1: a large photo takes a third of the time and little more space.
            picture.save(staging / f"{name}.png", compress_level=1)
        np.save(staging / "raw.npy", explanation.raw)
        numbers = json.dumps(to_dict(explanation), indent=1, ensure_ascii=False, allow_nan=False)
        # File names that are not UTF-8 have surrogates, which JSON writes as \udc80 to \udcff.
        (staging / "explanation.json").write_text(
            numbers + "\n", encoding="utf-8", errors="backslashreplace"
        )
        page = html([explanation], colour_map, opacity)
        (staging / "explanation.html").write_text(page, encoding="utf-8")
        finished = sorted(staging.iterdir())
        stale = {"guided_backprop.png", "guided_grad_cam.png"}
        stale |= {old.name for old in folder.glob("word_[0-9][0-9]_*.png")}
        for name in stale - {file.name for file in finished}:
            (folder / name).unlink(missing_ok=True)
        return [file.replace(folder / file.name) for file in finished]


def _pictures(
    explanation: "Explanation", colour_map: str, opacity: float, vmax: float | None
) -> Iterator[tuple[str, Image.Image]]:
    """Draw one picture after the other: a large photo takes much memory."""
    yield "picture", explanation.picture
    yield "heatmap", coloured(explanation.heatmap, colour_map)
    yield from panel_pictures(explanation, colour_map, opacity, vmax).items()
    for index, word in enumerate(explanation.words):
        name = f"word_{index + 1:02d}_{re.sub(r'[^a-z0-9]+', '-', word.text.lower())}"
        yield name, map_picture(explanation, word.raw, colour_map, opacity, vmax)
