"""The attack on a network whose best answer to it is known."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import gradcam_core
from gradcam_core import metrics
from gradcam_core.image.placement import WHOLE_PICTURE, Placement
from gradcam_core.metrics.robustness import perturb
from gradcam_core.models.backbone import Backbone
from gradcam_core.models.base import LabelHead
from gradcam_core.models.classifiers import Classifier

SIDE = 8


class Halves(nn.Module):
    """How red the left half of the picture is, and how blue the right one."""

    def forward(self, pixels: Tensor) -> Tensor:
        red, blue = pixels[:, 0, :, : SIDE // 2], pixels[:, 2, :, SIDE // 2 :]
        return torch.stack([red, blue], 1)


def as_pixels(image: Image.Image) -> tuple[Tensor, Placement]:
    """Values from -1 to 1: the radius is a share of their range."""
    values = torch.from_numpy(np.asarray(image.resize((SIDE, SIDE)), np.float32))
    return values.permute(2, 0, 1)[None] / 127.5 - 1, WHOLE_PICTURE


def halves() -> Classifier:
    backbone = Backbone("halves", {"halves": Halves()}, as_pixels)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier("halves", backbone, head, [("red",), ("blue",)])


def test_every_pixel_that_counts_changes_by_the_radius() -> None:
    model = halves()
    encoded = model.encode(Image.new("RGB", (SIDE, SIDE), (250, 100, 3)))
    head = model.bind(encoded)
    assert isinstance(head, LabelHead)
    made = perturb(head, head.target("blue"), radius=10 / 255)
    changed = np.asarray(made.picture)
    assert (changed[:, : SIDE // 2] == (240, 100, 3)).all()
    assert (changed[:, SIDE // 2 :] == (250, 100, 13)).all()
    back = perturb(head, head.target("red"), radius=10 / 255)
    shown = np.asarray(back.picture)
    assert (shown[:, : SIDE // 2] == (255, 100, 3)).all()  # no further than the range of red
    assert (shown[:, SIDE // 2 :] == (250, 100, 0)).all()
    assert back.change[0, 0].tolist() == pytest.approx([0.5, 0, 0], abs=1e-5)


@pytest.mark.parametrize(("radius", "says"), [(10 / 255, "red"), (60 / 255, "blue")])
def test_the_attack_succeeds_if_the_radius_is_large_enough(radius: float, says: str) -> None:
    model = halves()
    picture = Image.new("RGB", (2000, 1000), (150, 100, 60))
    explanation = gradcam_core.explain(picture, model=model)
    assert explanation.target == "red"
    found = metrics.attack(explanation, None if says == "red" else "blue", radius)
    assert found.succeeded == (says == "blue")
    assert (found.after.target, found.adversarial.target) == ("red", "blue")
    assert found.after.predictions[0].text == found.adversarial.predictions[0].text == says
    red = (150 - 255 * radius) / 127.5 - 1  # as the network takes it
    assert found.after.score == pytest.approx(red, abs=1e-5)
    with pytest.raises(ValueError, match="is the explained class"):
        metrics.attack(explanation, "red", radius)
    with pytest.raises(ValueError, match="radius"):
        metrics.attack(explanation, "blue", 0)


def test_a_finer_map_is_compared_with_the_map_of_the_attacked_input() -> None:
    photo = Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 50).convert("RGB")
    explanation = gradcam_core.explain(photo, detail=2)
    result = metrics.attack(explanation)
    assert result.before.raw.shape == (14, 14)
    assert result.after.raw.shape == (7, 7)
    assert -1 <= result.correlation <= 1
