"""An explanation as the page gets it: numbers, which the browser draws."""

import io
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

import gradcam_core
from demo.compute.base import ModelFacts
from gradcam_core.serialize import as_text


def answer(
    explanation: gradcam_core.Explanation, seconds: float, facts: ModelFacts
) -> dict[str, Any]:
    """Return what the page shows of an explanation, as JSON can hold it; see docs/json.md."""
    return {
        **explanation.to_dict(packed=True),
        **asdict(facts),
        "milliseconds": round(seconds * 1000),
    }


def preview(picture: Image.Image) -> dict[str, Any]:
    """Return a picture for the browser, decoded and upright like the network's."""
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90)
    return {
        "url": f"data:image/jpeg;base64,{as_text(jpeg.getvalue())}",
        "width": picture.width,
        "height": picture.height,
    }


def colour_tables() -> dict[str, str]:
    """Return the colours of each colour map: 256 x 3 bytes, base64."""
    ramp = np.arange(256, dtype=np.float32)[None] / 255
    return {
        name: as_text(np.asarray(gradcam_core.coloured(ramp, name)).tobytes())
        for name in gradcam_core.COLOUR_MAPS
    }
