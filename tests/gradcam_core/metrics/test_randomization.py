"""The sanity check on the embedded classifier."""

import numpy as np
import pytest
import torch
from PIL import Image

import gradcam_core
from gradcam_core import metrics
from gradcam_core.models.classifiers import Classifier


def test_the_sanity_check_starts_at_the_head_and_leaves_the_model_alone(lite0: Classifier) -> None:
    photo = Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 50).convert("RGB")
    explanation = gradcam_core.explain(photo)
    weights = [each for stage in lite0.backbone.stages.values() for each in stage.parameters()]
    before = [each.clone() for each in weights]
    steps = list(metrics.sanity_check(explanation))
    assert [step.layer for step in steps] == ["head", *reversed(lite0.backbone.layers)]
    assert all(step.raw.shape == explanation.raw.shape for step in steps)
    assert all(-1 <= step.correlation <= 1 for step in steps)
    assert not np.array_equal(steps[0].raw, explanation.raw)
    # With the last stages random, the map is unrelated to the original one.
    assert abs(np.mean([step.correlation for step in steps[3:]])) < 0.5
    assert all(torch.equal(one, other) for one, other in zip(before, weights, strict=True))
    assert np.array_equal(gradcam_core.explain(photo).raw, explanation.raw)


def test_it_is_for_classifiers() -> None:
    photo = Image.effect_noise((60, 40), 80).convert("RGB")
    caption = gradcam_core.explain(photo, "captioning", target="a cat sleeps")
    with pytest.raises(ValueError, match="for classifiers"):
        next(metrics.sanity_check(caption))
    with pytest.raises(ValueError, match="classifiers"):
        metrics.attack(caption)
