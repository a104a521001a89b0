"""The registry, and measuring an explanation from Python and the command line."""

from pathlib import Path

import numpy as np
import pytest
import transformers
import typer.testing
from PIL import Image

import gradcam_core
from gradcam_core import metrics
from gradcam_core.__main__ import app
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


def test_command_line(cat_file: Path, tmp_path: Path) -> None:
    # A small network: it makes some two hundred forward passes.
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 8])
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(tmp_path)
    asked = ["evaluate", str(cat_file), "--sanity", "--model", str(tmp_path)]
    run = typer.testing.CliRunner().invoke(app, asked)
    assert run.exit_code == 0, run.output
    assert "Deletion, area under the curve: 0." in run.output
    assert "  resnet.encoder.stages.3" in run.output
    bad = typer.testing.CliRunner().invoke(app, ["evaluate", "nowhere.jpg"])
    assert bad.exit_code == 1
    assert "There is no file nowhere.jpg" in bad.output
