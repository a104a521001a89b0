"""The registry, and measuring an explanation."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gradcam_core
from gradcam_core import metrics
from gradcam_core.metrics import METRICS, Measurement


def test_measure_takes_an_explanation() -> None:
    photo = Image.effect_noise((60, 40), 80).convert("RGB")
    caption = gradcam_core.explain(photo, "captioning", target="a cat sleeps")
    found = metrics.measure(caption, ["average-drop"])
    assert found.keys() == {"average-drop"}
    assert np.isfinite(found["average-drop"].value)
    with pytest.raises(ValueError, match="no metric 'beauty'"):
        metrics.measure(caption, ["beauty"])


def deletion(value: float) -> Measurement:
    return Measurement(value, {"random order": 0.5, "centre": 0.4})


def occlusion(value: float) -> Measurement:
    return Measurement(value, map=np.zeros((4, 4), np.float32))


def test_a_measurement_supports_the_map_if_it_is_better_than_chance() -> None:
    assert metrics.supports({"deletion": deletion(0.49)}) == {"deletion": True}
    assert metrics.supports({"deletion": deletion(0.5)}) == {"deletion": False}
    assert metrics.supports({"insertion": deletion(0.51)}) == {"insertion": True}
    assert metrics.supports({"insertion": deletion(0.5)}) == {"insertion": False}
    # Of 16 cells in random order, one in twenty correlates by more than .42.
    assert metrics.supports({"occlusion-correlation": occlusion(0.4)}) == {
        "occlusion-correlation": False
    }
    assert metrics.supports({"occlusion-correlation": occlusion(0.45)}) == {
        "occlusion-correlation": True
    }
    assert metrics.supports({"road": Measurement(0.1)}) == {}


def test_the_verdict_tells_agreement_from_contradiction() -> None:
    verdicts = {
        metrics.verdict(
            {"deletion": deletion(by_one), "occlusion-correlation": occlusion(by_other)}
        )
        for by_one in (0.1, 0.9)
        for by_other in (0.1, 0.9)
    }
    assert len(verdicts) == 4
    with pytest.raises(ValueError, match="deletion"):
        metrics.verdict({"road": Measurement(0.1)})


def test_every_row_of_the_registry_is_complete() -> None:
    for metric in METRICS.values():
        assert metric.question.endswith("?")
        assert all(metric.verdict) == (metric.supports is not None)


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
    measurement = metrics.measure(explanation, ["occlusion-correlation"])["occlusion-correlation"]
    assert -1 <= measurement.value <= 1
    with pytest.raises(ValueError, match="probability"):
        metrics.measure(explanation, ["deletion"])
    steps = list(metrics.sanity_check(explanation))
    assert all(-1 <= step.correlation <= 1 for step in steps)
