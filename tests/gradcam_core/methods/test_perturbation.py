"""Methods that ask again, against literal computations on a network small enough for loops."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import gradcam_core
from gradcam_core.image.placement import WHOLE_PICTURE
from gradcam_core.methods import perturbation
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.classifiers import Classifier
from tests.support.methods import attribute

SIDE = 28


class Redness(nn.Module):
    """How red the upper left quarter is, and how blue the lower right one."""

    def forward(self, pixels: Tensor) -> Tensor:
        half = pixels.shape[-1] // 2
        red = pixels[:, 0, :half, :half].mean((1, 2))
        blue = pixels[:, 2, half:, half:].mean((1, 2))
        # A map whose mean the head reads.
        return torch.stack([red, blue], 1)[:, :, None, None].expand(-1, -1, 7, 7).contiguous()


def as_pixels(image: Image.Image) -> tuple[Tensor, tuple[float, float, float, float]]:
    values = torch.from_numpy(np.asarray(image.resize((SIDE, SIDE)), np.float32))
    return values.permute(2, 0, 1)[None] / 255, WHOLE_PICTURE


@pytest.fixture(scope="module")
def model() -> Classifier:
    backbone = Backbone("redness", {"quarters": Redness()}, as_pixels)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier("redness", backbone, head, [("red",), ("blue",)])


@pytest.fixture(scope="module")
def encoded(model: Classifier) -> Encoded:
    return model.encode(Image.new("RGB", (40, 30), "white"))


def test_occlusion_is_the_drop_of_the_score(model: Classifier, encoded: Encoded) -> None:
    found = attribute("occlusion", model, encoded, "red")
    expected = np.zeros((7, 7))
    for row in range(7):
        for column in range(7):
            covered = encoded.pixels.clone()
            # Cells are four pixels wide, squares eight.
            top, left = 4 * row - 2, 4 * column - 2
            covered[:, :, max(top, 0) : top + 8, max(left, 0) : left + 8] = 0
            expected[row, column] = 1 - covered[0, 0, :14, :14].mean().item()
    assert found.attribution.numpy() == pytest.approx(expected, abs=1e-6)
    assert found.attribution[:3, :3].all()
    assert not found.attribution[5:, :].any()
    assert not found.counterfactual.any()
    assert found.score.terms.sum().item() == pytest.approx(1)


def test_parts_that_lower_the_score_are_counterevidence() -> None:
    backbone = Backbone("redness", {"quarters": Redness()}, as_pixels)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1, bias=False))
    head[2].weight.data = torch.tensor([[1.0, -2.0]])
    model = Classifier("contrast", backbone, head, [("red, not blue",)])
    encoded = model.encode(Image.new("RGB", (40, 30), "white"))
    found = attribute("occlusion", model, encoded, "red, not blue")
    assert found.attribution[0, 0] > 0
    assert found.counterfactual[6, 6] > 0
    assert not (found.attribution * found.counterfactual).any()


def test_rise_is_the_mean_of_the_scores_of_masks_that_show_a_cell(
    model: Classifier, encoded: Encoded
) -> None:
    masks = perturbation.random_masks((SIDE, SIDE), perturbation._MASKS)
    assert masks.shape == (perturbation._MASKS, SIDE, SIDE)
    assert 0 <= masks.min() < 0.01
    assert 0.99 < masks.max() <= 1
    assert masks.mean().item() == pytest.approx(0.5, abs=0.02)
    total, weight, scores = np.zeros((7, 7)), np.zeros((7, 7)), []
    for mask in masks:
        score = mask[:14, :14].mean().item()  # of a white picture
        scores.append(score)
        shown = mask.reshape(7, 4, 7, 4).mean((1, 3)).numpy()
        total += score * shown
        weight += shown
    expected = total / weight - np.mean(scores)
    found = attribute("rise", model, encoded, "red")
    assert found.attribution.numpy() == pytest.approx(expected.clip(0), abs=1e-5)
    assert found.counterfactual.numpy() == pytest.approx((-expected).clip(0), abs=1e-5)
    assert np.unravel_index(found.attribution.numpy().argmax(), (7, 7)) < (3, 3)


def test_score_cam_agrees_with_pytorch_grad_cam(
    lite0: Classifier, whole: nn.Module, cat: Encoded
) -> None:
    from pytorch_grad_cam import ScoreCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    encoded = lite0.backbone.encode_pixels(cat.pixels, "stem")
    found = attribute("score-cam", lite0, encoded, "285").attribution
    targets = [ClassifierOutputTarget(285)]
    with ScoreCAM(whole, [whole.bn1]) as peer:
        peer.activations_and_grads(cat.pixels)
        maps = peer.activations_and_grads.activations[0].numpy()
        weights = peer.get_cam_weights(cat.pixels, [whole.bn1], targets, maps, None)
    expected = np.einsum("k,kij->ij", np.asarray(weights)[0], maps[0]).clip(0)
    assert found.numpy() / expected.max() == pytest.approx(expected / expected.max(), abs=1e-4)


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_words_and_answers_are_explained(
    method: str, cat: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perturbation, "_MASKS", 16)
    captioner = gradcam_core.load("lite0-caption")
    maps = attribute(method, captioner, cat, "a cat sleeps")
    assert maps.words.shape == (3, 7, 7)
    assert maps.attribution.any()
    # The whole is the sum of the words, where both speak for it.
    assert (maps.words.sum(0) >= maps.attribution - 1e-5).all()
