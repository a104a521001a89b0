"""Eq. 1 and Eq. 2 against independent computations."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gradcam_core
from gradcam_core.image.open import open_image
from gradcam_core.methods.cams import channel_weights, grad_cam, weighted_map
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.classifiers import Classifier
from tests.support.methods import attribute

EGYPTIAN_CAT = 285


@pytest.fixture
def toy() -> tuple[Tensor, nn.Module]:
    """A feature map (1, 5, 4, 3) and a head with a non-linearity, not a GAP network."""
    torch.manual_seed(0)
    activations = torch.randn(1, 5, 4, 3, requires_grad=True)
    head = nn.Sequential(
        nn.Conv2d(5, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 2 * 1, 3), nn.Softplus()
    )
    return activations, head


def numerical_gradient(head: nn.Module, activations: Tensor, index: int) -> Tensor:
    """dy/dA by central differences in float64: no autograd involved."""
    head, point = head.double(), activations.detach().double()
    gradient = torch.zeros_like(point)
    for position in range(point.numel()):
        step = torch.zeros_like(point).flatten()
        step[position] = 1e-5
        step = step.view_as(point)
        with torch.no_grad():
            rise = head(point + step)[0, index] - head(point - step)[0, index]
        gradient.view(-1)[position] = rise / 2e-5
    head.float()
    return gradient.float()


def test_weights_and_map_equal_a_computation_by_hand(toy: tuple[Tensor, nn.Module]) -> None:
    activations, head = toy
    expected_gradient = numerical_gradient(head, activations, 1)
    gradient = gradients(head(activations)[0, 1:2], activations)
    assert torch.allclose(gradient, expected_gradient, atol=1e-5)

    channels, height, width = activations.shape[1:]
    expected_map = torch.zeros(height, width)
    for k in range(channels):
        alpha_k = sum(
            expected_gradient[0, k, i, j].item() for i in range(height) for j in range(width)
        ) / (height * width)
        assert channel_weights(gradient)[0, k].item() == pytest.approx(alpha_k, abs=1e-5)
        expected_map += alpha_k * activations.detach()[0, k]
    found = grad_cam(activations, gradient)[0]
    assert torch.allclose(found, expected_map.clamp(min=0), atol=1e-5)
    against = grad_cam(activations, -gradient)[0]
    assert torch.allclose(against, (-expected_map).clamp(min=0), atol=1e-5)
    assert found.any()
    assert against.any()


def test_several_targets_in_one_pass_equal_single_passes(toy: tuple[Tensor, nn.Module]) -> None:
    activations, head = toy
    together = gradients(head(activations)[0], activations)
    for index in range(3):
        alone = gradients(head(activations)[0, index : index + 1], activations)
        assert torch.allclose(together[index], alone[0], atol=1e-6)


def test_grad_cam_equals_cam_on_a_gap_network(lite0: Classifier, cat: Encoded) -> None:
    """Section 3.1: on GAP networks the weights are the class weights, up to 1/Z."""
    class_weights = lite0.head[2].weight.detach()
    head = lite0.bind(cat)
    targets = [head.target(name) for name in ("Egyptian cat", "tabby", "coffee mug")]
    classes = [target.ids[0] for target in targets]
    cells = cat.activations.shape[2] * cat.activations.shape[3]
    scores = torch.cat([score.terms for score in head.scores(targets)])
    maps = grad_cam(cat.activations, gradients(scores, cat.activations))
    for found, index in zip(maps, classes, strict=True):
        cam = torch.einsum("k,kij->ij", class_weights[index], cat.activations.detach()[0])
        assert torch.allclose(found, cam.clamp(min=0) / cells, atol=1e-5 * cam.abs().max().item())


def test_the_score_is_the_networks_own_logit(
    lite0: Classifier, cat: Encoded, whole: nn.Module
) -> None:
    """Cutting the network at a layer changes nothing of what it computes."""
    with torch.no_grad():
        expected = whole(cat.pixels)[0]
    for layer in lite0.backbone.layers:
        activations = lite0.backbone.to_layer(cat.pixels, layer).detach().requires_grad_()
        encoded = Encoded(layer, activations, cat.head_input, cat.pixels)
        head = lite0.bind(encoded)
        (score,) = head.scores([head.target(285)])
        assert score.terms.item() == pytest.approx(expected[285].item(), abs=1e-4)


def test_gradient_at_every_layer_equals_an_ordinary_hook(
    lite0: Classifier, cat: Encoded, whole: nn.Module
) -> None:
    kept: list[Tensor] = []
    for module in (whole.bn1, *whole.blocks, whole.bn2):
        module.register_forward_hook(lambda module, args, output: kept.append(output))
    logit = whole(cat.pixels.clone().requires_grad_())[0, 285]
    expected = torch.autograd.grad(logit, kept)
    for layer, activations, gradient in zip(lite0.backbone.layers, kept, expected, strict=True):
        leaf = activations.detach().requires_grad_()
        encoded = Encoded(layer, leaf, cat.head_input, cat.pixels)
        head = lite0.bind(encoded)
        (score,) = head.scores([head.target(285)])
        found = gradients(score.terms, leaf)
        assert torch.allclose(found, gradient, rtol=1e-3, atol=1e-6 * gradient.abs().max().item())
        assert found.any()


def test_nothing_for_the_target_gives_zeros() -> None:
    activations = torch.rand(1, 4, 3, 3) + 0.1
    assert not grad_cam(activations, -torch.ones(1, 4, 3, 3)).any()


def test_rounding_is_not_evidence() -> None:
    """Weights that cancel leave a residue of 1e-8, which is not a heat map."""
    activations = torch.full((1, 3, 2, 2), 0.7)
    alpha = torch.tensor([[0.1, 0.2, -0.3]])
    residue = torch.einsum("nk,kij->nij", alpha.double(), activations[0].double()).abs().max()
    assert 0 < residue < 1e-7
    gradient = alpha[:, :, None, None].expand(1, 3, 2, 2)
    assert not weighted_map(activations, alpha).any()
    assert not grad_cam(activations, gradient).any()
    assert not grad_cam(activations, -gradient).any()


# Ours -> pytorch-grad-cam's, which is run whole, with its own hooks.
PEERS = {
    "grad-cam": "GradCAM",
    "grad-cam++": "GradCAMPlusPlus",
    "xgrad-cam": "XGradCAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
}


@pytest.mark.parametrize("layer", ["stem", "blocks.4", "conv_head"])
@pytest.mark.parametrize("method", PEERS)
def test_methods_agree_with_pytorch_grad_cam(
    method: str, layer: str, lite0: Classifier, whole: nn.Module, cat_file: Path
) -> None:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    encoded = lite0.encode(open_image(cat_file), layer)
    found = attribute(method, lite0, encoded, "285").attribution

    name = {"stem": "bn1", "conv_head": "bn2"}.get(layer, layer)
    module = whole.get_submodule(name)
    targets = [ClassifierOutputTarget(285)]
    with getattr(pytorch_grad_cam, PEERS[method])(whole, [module]) as peer:
        peer(encoded.pixels, targets)
        (activations,) = peer.activations_and_grads.activations
        (gradient,) = peer.activations_and_grads.gradients
        expected = peer.get_cam_image(
            encoded.pixels, module, targets, activations.numpy(), gradient.numpy(), False
        )[0].clip(0)
    assert expected.any()
    # Relative to the maximum: what is shown is scaled to it.
    assert found.numpy() / expected.max() == pytest.approx(expected / expected.max(), abs=1e-4)


@pytest.mark.parametrize("method", ["cam", *PEERS])
def test_what_speaks_against_is_what_speaks_for_the_negated_score(
    method: str, lite0: Classifier, cat: Encoded
) -> None:
    maps = attribute(method, lite0, cat, "moped")

    class Negated(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return -lite0.head(features)

    negated = Classifier("negated", lite0.backbone, Negated(), [(name,) for name in lite0.labels])
    against = attribute(method, negated, cat, "moped")
    assert torch.allclose(maps.counterfactual, against.attribution)
    assert torch.allclose(maps.attribution, against.counterfactual)
    assert maps.attribution.any()
    assert maps.counterfactual.any()


def test_at_the_last_layer_of_a_gap_network_four_methods_are_one(
    lite0: Classifier, cat: Encoded
) -> None:
    maps = {
        name: attribute(name, lite0, cat, "Egyptian cat").attribution for name in ("cam", *PEERS)
    }
    for same in ("cam", "hirescam", "xgrad-cam"):
        ratio = maps[same].max() / maps["grad-cam"].max()
        assert torch.allclose(maps[same], ratio * maps["grad-cam"], rtol=1e-3, atol=1e-5 * ratio)
    for other in ("grad-cam++", "layercam"):
        ratio = maps[other].max() / maps["grad-cam"].max()
        assert not torch.allclose(maps[other], ratio * maps["grad-cam"], rtol=0.01)


def test_cam_equals_its_own_formula(lite0: Classifier, cat: Encoded) -> None:
    weights = lite0.head[2].weight.detach()[EGYPTIAN_CAT]
    expected = torch.einsum("k,kij->ij", weights, cat.activations.detach()[0]).clamp(min=0)
    found = attribute("cam", lite0, cat, EGYPTIAN_CAT).attribution
    assert torch.allclose(found, expected, atol=1e-4 * expected.max().item())


@pytest.mark.parametrize(("task", "layer"), [("classification", "blocks.6"), ("captioning", None)])
def test_cam_is_refused_where_it_is_undefined(task: str, layer: str | None, cat_file: Path) -> None:
    with pytest.raises(ValueError, match=r"linear function|is defined for classifiers"):
        gradcam_core.explain(cat_file, task, layer=layer, method="cam")


@pytest.mark.parametrize("method", PEERS)
def test_every_method_explains_every_word_and_answer(method: str, cat_file: Path) -> None:
    caption = gradcam_core.explain(cat_file, "captioning", target="a cat sleeps", method=method)
    assert caption.method == method
    assert len(caption.words) == 3
    assert caption.words[1].raw.any()
    answer = gradcam_core.explain(
        cat_file, "vqa", question="What animal is this?", layer="blocks.4", method=method
    )
    assert answer.raw.shape == (14, 14)
    assert answer.raw.any()
    assert answer.raw_counterfactual.any()


def test_an_unknown_method_is_reported(cat_file: Path) -> None:
    with pytest.raises(ValueError, match=r"no method 'gradcam'. Known: cam, grad-cam"):
        gradcam_core.explain(cat_file, method="gradcam")
