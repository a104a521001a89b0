"""An explanation as the page gets it: numbers, which the browser draws."""

import base64
import io
import threading
import zlib
from typing import Any

import numpy as np
from cachetools import LRUCache, cached
from PIL import Image

import gradcam_core
from demo.compute import service
from demo.compute.service import Shown

_KNOWN = 256  # models of which is kept what they tell of themselves


def answer(shown: Shown) -> dict[str, Any]:
    """Return what the page needs to show an explanation, as JSON can hold it."""
    explanation = shown.explanation
    return {
        "task": explanation.task,
        "model": explanation.model,
        "layer": explanation.layer,
        **_known(explanation.model, explanation.task),
        "method": explanation.method,
        "question": explanation.question,
        "unknown_words": explanation.unknown_words,
        "target": explanation.target,
        "score": explanation.score,
        "probability": explanation.probability,
        "unsure": explanation.unsure,
        "faint": explanation.hardly_any_evidence,
        "predictions": [
            {"text": best.text, "probability": best.probability} for best in explanation.predictions
        ],
        "words": [
            {"text": word.text, "log_prob": word.log_prob, "raw": packed(word.raw)}
            for word in explanation.words
        ],
        "raw": packed(explanation.raw),
        "raw_counterfactual": packed(explanation.raw_counterfactual),
        "gradient": None if explanation.gradient is None else _signed(explanation.gradient),
        "box": list(explanation.box),
        "remarks": list(explanation.remarks),
        "concepts": _concepts(explanation),
        "milliseconds": round(shown.seconds * 1000),
    }


def preview(picture: Image.Image) -> dict[str, Any]:
    """Return a decoded picture for the browser: it shows what the network was given."""
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90)
    return {
        "url": f"data:image/jpeg;base64,{_text(jpeg.getvalue())}",
        "width": picture.width,
        "height": picture.height,
    }


def packed(raw: np.ndarray) -> dict[str, Any]:
    """Pack a map >= 0 (h, w): 16 bits a value tell more than a screen shows."""
    highest = float(raw.max())
    steps = np.rint(raw * (65535 / highest) if highest else raw).astype("<u2")
    h, w = raw.shape
    return {"h": h, "w": w, "max": highest, "data": _text(steps.tobytes())}


def colour_tables() -> dict[str, str]:
    """Return the colours of each colour map: 256 x 3 bytes, base64."""
    ramp = np.arange(256, dtype=np.float32)[None] / 255
    return {
        name: _text(np.asarray(gradcam_core.coloured(ramp, name)).tobytes())
        for name in gradcam_core.COLOUR_MAPS
    }


@cached(LRUCache(_KNOWN), lock=threading.Lock())
def _known(model: str, task: str) -> dict[str, Any]:
    """Return what only a loaded model tells; the page's process need not load it for that."""
    known: dict[str, Any] = service.of_model(_told, model, task)
    return known


def _told(model: str, task: str) -> dict[str, Any]:
    loaded = gradcam_core.load(model, task)
    return {
        "layers": {name: f"{w} × {h}" for name, (_, h, w) in loaded.layers.items()},
        "convolutional": loaded.convolutional,
        "capabilities": _capabilities(loaded),
        "methods": {
            name: method.why_not(loaded) for name, method in gradcam_core.methods().items()
        },
    }


def _capabilities(model: gradcam_core.Model) -> str:
    """Say what the model can say at all, how often it is right, and what it cannot do."""
    info, _ = gradcam_core.describe(model.name)
    said = f"It knows {model.repertoire}" if model.repertoire else ""
    if isinstance(model, gradcam_core.LabelModel):
        said += ", and says one of them whatever it is shown."
    elif said:
        said += " of short captions of everyday photos."
    return f"{said} {info.limits}".strip()


def _concepts(explanation: gradcam_core.Explanation) -> list[dict[str, Any]] | None:
    """Return what speaks for the target, and against it, by name; None without names."""
    if explanation.reasons is None:
        return None
    return [
        {
            "name": reason.name,
            "share": reason.share,
            "top10_correct": reason.of_ten,
            "raw": packed(reason.raw),
        }
        for reason in explanation.reasons
    ]


def _signed(gradient: np.ndarray) -> dict[str, Any]:
    """Pack a signed gradient (h, w, 3), a byte a value before compression.

    Square roots are packed, in 40 steps: most values are far smaller than the largest. On the
    screen it is within a few grey levels of `Explanation.guided_backprop`.
    """
    highest = float(np.abs(gradient).max())
    roots = np.sign(gradient) * np.sqrt(np.abs(gradient) / (highest or 1.0))
    h, w, _ = gradient.shape
    packed = zlib.compress(np.rint(roots * 40).astype(np.int8).tobytes())
    return {"h": h, "w": w, "max": highest, "data": _text(packed)}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
