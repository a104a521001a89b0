"""EigenCAM, AblationCAM, FullGrad and fused layers against pytorch-grad-cam, and by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torchvision
from pytorch_grad_cam import AblationCAM, EigenCAM, FullGrad, GradCAM
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn import functional as F

from gradcam_core import attribute, explain, wrap
from gradcam_core.methods.cams import eigen_cam
from gradcam_core.methods.full_gradient import Biases

TARGETS = [3, 8]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A ResNet whose normalizations subtract something."""
    torch.manual_seed(0)
    found = torchvision.models.resnet18(num_classes=10).eval()
    for module in found.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return found


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def theirs(
    method: type[BaseCAM], network: nn.Module, layers: Sequence[nn.Module], images: Tensor
) -> np.ndarray:
    """Return pytorch-grad-cam's maps (n, H, W) from 0 to 1."""
    with method(network, list(layers)) as cam:
        if isinstance(cam, AblationCAM):
            cam.batch_size = 16
        maps: np.ndarray = cam(images, [ClassifierOutputTarget(target) for target in TARGETS])
    return maps


def as_theirs(maps: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Return maps as pytorch-grad-cam enlarges and scales them."""
    return np.float32(scale_cam_image(maps.numpy(), size))


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["layer3", "layer4"])
def test_ablation_cam(layer: str, network: nn.Module, images: Tensor) -> None:
    # With positive scores, where the formulas agree.
    network.fc.bias.data += 20
    try:
        found = attribute(network, images, TARGETS, layer=layer, method="ablation-cam")
        expected = theirs(AblationCAM, network, [network.get_submodule(layer)], images)
    finally:
        network.fc.bias.data -= 20
    assert as_theirs(found, (64, 64)) == pytest.approx(expected, abs=2e-3)


def test_ablation_cam_of_a_negative_score() -> None:
    """Channels without which the score drops count as evidence, whatever the score's sign."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.append(nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        network[0].bias.zero_()
        network[4].weight.copy_(torch.tensor([[2.0, -3.0], [0.0, 0.0]]))
        network[4].bias.fill_(-100)
    image = torch.tensor([[[[1.0, 0.0], [-1.0, 3.0]]]])
    found = attribute(network, image, 0, layer="1", method="ablation-cam")
    score = 2.0 * 1.0 - 3.0 * 0.25 - 100
    weights = (2.0 * 1.0 / -score, -3.0 * 0.25 / -score)
    expected = torch.tensor([[weights[0], 0.0], [0.0, 3 * weights[0]]])
    assert torch.allclose(found[0], expected, atol=1e-6)


@pytest.mark.parametrize("layer", ["layer2", "layer3", "layer4"])
def test_eigen_cam_up_to_its_sign(layer: str, network: nn.Module, images: Tensor) -> None:
    found = attribute(network, images, TARGETS, layer=layer, method="eigen-cam")
    recorded: list[Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(
        lambda _, inputs, output: recorded.append(output.detach())
    )
    network(images)
    hook.remove()
    (maps,) = recorded
    expected = theirs(EigenCAM, network, [network.get_submodule(layer)], images)
    for ours, one, their in zip(found, maps, expected, strict=True):
        # By an eigenvector of the covariance, not by an SVD.
        cells = one.flatten(1).double()
        centered = cells - cells.mean(1, keepdim=True)
        _, vectors = torch.linalg.eigh(centered @ centered.T)
        projected = (vectors[:, -1] @ centered).view(one.shape[1:]).float()
        if projected[ours == ours.max()].item() < 0:
            projected = -projected
        assert torch.allclose(ours, projected.relu(), atol=1e-3 * ours.max().item())
        signs = [as_theirs(each.relu()[None], (64, 64))[0] for each in (projected, -projected)]
        assert min(np.abs(sign - their).max() for sign in signs) < 0.03


def test_eigen_cam_shows_where_activations_are_strong() -> None:
    activations = torch.zeros(1, 3, 4, 4)
    activations[0, :, 1, 2] = torch.tensor([5.0, 1.0, 3.0])
    activations += 0.01 * torch.rand(activations.shape, generator=torch.Generator().manual_seed(0))
    found = eigen_cam(activations, torch.zeros(2, 3, 4, 4))
    assert found.shape == (2, 4, 4)
    assert found[0].argmax() == 6
    assert not eigen_cam(torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)).any()


def test_full_grad(network: nn.Module, images: Tensor) -> None:
    found = attribute(network, images, TARGETS, method="full-grad")
    assert found.shape == (2, 64, 64)
    # They resize with OpenCV, which rounds otherwise, and scale what they added up.
    expected = theirs(FullGrad, network, [network.layer4], images)
    assert as_theirs(found, (64, 64)) == pytest.approx(expected, abs=0.02)


def test_full_gradients_add_up_to_the_score(network: nn.Module, images: Tensor) -> None:
    """Eq. 3 of the paper: nothing of a ReLU network's score is left out."""
    inputs = images.double().requires_grad_()
    double = network.double()
    try:
        with Biases() as biases:
            score = double(inputs)[0, 3]
        edges = [torch.autograd.graph.get_gradient_edge(inputs), *(edge for edge, _ in biases.seen)]
        gradients = torch.autograd.grad(score, edges)
        total = (gradients[0] * inputs).sum()
        for gradient, (_, bias) in zip(gradients[1:], biases.seen, strict=True):
            total = total + (gradient * bias.view(1, -1, 1, 1)).sum()
        total = total + double.fc.bias[3]
        assert total.item() == pytest.approx(score.item(), abs=1e-9)
    finally:
        network.float()


@pytest.mark.parametrize("name", ["grad-cam", "layercam"])
def test_fused_layers(name: str, network: nn.Module, images: Tensor) -> None:
    layers = ["layer2", "layer3", "layer4"]
    found = attribute(network, images, TARGETS, layer=layers, method=name)
    alone = [attribute(network, images, TARGETS, layer=layer, method=name) for layer in layers]
    size = alone[0].shape[1:]
    expected = sum(
        F.interpolate((each / each.amax((1, 2), keepdim=True))[:, None], size, mode="bilinear")
        for each in alone
    )
    assert torch.allclose(found, expected[:, 0] / 3, atol=1e-6)
    reverse = attribute(network, images, TARGETS, layer=layers[::-1], method=name)
    assert torch.allclose(reverse, found, atol=1e-6)
    if name == "layercam":  # their minimum is not zero, and pytorch-grad-cam subtracts it
        return
    # Theirs are enlarged to the input's size first.
    their = theirs(GradCAM, network, [network.get_submodule(layer) for layer in layers], images)
    for ours, other in zip(as_theirs(found, (64, 64)), their, strict=True):
        assert np.corrcoef(ours.ravel(), other.ravel())[0, 1] > 0.98


@pytest.mark.slow
def test_explain_has_the_new_methods(network: nn.Module, images: Tensor) -> None:
    model = wrap(network, lambda _: images[0])
    picture = torchvision.transforms.functional.to_pil_image(torch.rand(3, 64, 64))
    for method in ("eigen-cam", "ablation-cam", "full-grad"):
        found = explain(picture, model=model, target=3, method=method)
        expected = attribute(network, images[:1], 3, method=method)
        assert found.raw == pytest.approx(expected[0].numpy(), abs=1e-5 * float(found.raw.max()))
        assert method == "ablation-cam" or not found.raw_counterfactual.any()
