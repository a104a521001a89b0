"""The registry, and measuring an explanation."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradcam_core
from gradcam_core import metrics
from gradcam_core.metrics import METRICS


def test_measure_takes_an_explanation() -> None:
    photo = Image.effect_noise((60, 40), 80).convert("RGB")
    caption = gradcam_core.explain(photo, "captioning", target="a cat sleeps")
    found = metrics.measure(caption, ["average-drop"])
    assert found.keys() == {"average-drop"}
    assert np.isfinite(found["average-drop"].value)
    with pytest.raises(ValueError, match="no metric 'beauty'"):
        metrics.measure(caption, ["beauty"])


def test_every_row_of_the_registry_is_complete() -> None:
    for metric in METRICS.values():
        assert metric.question.endswith("?")
        assert metric.better in ("higher", "lower")


def test_the_model_that_made_the_map_is_measured_not_another_one_of_its_name() -> None:
    convolution, linear = nn.Conv2d(3, 1, 2, 2), nn.Linear(1, 2)
    network = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    nn.init.constant_(convolution.weight, 0.1)
    linear.weight.data = torch.tensor([[1.0], [0.0]])
    nn.init.zeros_(linear.bias)
    model = gradcam_core.wrap(network, classes=["tabby", "dark"], name="lite0")
    explanation = gradcam_core.explain(Image.new("RGB", (8, 8), "white"), model=model)
    measured = metrics.measure(explanation, ["average-drop", "deletion"])
    assert measured["average-drop"].value == pytest.approx(0)  # the map is the same everywhere
    assert measured["deletion"].curve[0] == pytest.approx(explanation.probability)
    copy = pickle.loads(pickle.dumps(explanation))
    with pytest.raises(ValueError, match="cannot be loaded"):  # no such layer
        metrics.measure(copy)
    same_layer = replace(copy, query=replace(copy.query, layer=None))
    with pytest.raises(ValueError, match="cannot be loaded"):  # another score
        metrics.measure(same_layer)


def test_an_unpickled_explanation_is_measured_by_the_model_of_its_name() -> None:
    photo = Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 50).convert("RGB")
    explanation = gradcam_core.explain(photo)
    copy = pickle.loads(pickle.dumps(explanation))
    assert copy.origin is None
    both = [metrics.measure(each, ["average-drop"]) for each in (explanation, copy)]
    assert both[0] == both[1]


def test_a_function_of_the_output_has_no_probability() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = gradcam_core.wrap(network)
    photo = Image.effect_noise((64, 64), 80).convert("RGB")
    explanation = gradcam_core.explain(photo, model=model, target=lambda output: output[0].sum())
    found = metrics.measure(explanation, ["occlusion-correlation", "faithfulness-correlation"])
    assert all(-1 <= measurement.value <= 1 for measurement in found.values())
    assert not found["faithfulness-correlation"].references.keys() & {"random others"}
    with pytest.raises(ValueError, match="probability"):
        metrics.measure(explanation, ["deletion"])
    steps = list(metrics.sanity_check(explanation))
    assert all(-1 <= step.correlation <= 1 for step in steps)


def test_a_target_of_almost_no_probability_is_too_unlikely_to_measure(cat_file: Path) -> None:
    explanation = gradcam_core.explain(cat_file, target="speedboat")
    assert explanation.probability is not None and explanation.probability < 1e-4
    with pytest.raises(ValueError, match="speedboat"):
        metrics.measure(explanation, ["deletion"])
    assert metrics.measure(explanation, ["occlusion-correlation"])  # of scores
