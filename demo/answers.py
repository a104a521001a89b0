"""An explanation as the page gets it: numbers, which the browser draws."""

from dataclasses import asdict
from typing import Any

from PIL import Image

import gradcam_core
from demo.compute.base import ModelFacts
from gradcam_core.serialize import jpeg_url


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
    return {"url": jpeg_url(picture), "width": picture.width, "height": picture.height}
