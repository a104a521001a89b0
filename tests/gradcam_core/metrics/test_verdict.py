"""Which maps a verdict supports, and which it does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import gradcam_core
from gradcam_core import metrics
from gradcam_core.image.placement import WHOLE_PICTURE
from gradcam_core.metrics import METRICS, MeasuredMap, Measurement
from gradcam_core.metrics.faithfulness_correlation import correlations, faithfulness_correlations
from gradcam_core.models.backbone import Backbone
from gradcam_core.models.classifiers import Classifier

SIDE, CELLS, CLASSES = 42, 6, 8
METRIC = "faithfulness-correlation"


class Brightness(nn.Module):
    """A map of 6 x 6 cells for each class: how bright the picture is in the cells of the class."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        owner = torch.randint(CLASSES, (CELLS, CELLS), generator=draw)
        self.register_buffer("owned", nn.functional.one_hot(owner).permute(2, 0, 1).float())

    def forward(self, pixels: Tensor) -> Tensor:
        cells = nn.functional.adaptive_avg_pool2d(pixels.mean(1, keepdim=True), CELLS)
        return cells * self.owned


def as_pixels(image: Image.Image) -> tuple[Tensor, tuple[float, float, float, float]]:
    values = torch.from_numpy(np.asarray(image.resize((SIDE, SIDE)), np.float32))
    return values.permute(2, 0, 1)[None] / 255, WHOLE_PICTURE


@pytest.fixture(scope="module")
def model() -> Classifier:
    """Each class looks at cells of its own."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CLASSES, CLASSES))
    head[2].weight.data = 20 * torch.eye(CLASSES)
    nn.init.zeros_(head[2].bias)
    classes = [(f"class {i}",) for i in range(CLASSES)]
    return Classifier("cells", Backbone("cells", {"cells": Brightness()}, as_pixels), head, classes)


@pytest.fixture(scope="module")
def explanation(model: Classifier) -> gradcam_core.Explanation:
    return gradcam_core.explain(Image.new("RGB", (SIDE, SIDE), "white"), model=model)


def outcome(explanation: gradcam_core.Explanation, raw: np.ndarray) -> bool | None:
    changed = replace(explanation, raw=raw.astype(np.float32))
    return metrics.supports(metrics.measure(changed, [METRIC, "deletion", "insertion"]))


def test_only_the_map_of_what_the_network_uses_is_supported(
    model: Classifier, explanation: gradcam_core.Explanation
) -> None:
    raw = explanation.raw
    assert outcome(explanation, raw) is True
    for other in model.labels:
        if other != explanation.target:
            different = gradcam_core.explain(explanation.picture, target=other, model=model).raw
            assert outcome(explanation, different) is not True
    draw = np.random.default_rng(1)
    for _ in range(5):
        shuffled = draw.permutation(raw.ravel()).reshape(raw.shape)
        if np.corrcoef(shuffled.ravel(), raw.ravel())[0, 1] < 0.3:
            assert outcome(explanation, shuffled) is not True
    y, x = (np.mgrid[:CELLS, :CELLS] + 0.5) / CELLS - 0.5
    assert outcome(explanation, 1 - np.hypot(y, x)) is not True
    assert outcome(explanation, np.roll(raw, 3, 1)) is not True
    assert outcome(explanation, np.ones_like(raw)) is not True
    assert outcome(explanation, np.zeros_like(raw)) is not True
    assert outcome(explanation, raw.max() - raw) is False  # all but what the network uses


def test_a_network_that_looks_at_nothing_supports_no_map(model: Classifier) -> None:
    blind = Classifier(
        "blind", model.backbone, nn.Sequential(nn.Flatten(), nn.Linear(288, 2)), "ab"
    )
    nn.init.zeros_(blind.head[1].weight)
    explanation = gradcam_core.explain(Image.new("RGB", (SIDE, SIDE), "white"), model=blind)
    draw = np.random.default_rng(0)
    for _ in range(3):
        assert outcome(explanation, draw.random((CELLS, CELLS))) is None


def test_several_maps_on_the_same_pictures_are_measured_as_one_by_one(
    explanation: gradcam_core.Explanation,
) -> None:
    measured = MeasuredMap.from_explanation(explanation)
    for found, raw in zip(
        faithfulness_correlations(measured, [measured.raw, measured.raw.T]),
        (measured.raw, measured.raw.T),
        strict=True,
    ):
        alone = METRICS[METRIC].measure(measured._replace(raw=raw))
        assert found.value == alone.value
        for name in ("centre", "likeliest others", "random others"):
            assert found.references[name] == alone.references[name]
        for name in ("shuffled", "moved"):
            assert found.references[name] == pytest.approx(alone.references[name], abs=0.1)


def test_correlations_are_pearsons() -> None:
    draw = np.random.default_rng(0)
    maps, visible = draw.random((3, 16)), draw.random((50, 16)) < 0.5
    scores = draw.normal(size=50)
    expected = [np.corrcoef([m[v].sum() for v in visible], scores)[0, 1] for m in maps]
    assert correlations(maps, visible, scores) == pytest.approx(expected)
    assert correlations(np.full((1, 16), 0.3), visible[:, ::-1], scores) == pytest.approx(
        [np.corrcoef(visible.sum(1), scores)[0, 1]]
    )
    half = np.array([draw.permutation(np.arange(16) < 8) for _ in range(50)])
    assert correlations(np.full((1, 16), 0.3), half, scores) == [0.0]
    assert correlations(maps, visible, np.full(50, -3.7)) == pytest.approx([0, 0, 0])


REFERENCES = ("centre", "shuffled", "moved", "likeliest others", "random others")
value = st.floats(-1, 1, width=16)


@given(
    own=value,
    references=st.dictionaries(st.sampled_from(REFERENCES), value),
    areas=st.dictionaries(
        st.sampled_from(("deletion", "insertion")), st.tuples(value, value, value)
    ),
)
def test_no_verdict_contradicts_what_is_drawn(
    own: float, references: dict[str, float], areas: dict[str, tuple[float, float, float]]
) -> None:
    """Whatever does as well as the map, or better, there is no support."""
    found = {METRIC: Measurement(own, references)}
    for name, (area, order, centre) in areas.items():
        found[name] = Measurement(area, {"random order": order, "centre": centre})
    better = [reference >= own for reference in references.values()]
    for name, (area, *others) in areas.items():
        better += [x <= area if name == "deletion" else x >= area for x in others]
    result = metrics.supports(found)
    if any(better):
        assert result is not True
    for name, (area, *others) in areas.items():
        if (area < min(others)) if name == "deletion" else (area > max(others)):
            assert result is not False
    sentence = metrics.verdict(found)
    assert sentence.startswith("The map shows") == (result is True)
    assert sentence.startswith("The map does not show") == (result is False)
    assert sentence.startswith("This picture cannot tell") == (result is None)


def test_without_the_deciding_metric_there_is_no_verdict() -> None:
    found = {"deletion": Measurement(0.1, {"random order": 0.5, "centre": 0.4})}
    assert metrics.supports(found) is None
    with pytest.raises(ValueError, match=METRIC):
        metrics.verdict(found)


@pytest.mark.parametrize(
    "query",
    [
        {"target": "tabby", "method": "guided-backprop"},
        {"target": "tabby", "detail": 2.0},
        {"task": "vqa", "question": "What animal is this?"},
    ],
)
def test_maps_of_other_tasks_and_methods_have_rivals(
    cat_file: Path, query: dict[str, str | float]
) -> None:
    explanation = gradcam_core.explain(cat_file, **query)
    (found,) = metrics.measure(explanation, [METRIC]).values()
    assert found.references.keys() == set(REFERENCES)
    assert np.isfinite([found.value, *found.references.values()]).all()
    if query.get("method") == "guided-backprop":  # the same map for all classes
        assert found.value == pytest.approx(found.references["random others"], abs=0.1)
