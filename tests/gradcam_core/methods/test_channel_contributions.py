"""What each channel adds to a map, against autograd on the whole network and sums by hand."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from torch import Tensor, nn

import gradcam_core
from gradcam_core import ChannelContributions, Explainer, FeatureCache, Query, channel_contributions

WEIGHTED = ["cam", "grad-cam", "grad-cam++", "xgrad-cam"]


def alpha_by_hand(network: nn.Module, layer: str, pixels: Tensor, index: int) -> list[np.ndarray]:
    """Eq. 1 on the whole network: the mean of the gradient at a layer; and the feature map."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = network.get_submodule(layer).register_forward_hook(keep)
    network(pixels.requires_grad_())[0, index].backward()
    handle.remove()
    (activations,) = kept
    return [activations.grad[0].mean((1, 2)).numpy(), activations.detach()[0].numpy()]


def test_the_weights_are_those_of_eq_1(
    whole: nn.Module, lite0: gradcam_core.Model, cat_file: Path
) -> None:
    picture = gradcam_core.open_image(cat_file)
    pixels, _ = lite0.backbone.preprocess(picture)
    for target in ("tabby", "golden retriever"):
        explanation = gradcam_core.explain(picture, target=target)
        found = channel_contributions(explanation)
        index = lite0.find(target)[0]
        alpha, activations = alpha_by_hand(whole, "bn2.act", pixels.clone(), index)
        assert found.weights == pytest.approx(alpha, abs=1e-6)
        assert found.activations == pytest.approx(activations, abs=1e-4)
        terms = alpha[:, None, None] * activations
        strengths = np.abs(terms).sum((1, 2))
        assert found.strengths == pytest.approx(strengths, abs=1e-4)
        descending = np.sort(strengths)[::-1]
        for count in (0, 1, 10, 100, len(alpha)):
            share = descending[:count].sum() / descending.sum()
            assert found.share(count) == pytest.approx(share, abs=1e-4)
            some = terms[found.order[:count]].sum(0)
            assert found.sum(count) == pytest.approx(some, abs=1e-4)
            assert found.map(count) == pytest.approx(some.clip(min=0), abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        *({"method": method, "target": "tabby"} for method in WEIGHTED),
        {"target": "school bus"},  # hardly any evidence
        {"detail": 2.0},
        {"layer": "blocks.2"},
        {"model": "lite2"},
        {"task": "captioning"},
        {"task": "captioning", "target": "a dog on a sofa"},
        {"task": "vqa", "question": "What animal is this?"},
        {"task": "vqa", "question": "Is there a dog?", "target": "yes"},
        {"task": "vqa", "model": "lite0-vqa-coattention", "question": "What is this?"},
    ],
    ids=str,
)
def test_all_channels_together_are_the_map(options: dict[str, object], cat_file: Path) -> None:
    """Of the target, and of each word of a caption."""
    explanation = gradcam_core.explain(cat_file, **options)
    maps = [(None, explanation.target, explanation.raw)]
    maps += [(i, word.text, word.raw) for i, word in enumerate(explanation.words)]
    for word, text, raw in maps:
        found = channel_contributions(explanation, word)
        assert (found.target, found.word) == (explanation.target, None if word is None else text)
        rounding = 2e-6 * np.tensordot(np.abs(found.weights), np.abs(found.activations), 1).max()
        assert found.map() == pytest.approx(raw, abs=float(rounding))
        assert found.sum().clip(min=0) == pytest.approx(found.map(), abs=float(rounding))
        if word is None and options.get("method", "grad-cam") == "grad-cam":  # section 3.3
            against = explanation.raw_counterfactual
            assert -found.sum().clip(max=0) == pytest.approx(against, abs=float(rounding))


def test_a_caption_is_the_sum_of_its_words(cat_file: Path) -> None:
    """And of what ends it: the score is the sum of their log-probabilities."""
    explanation = gradcam_core.explain(cat_file, "captioning")
    model, target = explanation.origin
    head = model.bind(model.encode(explanation.picture))
    (score,) = head.scores([target])
    cells = head.encoded.activations
    of_terms = []
    for term in score.terms:
        (gradient,) = torch.autograd.grad(term, cells, retain_graph=True)
        of_terms.append(gradient[0].mean((1, 2)).numpy())
    whole = channel_contributions(explanation)
    assert whole.weights == pytest.approx(np.sum(of_terms, 0), abs=1e-6)
    for i, _ in enumerate(explanation.words):
        found = channel_contributions(explanation, i)
        assert found.weights == pytest.approx(of_terms[i], abs=1e-6)


def test_with_a_cache_the_network_is_not_run_again(
    cat_file: Path, monkeypatch: pytest.MonkeyPatch, lite0: gradcam_core.Model
) -> None:
    explainer = Explainer(FeatureCache())
    explanation = explainer.explain(cat_file, Query(target="tabby"))
    monkeypatch.setattr(lite0.backbone, "encode_pixels", None)
    found = explainer.channel_contributions(cat_file, Query(target="tabby"))
    assert found.map() == pytest.approx(explanation.raw, abs=1e-6)


class Small(nn.Module):
    """Six channels of 4 x 4 cells, positive and negative; mirrored pictures."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.GELU(), nn.Conv2d(6, 6, 3, 2, 1))
        self.classes = nn.Sequential(nn.Flatten(), nn.Linear(96, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classes(self.features(pixels))


def mirrored(picture: Image.Image) -> Tensor:
    values = np.asarray(picture.convert("RGB").resize((16, 16)), np.float32) / 255
    return torch.from_numpy(values).permute(2, 0, 1).flip(2)


def test_channels_are_upright_like_the_picture(cat_file: Path) -> None:
    network = Small().eval()
    model = gradcam_core.wrap(network, mirrored, classes=["a", "b", "c"], layer="features")
    explanation = gradcam_core.explain(cat_file, target="b", model=model)
    found = channel_contributions(explanation)
    assert found.map() == pytest.approx(explanation.raw, abs=1e-6)
    pixels = mirrored(Image.open(cat_file))[None]
    expected = network.features(pixels)[0].detach().numpy()
    assert found.activations == pytest.approx(expected[:, :, ::-1], abs=1e-4)


def test_a_score_without_gradient_has_no_contributions(cat_file: Path) -> None:
    model = gradcam_core.wrap(Small(), mirrored, classes=["a", "b", "c"], layer="features")
    explanation = gradcam_core.explain(
        cat_file, target=lambda output: 0 * output.sum(), model=model
    )
    found = channel_contributions(explanation)
    assert not found.weights.any()
    assert found.share(3) == found.share(6) == 0
    assert not found.map().any()
    assert np.array_equal(found.map(), explanation.raw)


def record(weights: np.ndarray, activations: np.ndarray) -> ChannelContributions:
    return ChannelContributions("tabby", None, weights, activations)


def test_a_single_channel_and_a_sum_below_zero() -> None:
    cells = np.array([[[1, 0], [2, 3]]], np.float32)
    one = record(np.array([-0.5], np.float32), cells)
    assert one.order.tolist() == [0]
    assert (one.share(0), one.share(1)) == (0, 1)
    assert one.sum().tolist() == [[-0.5, 0], [-1, -1.5]]
    assert not one.map().any()
    assert one.sum(0).tolist() == one.map(0).tolist() == [[0, 0], [0, 0]]


_FLOATS = st.floats(-100, 100, width=32)


@given(
    arrays.arrays(np.float32, 4, elements=_FLOATS),
    arrays.arrays(np.float32, (4, 3, 2), elements=_FLOATS),
)
def test_shares_rise_and_sums_add_up(weights: np.ndarray, activations: np.ndarray) -> None:
    found = record(weights, activations)
    shares = [found.share(count) for count in range(5)]
    assert shares[0] == 0
    assert all(0 <= a <= b <= 1 + 1e-12 for a, b in pairwise(shares))
    steps = np.diff(shares)
    assert all(a >= b - 1e-12 for a, b in pairwise(steps))  # strongest first
    terms = weights.astype(float)[:, None, None] * activations
    size = np.abs(terms).sum() + 1e-30
    assert found.sum() == pytest.approx(terms.sum(0), abs=1e-5 * size)
    assert sorted(found.order.tolist()) == [0, 1, 2, 3]
    assert shares[4] == (pytest.approx(1) if np.abs(terms).any() else 0)


def test_what_is_no_such_sum_is_refused(cat_file: Path) -> None:
    explanation = gradcam_core.explain(cat_file)
    for name, method in gradcam_core.methods().items():
        assert (method.weights is not None) == (name in WEIGHTED)
        if method.weights is None:
            other = replace(explanation, query=replace(explanation.query, method=name))
            with pytest.raises(ValueError, match=r"[.?]$"):
                channel_contributions(other)
    with pytest.raises(ValueError, match="no word 0"):
        channel_contributions(explanation, 0)
    fused = gradcam_core.explain(cat_file, layer=["blocks.4", "blocks.6"])
    with pytest.raises(ValueError, match="several layers"):
        channel_contributions(fused)
    caption = gradcam_core.explain(cat_file, "captioning")
    for word in (-1, len(caption.words)):
        with pytest.raises(ValueError, match="no word"):
            channel_contributions(caption, word)
