"""The one serializer of explanations: for JSON files, HTTP, the page and Parquet."""

import base64
import io
import zlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from gradcam_core.image.render import COLOUR_MAPS, coloured
from gradcam_core.version import __version__

if TYPE_CHECKING:
    from gradcam_core.explanation import Explanation

SCHEMA_VERSION = 3  # see docs/json.md

# A map whose maximum is below this share of the first choice's maximum is faint. So are 88 % of the
# maps of random classes, and 18 % of those of an object in the picture, one of four:
# benchmarks.classification with lite0, see docs/figures.md.
FAINT = 0.3

Pack = Callable[[np.ndarray], Any]


def to_dict(explanation: "Explanation", *, packed: bool = False) -> dict[str, Any]:
    """Return everything but the pictures; see `Explanation.to_dict`."""
    pack: Pack = pack_map if packed else lambda raw: raw.tolist()
    gradient = explanation.gradient
    concepts = explanation.concepts
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": {"gradcam-core": __version__, "torch": torch.__version__},
        "source": None if explanation.source is None else explanation.source.name,
        **vars(explanation.query),
        "target": explanation.target,
        "unknown_words": explanation.unknown_words,
        "score": explanation.score,
        "probability": explanation.probability,
        "rank": explanation.rank,
        "no_evidence": explanation.no_evidence,
        "faint": explanation.faint,
        "first_choice_max": explanation.first_choice_max,
        "unsure": explanation.unsure,
        "predictions": [vars(prediction) for prediction in explanation.predictions],
        "words": [vars(word) | {"raw": pack(word.raw)} for word in explanation.words],
        "picture": {"width": explanation.picture.width, "height": explanation.picture.height},
        "box": list(explanation.box),
        "position_known": explanation.position_known,
        "raw": pack(explanation.raw),
        "raw_counterfactual": pack(explanation.raw_counterfactual),
        "remarks": list(explanation.remarks),
        "concepts": concepts
        and [vars(concept) | {"raw": pack(concept.raw)} for concept in concepts],
        **({"gradient": gradient if gradient is None else pack_signed(gradient)} if packed else {}),
    }


def pack_map(raw: np.ndarray) -> dict[str, Any]:
    """Pack a map >= 0, (h, w): its size, its maximum, and 16 bits per value as base64."""
    highest = float(raw.max())
    steps = np.rint(raw * (65535 / highest) if highest else raw).astype("<u2")
    height, width = raw.shape
    return {"h": height, "w": width, "max": highest, "data": as_text(steps.tobytes())}


def pack_signed(gradient: np.ndarray) -> dict[str, Any]:
    """Pack a signed gradient (h, w, 3): one byte per value, compressed, as base64.

    The square roots are packed in 40 steps, since most values are far smaller than the largest. On
    the screen the error is a few grey levels of `Explanation.guided_backprop`.
    """
    highest = float(np.abs(gradient).max())
    roots = np.sign(gradient) * np.sqrt(np.abs(gradient) / (highest or 1.0))
    height, width, _ = gradient.shape
    data = zlib.compress(np.rint(roots * 40).astype(np.int8).tobytes())
    return {"h": height, "w": width, "max": highest, "data": as_text(data)}


def jpeg_url(picture: Image.Image) -> str:
    """Return a picture as a data: URL."""
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{as_text(jpeg.getvalue())}"


def colour_tables(names: Iterable[str] = COLOUR_MAPS) -> dict[str, str]:
    """Return the colours of colour maps by name: 256 x 3 bytes, base64.

    Raises:
        ValueError: matplotlib has no such colour map.
    """
    ramp = np.arange(256, dtype=np.float32)[None] / 255
    return {name: as_text(np.asarray(coloured(ramp, name)).tobytes()) for name in names}


def as_text(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode("ascii")
