"""FinerCAM against pytorch-grad-cam's, and what it is for."""

from pathlib import Path

import pytest
import torch
from torch import nn

import gradcam_core
from gradcam_core.image.open import open_image
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.classifiers import Classifier
from tests.support.methods import attribute


@pytest.mark.parametrize("layer", ["stem", "conv_head"])
def test_it_agrees_with_pytorch_grad_cam(
    layer: str, lite0: Classifier, whole: nn.Module, cat_file: Path
) -> None:
    from pytorch_grad_cam import FinerCAM

    encoded = lite0.encode(open_image(cat_file), layer)
    found = attribute("finer-cam", lite0, encoded, "285")
    module = whole.bn1 if layer == "stem" else whole.bn2
    with FinerCAM(whole, [module]) as peer:
        peer(encoded.pixels, target_idx=285)
        (activations,) = peer.base_cam.activations_and_grads.activations
        (gradient,) = peer.base_cam.activations_and_grads.gradients
        expected = peer.base_cam.get_cam_image(
            encoded.pixels, [module], None, activations.numpy(), gradient.numpy(), False
        )[0].clip(0)
    assert expected.any()
    assert found.attribution.numpy() / expected.max() == pytest.approx(
        expected / expected.max(), abs=1e-4
    )
    with torch.no_grad():
        assert found.score.terms.sum().item() == pytest.approx(whole(encoded.pixels)[0, 285].item())


def test_it_separates_rivals_where_grad_cam_shows_shared_parts(
    lite0: Classifier, cat: Encoded
) -> None:
    plain = attribute("grad-cam", lite0, cat, "tabby").attribution
    finer = attribute("finer-cam", lite0, cat, "tabby").attribution
    assert finer.sum() < plain.sum()


def test_captions_have_no_rivals(cat_file: Path) -> None:
    with pytest.raises(ValueError, match="compares a label"):
        gradcam_core.explain(cat_file, "captioning", method="finer-cam")
    answer = gradcam_core.explain(
        cat_file, "vqa", question="What animal is this?", method="finer-cam"
    )
    assert answer.raw.any()
