"""Tests of one map, as the page gets them: measurements, and the verdict in one sentence."""

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

import gradcam_core
from demo.answers import preview
from demo.compute.base import Picture
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
from gradcam_core.metrics.verdict import DECIDING
from gradcam_core.serialize import pack_map

# The metrics of each test.
_METRICS = {
    "occlusion": ("occlusion-correlation",),
    "curves": (DECIDING, "deletion", "insertion", "average-drop", "road"),
    "figures": ("occlusion-correlation", "deletion", "insertion"),
    "all": tuple(METRICS),
}
_DISPLAY_SIDE = 480  # pixels, of an attacked picture


def evaluate(
    explainer: gradcam_core.Explainer,
    picture: Picture,
    query: gradcam_core.Query,
    test: str,
    goal: str | None = None,
) -> dict[str, Any]:
    """Explain a picture and test the map; takes dozens to hundreds of passes.

    Args:
        explainer: Explains the picture.
        picture: A file or a picture.
        query: What is explained.
        test: "occlusion", "curves", "figures" or "all", each for some of `METRICS`; "sanity" or
            "fool", for classifiers only.
        goal: For "fool", the class that the network is made to predict; None for the least likely.

    Raises:
        ValueError: The test does not apply; or see `gradcam_core.explain`.
        FileNotFoundError: There is no such file.
    """
    explanation = explainer.explain(picture, query)
    # Measured at the picture's own size: the explanation's is made smaller.
    explanation = replace(explanation, picture=gradcam_core.open_image(picture))
    if test == "sanity":
        return {
            "steps": [
                {"layer": step.layer, "correlation": step.correlation, "map": pack_map(step.raw)}
                for step in sanity_check(explanation)
            ]
        }
    if test == "fool":
        return _attack_numbers(attack(explanation, goal))
    measurements = measure(explanation, _METRICS[test])
    return {
        "measurements": {name: _numbers(name, each) for name, each in measurements.items()},
        "sentence": verdict(measurements) if DECIDING in measurements else "",
        "supports": supports(measurements),
    }


def _attack_numbers(result: AttackResult) -> dict[str, Any]:
    after, example = result.after, result.example
    left, top, right, bottom = after.box
    # The network may see the picture squashed, or its middle only.
    width, height = after.picture.width * (right - left), after.picture.height * (bottom - top)
    scale = _DISPLAY_SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    change = Image.fromarray(np.rint((example.change + 1) * 127.5).astype(np.uint8))
    return {
        "goal": result.adversarial.target,
        "picture": preview(example.picture.resize(size)),
        "change": preview(change.resize(size)),
        "radius": round(255 * RADIUS),  # in colour values, 0 to 255
        "predictions": [vars(prediction) for prediction in after.predictions],
        "probability": after.probability,
        "after": pack_map(after.raw),
        "other": pack_map(result.adversarial.raw),
        "fooled": result.succeeded,
        "correlation": result.correlation,
        "found": result.localized,
    }


def _numbers(name: str, measurement: Measurement) -> dict[str, Any]:
    metric = METRICS[name]
    return {
        "title": metric.title,
        "paper": metric.paper,
        "better": metric.better,
        **vars(measurement),
        "map": None if measurement.map is None else measurement.map.tolist(),
    }
