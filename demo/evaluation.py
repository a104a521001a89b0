"""Evidence for one explanation, as the page gets it: figures, and what they say in one sentence."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import gradcam_core
from demo.answers import packed, preview
from gradcam_core.metrics import (
    METRICS,
    AttackResult,
    Measurement,
    attack,
    measure,
    sanity_check,
    supports,
    verdict,
)
from gradcam_core.metrics.robustness import RADIUS

# What can be asked in one go, and by which metrics it is answered.
TESTS = {
    "occlusion": ("occlusion-correlation",),
    "curves": ("deletion", "insertion", "average-drop", "road"),
    "figures": ("occlusion-correlation", "deletion", "insertion"),
    "all": tuple(METRICS),
}


_SHOWN_SIDE = 480  # pixels, of a changed picture


def tested(path: Path, test: str, goal: str | None = None, **settings: Any) -> dict[str, Any]:
    """Ask an explanation for evidence.

    Args:
        path: The picture.
        test: One of `TESTS`, or "sanity" or "fool".
        goal: For "fool", the class that the network is made to say; None for the least likely.
        settings: Of the explanation, as for `gradcam_core.explain_file`.

    Raises:
        ValueError: It cannot be tested so; the message says why.
        FileNotFoundError: The file is gone.
    """
    explanation = gradcam_core.explain_file(path, **settings)
    explanation = replace(explanation, picture=gradcam_core.open_image(path))
    if test == "sanity":
        return {
            "steps": [
                {"layer": step.layer, "correlation": step.correlation, "map": packed(step.raw)}
                for step in sanity_check(explanation)
            ]
        }
    if test == "fool":
        return _attacked(attack(explanation, goal))
    measurements = measure(explanation, TESTS[test])
    return {
        "measurements": {name: _numbers(name, each) for name, each in measurements.items()},
        "sentence": verdict(measurements),
        "supports": supports(measurements),
    }


def _attacked(found: AttackResult) -> dict[str, Any]:
    after, other = found.after, found.adversarial
    left, top, right, bottom = after.box
    # The network may have been shown the photo squashed, or its middle only.
    width, height = after.picture.width * (right - left), after.picture.height * (bottom - top)
    scale = _SHOWN_SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    change = Image.fromarray(np.rint((found.example.change + 1) * 127.5).astype(np.uint8))
    return {
        "goal": other.target,
        "picture": preview(found.example.picture.resize(size)),
        "change": preview(change.resize(size)),
        "radius": round(255 * RADIUS),
        "predictions": [{"text": b.text, "probability": b.probability} for b in after.predictions],
        "probability": after.probability,
        "after": packed(after.raw),
        "other": packed(other.raw),
        "fooled": found.succeeded,
        "correlation": found.correlation,
        "found": found.localized,
    }


def _numbers(name: str, measurement: Measurement) -> dict[str, Any]:
    metric = METRICS[name]
    return {
        "title": metric.title,
        "paper": metric.paper,
        "better": metric.better,
        "value": measurement.value,
        "references": measurement.references,
        "curve": measurement.curve,
        "reference_curves": measurement.reference_curves,
        "map": None if measurement.map is None else measurement.map.tolist(),
    }
