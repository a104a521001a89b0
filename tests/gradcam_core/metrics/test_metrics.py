"""Metrics of faithfulness against cases worked out by hand, and the sanity check."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
import typer.testing
from PIL import Image
from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from torch import Tensor, nn

import gradcam_core
from gradcam_core import metrics
from gradcam_core.__main__ import app
from gradcam_core.image.geometry import WHOLE
from gradcam_core.metrics import METRICS, Finding, Subject, faithfulness
from gradcam_core.metrics.imputation import impute
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import Model
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

    def forward(self, features: Tensor) -> Tensor:
        p = (2 * features.mean((1, 2, 3))).clamp(1e-6, 1 - 1e-6)
        return torch.stack([p.log(), (1 - p).log()], 1)


def as_pixels(image: Image.Image) -> tuple[Tensor, tuple[float, float, float, float]]:
    values = torch.from_numpy(np.asarray(image.resize((SIDE, SIDE)), np.float32))
    return values.permute(2, 0, 1)[None] / 255, WHOLE


@pytest.fixture(scope="module")
def model() -> Classifier:
    backbone = Backbone("brightness", {"halves": Brightness()}, as_pixels)
    return Classifier("brightness", backbone, Probability(), [("bright",), ("dark",)])


@pytest.fixture(scope="module")
def encoded(model: Classifier) -> Encoded:
    return model.encode(Image.new("RGB", (SIDE, SIDE), "white"))


def subject(model: Classifier, encoded: Encoded, *, left: bool) -> Subject:
    """A map that marks the half that counts, or the other one."""
    raw = np.zeros((4, 4), np.float32)
    raw[:, :2] = 1 if left else 0
    raw[:, 2:] = 0 if left else 1
    return Subject(model, encoded, model.target("bright"), raw)


def test_deletion_by_hand(model: Classifier, encoded: Encoded) -> None:
    """Marked pixels first: the probability falls to 0 on the first half and stays there."""
    found = METRICS["deletion"].measure(subject(model, encoded, left=True))
    assert len(found.curve) == 21
    expected = [max(0, 1 - 2 * i / 20) for i in range(21)]
    assert found.curve == pytest.approx(expected, abs=0.01)
    assert found.value == pytest.approx(0.25, abs=0.01)
    alone = faithfulness.curve_area(subject(model, encoded, left=True), deleting=True)
    assert alone == found.value
    assert found.curves_beside.keys() == found.beside.keys() == {"random order", "centre"}
    wrong = METRICS["deletion"].measure(subject(model, encoded, left=False))
    assert wrong.value == pytest.approx(0.75, abs=0.01)


def test_the_random_order_is_that_of_the_cells_shuffled(
    model: Classifier, encoded: Encoded
) -> None:
    """So it changes as large pieces as the map does; single pixels would blind any network."""
    marked = subject(model, encoded, left=True)
    found = METRICS["deletion"].measure(marked)
    shuffled = np.random.default_rng(0).permutation(marked.raw.ravel()).reshape(4, 4)
    of_shuffled = METRICS["deletion"].measure(marked._replace(raw=shuffled))
    assert found.beside["random order"] == of_shuffled.value
    assert found.curves_beside["random order"] == of_shuffled.curve
    assert found.value < of_shuffled.value < 0.75


def test_insertion_by_hand(model: Classifier) -> None:
    """From a blurred picture of which the left half is black: it comes back on the first half."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, : SIDE // 2] = 255
    encoded = model.encode(Image.fromarray(picture))
    right = METRICS["insertion"].measure(subject(model, encoded, left=True))
    wrong = METRICS["insertion"].measure(subject(model, encoded, left=False))
    assert right.curve[-1] == wrong.curve[-1] == pytest.approx(1, abs=1e-5)
    assert right.curve[0] == wrong.curve[0] < 1
    assert right.curve[10] == pytest.approx(1, abs=0.01)
    assert wrong.curve[10] == pytest.approx(wrong.curve[0], abs=0.01)
    assert right.value > right.beside["random order"] > wrong.value
    alone = faithfulness.curve_area(subject(model, encoded, left=True), deleting=False)
    assert alone == right.value


def test_average_drop_by_hand(model: Classifier, encoded: Encoded) -> None:
    """What the map lets through of the left half: all but its edge towards the right."""
    found = METRICS["average-drop"].measure(subject(model, encoded, left=True))
    # Bilinear, cells of five pixels: the last two of the ten columns get 0.8 and 0.6.
    assert found.value == pytest.approx(1 - (8 + 0.8 + 0.6) / 10, abs=1e-4)
    assert found.beside == {"increase": 0.0}
    wrong = METRICS["average-drop"].measure(subject(model, encoded, left=False))
    assert wrong.value > 0.8


def test_a_probability_of_0_has_nothing_to_lose(model: Classifier, encoded: Encoded) -> None:
    head = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    for parameter, value in zip(head.parameters(), (0.0, torch.tensor([-200.0, 0.0])), strict=True):
        parameter.data[:] = value
    sure = Classifier("sure", model.backbone, head, [("never",), ("always",)])
    found = METRICS["average-drop"].measure(subject(model, encoded, left=True)._replace(model=sure))
    assert (found.value, found.beside) == (0.0, {"increase": 0.0})


def test_average_drop_is_that_of_pytorch_grad_cam(lite0: Model, cat_file: Path) -> None:
    """Which leaves out to divide by the probability of the whole picture."""
    encoded = lite0.encode(Image.open(cat_file).convert("RGB"))
    target = lite0.target("tabby")
    rng = np.random.default_rng(0)
    for raw in (rng.random((7, 7), np.float32), np.eye(7, dtype=np.float32)):
        of_map = Subject(lite0, encoded, target, raw)
        found = METRICS["average-drop"].measure(of_map)
        peers = [
            metric()(
                encoded.pixels,
                of_map.at_input()[None],
                [lambda logits: logits.softmax(-1)[target.ids[0]]],
                lambda pixels: lite0.logits(lite0.backbone.features(pixels), None)[None],
            )
            for metric in (DropInConfidence, IncreaseInConfidence)
        ]
        whole = lite0.score_terms(encoded, target).probability
        assert found.value == pytest.approx(peers[0].item() / whole, abs=1e-4)
        assert found.beside["increase"] == peers[1].item()


def test_imputation_is_that_of_pytorch_grad_cam() -> None:
    rng = np.random.default_rng(0)
    values, removed = rng.random((30, 40, 3)), rng.random((30, 40)) < 0.7
    removed[:10, :20] = True
    filled = impute(values, removed)
    picture, kept = torch.tensor(values).permute(2, 0, 1), torch.tensor(~removed)
    expected = NoisyLinearImputer(noise=0.0)(picture.float(), kept.float())
    assert np.abs(filled - expected.permute(1, 2, 0).numpy()).max() < 1e-5
    assert np.array_equal(filled[~removed], values[~removed])
    assert np.allclose(impute(values, np.ones((30, 40), bool)), values.mean((0, 1)))


def test_road_by_hand(model: Classifier) -> None:
    """The half that counts is white, the other black; where it is gone, all becomes black."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, : SIDE // 2] = 255
    encoded = model.encode(Image.fromarray(picture))
    right, wrong = (
        METRICS["road"].measure(subject(model, encoded, left=left)) for left in (True, False)
    )
    assert right.curve[0] > right.curve[1] > right.curve[2]
    assert right.curve[2:] == pytest.approx([0, 0, 0], abs=0.02)
    assert right.curves_beside["weakest first"] == pytest.approx([1] * 5, abs=0.02)
    assert right.value == pytest.approx((5 - sum(right.curve)) / 10, abs=0.01)
    assert wrong.curve == pytest.approx([1] * 5, abs=0.02)
    assert wrong.value == pytest.approx(-0.3, abs=0.01)  # seen at 10 % and 30 % only


def test_occlusion_correlation_by_hand(model: Classifier, encoded: Encoded) -> None:
    measure = METRICS["occlusion-correlation"].measure
    right, wrong = (measure(subject(model, encoded, left=left)) for left in (True, False))
    assert right.value == pytest.approx(-wrong.value)
    assert right.value > 0.7
    nothing = subject(model, encoded, left=True)._replace(raw=np.zeros((4, 4), np.float32))
    assert measure(nothing).value == 0
    # What covering costs, where the network looks and where it does not.
    assert right.map.shape == (4, 4)
    assert right.map[:, 0].min() > 0
    assert right.map[:, 3].max() == pytest.approx(0, abs=1e-4)


def test_measure_takes_an_explanation() -> None:
    photo = Image.effect_noise((60, 40), 80).convert("RGB")
    caption = gradcam_core.explain(photo, "captioning", target="a cat sleeps")
    found = metrics.measure(caption, ["average-drop"])
    assert found.keys() == {"average-drop"}
    assert np.isfinite(found["average-drop"].value)
    with pytest.raises(ValueError, match="no metric 'beauty'"):
        metrics.measure(caption, ["beauty"])
    with pytest.raises(ValueError, match="randomises classifiers"):
        next(metrics.sanity_check(caption))


def test_the_sanity_check_starts_at_the_head_and_leaves_the_model_alone(
    lite0: Classifier, cat: Encoded
) -> None:
    photo = Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 50).convert("RGB")
    explanation = gradcam_core.explain(photo)
    before = [parameter.clone() for parameter in lite0.backbone._stages.parameters()]
    steps = list(metrics.sanity_check(explanation))
    assert [step.layer for step in steps] == ["head", *reversed(lite0.backbone.layers)]
    assert all(step.raw.shape == explanation.raw.shape for step in steps)
    assert all(-1 <= step.correlation <= 1 for step in steps)
    assert not np.array_equal(steps[0].raw, explanation.raw)
    # With its last stages random it no longer knows where it looked.
    assert abs(np.mean([step.correlation for step in steps[3:]])) < 0.5
    after = lite0.backbone._stages.parameters()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert np.array_equal(gradcam_core.explain(photo).raw, explanation.raw)


def test_one_sentence_says_what_the_figures_say(model: Classifier, encoded: Encoded) -> None:
    names = ("deletion", "occlusion-correlation")
    right, wrong = (
        {name: METRICS[name].measure(subject(model, encoded, left=left)) for name in names}
        for left in (True, False)
    )
    assert "The map marks what the network uses" in metrics.in_words(right)
    assert "does not show what the network uses" in metrics.in_words(wrong)
    mixed = {"deletion": right["deletion"], "occlusion-correlation": wrong["occlusion-correlation"]}
    assert metrics.in_words(mixed) == (
        "The evidence is mixed: greying what it marks takes the answer away sooner than chance, "
        "but covering the parts that it ranks high costs no more than covering others."
    )
    # Of 16 cells in random order one in twenty correlates by more than .42.
    for value, words in ((0.4, "does not show"), (0.45, "marks what")):
        found = Finding(value, map=np.zeros((4, 4), np.float32))
        assert words in metrics.in_words({"occlusion-correlation": found}), value
    with pytest.raises(ValueError, match="was measured"):
        metrics.in_words({})


def test_command_line(cat_file: Path, tmp_path: Path) -> None:
    # Small, for it is asked some two hundred times.
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 8])
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(tmp_path)
    asked = ["evidence", str(cat_file), "--sanity", "--model", str(tmp_path)]
    run = typer.testing.CliRunner().invoke(app, asked)
    assert run.exit_code == 0, run.output
    assert "Deletion, area under the curve: 0." in run.output
    assert "  resnet.encoder.stages.3" in run.output
    bad = typer.testing.CliRunner().invoke(app, ["evidence", "nowhere.jpg"])
    assert bad.exit_code == 1
    assert "There is no file nowhere.jpg" in bad.output
