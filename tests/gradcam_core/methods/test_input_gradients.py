"""Maps at the network's input against captum's, and what they say of themselves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import (
    Deconvolution,
    GuidedBackprop,
    IntegratedGradients,
    NoiseTunnel,
    Saliency,
)
from PIL import Image
from torch import Tensor, nn

import gradcam_core
from gradcam_core.image.placement import WHOLE_PICTURE
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.classifiers import Classifier
from tests.support.methods import attribute

EGYPTIAN_CAT = 285


def assert_alike(found: Tensor, expected: Tensor) -> None:
    """Relative to the maximum: what is shown is scaled to it."""
    assert expected.any()
    highest = expected.max()
    assert torch.allclose(found / highest, expected / highest, rtol=0, atol=1e-4)


def test_gradient_agrees_with_captum(lite0: Classifier, cat: Encoded, whole: nn.Module) -> None:
    found = attribute("gradient", lite0, cat, EGYPTIAN_CAT)
    pixels = cat.pixels.clone().requires_grad_()
    expected = Saliency(whole).attribute(pixels, target=EGYPTIAN_CAT)
    assert_alike(found.attribution, expected[0].amax(0))
    assert not found.counterfactual.any()


@pytest.fixture(scope="module")
def small() -> Classifier:
    """A network of `nn.ReLU`, the only non-linearity that captum's rules know."""
    torch.manual_seed(0)
    stages = {
        "first": nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()),
        "last": nn.Sequential(nn.Conv2d(8, 8, 3, stride=2), nn.ReLU()),
    }
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 2))

    def as_pixels(image: Image.Image) -> tuple[Tensor, tuple[float, float, float, float]]:
        values = torch.from_numpy(np.asarray(image.resize((20, 20)), np.float32))
        return values.permute(2, 0, 1)[None] / 255, WHOLE_PICTURE

    return Classifier("small", Backbone("small", stages, as_pixels), head, [("one",), ("two",)])


@pytest.fixture(scope="module")
def picture(small: Classifier, cat_file: Path) -> Encoded:
    return small.encode(Image.open(cat_file))


@pytest.fixture(scope="module")
def network(small: Classifier) -> nn.Module:
    return nn.Sequential(*small.backbone.stages.values(), small.parts()["head"])


def test_smoothgrad_agrees_with_captum_on_the_same_numbers(
    small: Classifier, picture: Encoded, network: nn.Module
) -> None:
    found = attribute("smoothgrad", small, picture, "two")
    torch.manual_seed(0)
    expected = NoiseTunnel(Saliency(network)).attribute(
        picture.pixels.clone(),
        nt_type="smoothgrad",
        nt_samples=25,
        nt_samples_batch_size=1,
        stdevs=0.15 * np.ptp(picture.pixels.numpy()).item(),
        target=1,
        abs=False,
    )
    assert_alike(found.attribution, expected[0].detach().abs().amax(0))


def test_integrated_gradients_agree_with_captum_and_add_up(
    small: Classifier, picture: Encoded, network: nn.Module
) -> None:
    found = attribute("integrated-gradients", small, picture, "two")
    expected = IntegratedGradients(network).attribute(picture.pixels.clone(), target=1, n_steps=64)
    signed = expected[0].detach().float().sum(0)
    assert_alike(found.attribution, signed.clamp(min=0))
    assert_alike(found.counterfactual, (-signed).clamp(min=0))
    with torch.no_grad():
        rise = (network(picture.pixels) - network(torch.zeros_like(picture.pixels)))[0, 1].item()
    total = (found.attribution - found.counterfactual).sum().item()
    assert total == pytest.approx(rise, rel=0.05)


@pytest.mark.parametrize(
    ("method", "peer"), [("guided-backprop", GuidedBackprop), ("deconvnet", Deconvolution)]
)
def test_rules_agree_with_captum(
    method: str,
    peer: type[GuidedBackprop | Deconvolution],
    small: Classifier,
    picture: Encoded,
    network: nn.Module,
) -> None:
    found = attribute(method, small, picture, "two")

    class Negated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: Tensor) -> Tensor:
            return -self.network(pixels)

    for own, module in ((found.attribution, network), (found.counterfactual, Negated())):
        expected = peer(module).attribute(picture.pixels.clone().requires_grad_(), target=1)
        assert_alike(own, expected[0].detach().abs().amax(0))


@pytest.mark.parametrize("rule", ["guided", "deconv"])
def test_its_product_with_grad_cam_is_the_papers(
    rule: str, lite0: Classifier, cat: Encoded
) -> None:
    single = "guided-backprop" if rule == "guided" else "deconvnet"
    fine = attribute(single, lite0, cat, EGYPTIAN_CAT)
    coarse = attribute("grad-cam", lite0, cat, EGYPTIAN_CAT)
    found = attribute(f"{rule}-grad-cam", lite0, cat, EGYPTIAN_CAT)
    enlarged = nn.functional.interpolate(
        coarse.attribution[None, None], (224, 224), mode="bilinear"
    )
    assert torch.allclose(found.attribution, fine.attribution * enlarged[0, 0])
    assert found.attribution.any()


@pytest.mark.parametrize("method", ["gradient", "guided-grad-cam", "deconvnet"])
def test_they_explain_words_and_answers(method: str, cat_file: Path) -> None:
    caption = gradcam_core.explain(cat_file, "captioning", target="a cat sleeps", method=method)
    assert caption.raw.shape == (224, 224)
    assert len(caption.words) == 3
    assert not np.allclose(caption.words[1].raw, caption.words[2].raw)
    answer = gradcam_core.explain(cat_file, "vqa", question="What animal is this?", method=method)
    assert answer.raw.any()


def test_rules_are_refused_where_they_are_undefined(cat_file: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = gradcam_core.wrap(network)
    with pytest.raises(ValueError, match=r"No Deconvnet for .* uses GELU"):
        gradcam_core.explain(cat_file, model=model, target="0", method="deconv-grad-cam")
