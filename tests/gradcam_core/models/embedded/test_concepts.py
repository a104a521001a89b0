"""Concepts add up to the score; models without named directions have none."""

import csv
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from torch import nn

import gradcam_core
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.embedded.concepts import LEAST_AGAINST, LEAST_FOR, WEIGHTS
from gradcam_core.models.embedded.lite import lite_classifier_layer


@pytest.mark.parametrize("target", ["Egyptian cat", "toilet tissue"])
def test_concepts_are_the_parts_of_the_linear_head(
    cat_file: Path, cat: Encoded, target: str
) -> None:
    """Computed anew from the files, in float64, without the model's own code."""
    explanation = gradcam_core.explain(cat_file, target=target)
    layer = lite_classifier_layer(0)
    names = gradcam_core.load("lite0").labels
    pooled = cat.head_input.detach()[0].mean((1, 2)).double().numpy()
    logits = layer.weight.detach().double().numpy() @ pooled + layer.bias.detach().numpy()
    files = load_file(WEIGHTS / "lite0-names.safetensors")
    with (WEIGHTS / "lite0-names.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    scores = files["directions"].astype(np.float64) @ pooled - files["offset"]
    index = names.index(target)
    adds = files["parts"][index] * scores
    rest = logits[index] - logits.mean() - adds.sum()
    parts = np.append(adds, rest)
    assert parts.sum() == pytest.approx(explanation.score - logits.mean(), abs=1e-3)
    whole = max(parts[parts > 0].sum(), -parts[parts < 0].sum())
    expected = {
        row["name"]: (add / whole, int(row["of_ten"]))
        for row, add, score, seen in zip(rows, adds, scores, files["seen"], strict=True)
        if score >= seen and (add >= LEAST_FOR * whole or add <= -LEAST_AGAINST * whole)
    }
    found = {
        concept.name: (concept.share, concept.top10_correct) for concept in explanation.concepts
    }
    assert found.keys() <= expected.keys()
    for name, (share, top10_correct) in found.items():
        assert share == pytest.approx(expected[name][0], abs=1e-3)
        assert top10_correct == expected[name][1]
    for sign in (1, -1):
        strongest = sorted((share for share, _ in expected.values()), key=lambda x: -x * sign)
        ours = [share for share, _ in found.values() if share * sign > 0]
        assert ours == pytest.approx([x for x in strongest if x * sign > 0][:3], abs=1e-3)


def test_a_map_is_where_it_adds(cat_file: Path, cat: Encoded, lite0: Classifier) -> None:
    concept = gradcam_core.explain(cat_file, target="tabby").concepts[0]
    files = load_file(WEIGHTS / "lite0-names.safetensors")
    with (WEIGHTS / "lite0-names.csv").open(encoding="utf-8") as table:
        one = [row["name"] for row in csv.DictReader(table)].index(concept.name)
    part = files["parts"][lite0.labels.index("tabby"), one].astype(np.float64)
    for row, column in np.ndindex(7, 7):
        cell = cat.head_input.detach()[0, :, row, column].double().numpy()
        adds = part * (files["directions"][one].astype(np.float64) @ cell - files["offset"][one])
        assert concept.raw[row, column] == pytest.approx(max(adds, 0), abs=1e-2)


def test_a_cat_counts_for_a_cat(cat_file: Path) -> None:
    explanation = gradcam_core.explain(cat_file, target="tabby")
    assert explanation.concepts[0].name == "cat"
    assert explanation.concepts[0].raw.shape == (7, 7)
    assert "because: cat" in explanation.concepts_in_words
    espresso = gradcam_core.explain(cat_file, target="espresso maker")
    assert espresso.concepts_in_words == "despite: cat (63 %)"


def test_concepts_of_small_shares_are_left_out(cat_file: Path, lite0: Classifier) -> None:
    """People often do not see them: benchmarks/reasons.py."""
    shares = [
        concept.share
        for explanation in gradcam_core.explain(cat_file, target=lite0.labels[::50])
        for concept in explanation.concepts
    ]
    assert shares
    assert all(share >= LEAST_FOR or share <= -LEAST_AGAINST for share in shares)
    boxer = gradcam_core.explain(cat_file, target="boxer")
    assert (boxer.faint, boxer.concepts_in_words) == (True, "")  # 21 % against it


@pytest.mark.parametrize(
    ("task", "model"), [("classification", "lite2"), ("captioning", None), ("vqa", None)]
)
def test_other_models_have_none(cat_file: Path, task: str, model: str | None) -> None:
    question = "What is this?" if task == "vqa" else None
    explanation = gradcam_core.explain(cat_file, task, question=question, model=model)
    assert explanation.concepts is None
    assert explanation.concepts_in_words == ""


def test_a_wrapped_network_has_none_even_if_it_is_called_lite0(cat_file: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    own = gradcam_core.wrap(network, name="lite0")
    assert gradcam_core.explain(cat_file, model=own).concepts is None
