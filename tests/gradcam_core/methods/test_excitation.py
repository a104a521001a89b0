"""c-MWP against a literal computation, and where it is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import gradcam_core
from gradcam_core.image.placement import WHOLE_PICTURE, Placement
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.classifiers import Classifier
from tests.support.methods import attribute


@pytest.fixture
def small() -> Classifier:
    torch.manual_seed(15)  # units win for either side
    stages = {
        "first": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        "last": nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.ReLU()),
    }
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2)
    )

    def as_pixels(image: Image.Image) -> tuple[Tensor, Placement]:
        values = torch.from_numpy(np.asarray(image.resize((10, 10)), np.float32))
        return values.permute(2, 0, 1)[None] / 255, WHOLE_PICTURE

    return Classifier("small", Backbone("small", stages, as_pixels), head, [("one",), ("two",)])


def back(p: np.ndarray, inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Eq. 5, unit by unit: p of outputs (n,), inputs (m,), weights (n, m)."""
    found = np.zeros(len(inputs))
    for i, row in enumerate(weights):
        excitatory = [max(w, 0) * a for w, a in zip(row, inputs, strict=True)]
        for j, each in enumerate(excitatory):
            if sum(excitatory) > 0:
                found[j] += p[i] * each / sum(excitatory)
    return found


def test_it_is_the_literal_computation(small: Classifier, cat_file: Path) -> None:
    encoded = small.encode(Image.open(cat_file), "first")
    found = attribute("c-mwp", small, encoded, "two")

    first = encoded.activations.detach()[0]
    pool, convolution, relu = small.backbone.stages["last"]
    with torch.no_grad():
        pooled = pool(first[None])[0]
        last = relu(convolution(pooled[None]))[0]
        hidden = small.parts()["head"][:4](last[None])[0].numpy()
    lower, upper = (small.parts()["head"][i].weight.numpy() for i in (2, 4))
    signed = np.zeros(first.shape[1:])
    for sign in (1, -1):
        p = back(np.array([1.0]), hidden, sign * upper[1:2])
        p = back(p, last.mean((1, 2)).numpy(), lower)
        # The mean of h x w cells is a linear layer with equal weights.
        cells = last.numpy() / np.maximum(last.sum((1, 2), keepdim=True).numpy(), 1e-30)
        p = p[:, None, None] * cells
        at_pooled = np.zeros(pooled.shape)
        for k in range(p.shape[0]):
            for y in range(p.shape[1]):
                for x in range(p.shape[2]):
                    window = pooled[:, y : y + 2, x : x + 2].numpy()
                    weights = convolution.weight[k].numpy().reshape(1, -1)
                    won = back(np.array([p[k, y, x]]), window.ravel(), weights)
                    at_pooled[:, y : y + 2, x : x + 2] += won.reshape(window.shape)
        for k in range(pooled.shape[0]):
            for y in range(pooled.shape[1]):
                for x in range(pooled.shape[2]):
                    window = first[k, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
                    row, column = divmod(int(window.argmax()), 2)
                    signed[2 * y + row, 2 * x + column] += sign * at_pooled[k, y, x]
    assert signed.max() > 0 > signed.min()
    assert found.attribution.numpy() == pytest.approx(signed.clip(0), abs=1e-5)
    assert found.counterfactual.numpy() == pytest.approx((-signed).clip(0), abs=1e-5)
    with torch.no_grad():
        expected = small.head(small.backbone.head_input(encoded.pixels))[0, 1].item()
    assert found.score.terms.item() == pytest.approx(expected)


def test_of_the_embedded_network_at_its_last_layer(lite0: Classifier, cat: Encoded) -> None:
    found = attribute("c-mwp", lite0, cat, "285")
    weights = lite0.parts()["head"][2].weight[285]
    maps = cat.activations.detach()[0]
    won, lost = (torch.einsum("k,kij->ij", w.clamp(min=0), maps) for w in (weights, -weights))
    expected = won / won.sum() - lost / lost.sum()
    assert torch.allclose(found.attribution, expected.relu(), atol=1e-6)
    assert found.attribution.any()


@pytest.mark.parametrize(
    ("task", "layer", "message"),
    [
        ("classification", "blocks.6", "c-MWP is defined for"),
        ("captioning", None, "compares a class"),
        ("vqa", None, "compares a class"),
    ],
)
def test_it_is_refused_where_its_assumption_does_not_hold(
    task: str, layer: str | None, message: str, cat_file: Path
) -> None:
    question = "What animal is this?" if task == "vqa" else None
    with pytest.raises(ValueError, match=message):
        gradcam_core.explain(cat_file, task, question=question, layer=layer, method="c-mwp")
