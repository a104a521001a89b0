"""Faithfulness metrics against cases worked out by hand, and against pytorch-grad-cam."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
from torch import Tensor, nn

from gradcam_core.image.placement import WHOLE_PICTURE
from gradcam_core.metrics import METRICS, MeasuredMap, faithfulness
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.classifiers import Classifier

SIDE = 20


class Brightness(nn.Module):
    """A map of 4 x 4 cells: how bright the left half of the picture is there."""

    def forward(self, pixels: Tensor) -> Tensor:
        left = pixels.clone()
        left[..., SIDE // 2 :] = 0
        return nn.functional.adaptive_avg_pool2d(left.mean(1, keepdim=True), 4)


class Probability(nn.Module):
    """Two logits whose softmax gives the map's mean, doubled, as the first probability."""

    def forward(self, maps: Tensor) -> Tensor:
        p = (2 * maps.mean((1, 2, 3))).clamp(1e-6, 1 - 1e-6)
        return torch.stack([p.log(), (1 - p).log()], 1)


def as_pixels(image: Image.Image) -> tuple[Tensor, tuple[float, float, float, float]]:
    values = torch.from_numpy(np.asarray(image.resize((SIDE, SIDE)), np.float32))
    return values.permute(2, 0, 1)[None] / 255, WHOLE_PICTURE


@pytest.fixture(scope="module")
def model() -> Classifier:
    backbone = Backbone("brightness", {"halves": Brightness()}, as_pixels)
    return Classifier("brightness", backbone, Probability(), [("bright",), ("dark",)])


@pytest.fixture(scope="module")
def encoded(model: Classifier) -> Encoded:
    return model.encode(Image.new("RGB", (SIDE, SIDE), "white"))


def measured(model: Classifier, encoded: Encoded, *, left: bool) -> MeasuredMap:
    """A map that marks the half that counts, or the other one."""
    raw = np.zeros((4, 4), np.float32)
    raw[:, :2] = 1 if left else 0
    raw[:, 2:] = 0 if left else 1
    head = model.bind(encoded)
    return MeasuredMap(head, head.target("bright"), raw)


def test_deletion_by_hand(model: Classifier, encoded: Encoded) -> None:
    """Marked pixels first: the probability falls to 0 on the first half and stays there."""
    found = METRICS["deletion"].measure(measured(model, encoded, left=True))
    assert len(found.curve) == 21
    expected = [max(0, 1 - 2 * i / 20) for i in range(21)]
    assert found.curve == pytest.approx(expected, abs=0.01)
    assert found.value == pytest.approx(0.25, abs=0.01)
    alone = faithfulness.area_under_curve(measured(model, encoded, left=True), deleting=True)
    assert alone == found.value
    assert found.reference_curves.keys() == found.references.keys() == {"random order", "centre"}
    wrong = METRICS["deletion"].measure(measured(model, encoded, left=False))
    assert wrong.value == pytest.approx(0.75, abs=0.01)


def test_the_random_order_is_that_of_the_cells_shuffled(
    model: Classifier, encoded: Encoded
) -> None:
    """So it changes as large pieces as the map does; single pixels would blind any network."""
    marked = measured(model, encoded, left=True)
    found = METRICS["deletion"].measure(marked)
    shuffled = np.random.default_rng(0).permutation(marked.raw.ravel()).reshape(4, 4)
    of_shuffled = METRICS["deletion"].measure(marked._replace(raw=shuffled))
    assert found.references["random order"] == of_shuffled.value
    assert found.reference_curves["random order"] == of_shuffled.curve
    assert found.value < of_shuffled.value < 0.75


def test_insertion_by_hand(model: Classifier) -> None:
    """From a blurred picture of which the left half is black: it comes back on the first half."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, : SIDE // 2] = 255
    encoded = model.encode(Image.fromarray(picture))
    right = METRICS["insertion"].measure(measured(model, encoded, left=True))
    wrong = METRICS["insertion"].measure(measured(model, encoded, left=False))
    assert right.curve[-1] == wrong.curve[-1] == pytest.approx(1, abs=1e-5)
    assert right.curve[0] == wrong.curve[0] < 1
    assert right.curve[10] == pytest.approx(1, abs=0.01)
    assert wrong.curve[10] == pytest.approx(wrong.curve[0], abs=0.01)
    assert right.value > right.references["random order"] > wrong.value
    alone = faithfulness.area_under_curve(measured(model, encoded, left=True), deleting=False)
    assert alone == right.value


def test_average_drop_by_hand(model: Classifier, encoded: Encoded) -> None:
    """What the map lets through of the left half: all but its edge towards the right."""
    found = METRICS["average-drop"].measure(measured(model, encoded, left=True))
    # Bilinear, cells of five pixels: the last two of the ten columns get 0.8 and 0.6.
    assert found.value == pytest.approx(1 - (8 + 0.8 + 0.6) / 10, abs=1e-4)
    assert found.references == {"increase": 0.0}
    wrong = METRICS["average-drop"].measure(measured(model, encoded, left=False))
    assert wrong.value > 0.8


def test_a_probability_of_0_has_nothing_to_lose(model: Classifier, encoded: Encoded) -> None:
    head = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    for parameter, value in zip(head.parameters(), (0.0, torch.tensor([-200.0, 0.0])), strict=True):
        parameter.data[:] = value
    sure = Classifier("sure", model.backbone, head, [("bright",), ("dark",)])
    found = METRICS["average-drop"].measure(measured(sure, encoded, left=True))
    assert (found.value, found.references) == (0.0, {"increase": 0.0})


def test_average_drop_is_that_of_pytorch_grad_cam(lite0: Classifier, cat_file: Path) -> None:
    """Which leaves out to divide by the probability of the whole picture."""
    encoded = lite0.encode(Image.open(cat_file).convert("RGB"))
    head = lite0.bind(encoded)
    target = head.target("tabby")
    rng = np.random.default_rng(0)
    for raw in (rng.random((7, 7), np.float32), np.eye(7, dtype=np.float32)):
        measured_map = MeasuredMap(head, target, raw)
        found = METRICS["average-drop"].measure(measured_map)
        peers = [
            metric()(
                encoded.pixels,
                measured_map.at_input()[None],
                [lambda logits: logits.softmax(-1)[target.ids[0]]],
                lambda pixels: head.compute_logits(lite0.backbone.head_input(pixels))[None],
            )
            for metric in (DropInConfidence, IncreaseInConfidence)
        ]
        whole = head.own_score(target).probability
        assert found.value == pytest.approx(peers[0].item() / whole, abs=1e-4)
        assert found.references["increase"] == peers[1].item()


def test_road_by_hand(model: Classifier) -> None:
    """The half that counts is white, the other black; where it is gone, all becomes black."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, : SIDE // 2] = 255
    encoded = model.encode(Image.fromarray(picture))
    right, wrong = (
        METRICS["road"].measure(measured(model, encoded, left=left)) for left in (True, False)
    )
    assert right.curve[0] > right.curve[1] > right.curve[2]
    assert right.curve[2:] == pytest.approx([0, 0, 0], abs=0.02)
    assert right.reference_curves["weakest first"] == pytest.approx([1] * 5, abs=0.02)
    assert right.value == pytest.approx((5 - sum(right.curve)) / 10, abs=0.01)
    assert wrong.curve == pytest.approx([1] * 5, abs=0.02)
    assert wrong.value == pytest.approx(-0.3, abs=0.01)  # seen at 10 % and 30 % only


def test_occlusion_correlation_by_hand(model: Classifier, encoded: Encoded) -> None:
    measure = METRICS["occlusion-correlation"].measure
    right, wrong = (measure(measured(model, encoded, left=left)) for left in (True, False))
    assert right.value == pytest.approx(-wrong.value)
    assert right.value > 0.7
    right_map = measured(model, encoded, left=True)
    nothing = right_map._replace(raw=np.zeros((4, 4), np.float32))
    assert measure(nothing).value == 0
    y, x = (np.mgrid[:4, :4] + 0.5) / 4 - 0.5
    centre = right_map._replace(raw=(1 - np.hypot(y, x)).astype(np.float32))
    assert right.references == {"centre": pytest.approx(measure(centre).value)}
    # What covering costs, where the network looks and where it does not.
    assert right.map.shape == (4, 4)
    assert right.map[:, 0].min() > 0
    assert right.map[:, 3].max() == pytest.approx(0, abs=1e-4)
