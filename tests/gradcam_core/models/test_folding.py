"""Networks made faster compute what they did: every map, gradient and guided gradient."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
import torchvision
from captum.attr import GuidedBackprop
from torch import Tensor, nn

from gradcam_core.methods.guided import ReLURule
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.embedded.efficientnet_lite import efficientnet_lite
from gradcam_core.models.folding import optimize_for_inference
from gradcam_core.models.hub.torchvision_cnns import CNNS, split
from tests.support.model_contract import hooked

_FROM_TENSORFLOW = {"googlenet", "inception_v3"}
# ResNet-50 and VGG-16 stand for the larger members of their families.
_NETWORKS = sorted(set(CNNS) - {"resnet152", "vgg19"})


def _randomize(network: nn.Module) -> nn.Module:
    """Give batch normalization statistics and weights that matter."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return network.eval().requires_grad_(False)


def _count(kind: type[nn.Module], *modules: nn.Module) -> int:
    return sum(isinstance(each, kind) for module in modules for each in module.modules())


def _error(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    assert found.shape == expected.shape
    assert expected.any()
    return ((found - expected).abs().max() / expected.abs().max()).item()


def _gradient(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient of one logit."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(network(x)[0, 7], x)[0]


def _compare(
    stages: dict[str, nn.Module],
    head: nn.Module,
    layers: dict[str, nn.Module],
    whole: nn.Module,
    pixels: Tensor,
    guided: bool,
) -> float:
    """Return the largest error of any layer's map, gradient and guided gradient.

    Args:
        stages: To be tested.
        head: Last map -> logits.
        layers: The modules of `whole` that return the map of each layer.
        whole: The original network.
        pixels: (1, 3, h, w).
        guided: Whether guided backpropagation applies.
    """
    maps, x = {}, pixels
    with torch.no_grad():
        for name, stage in stages.items():
            maps[name] = x = stage(x)
        errors = [_error(head(x), whole(pixels))]
    for name, module in layers.items():
        expected, score = hooked(module, lambda: whole(pixels.clone().requires_grad_())[0, 7])
        # All stages have run by now: none has overwritten a layer's map.
        errors.append(_error(maps[name], expected.detach()))
        after = [*stages.values()][[*stages].index(name) + 1 :]
        (expected_gradient,) = torch.autograd.grad(score, expected)
        found = _gradient(nn.Sequential(*after, head), maps[name])
        errors.append(_error(found, expected_gradient))
    chain = nn.Sequential(*stages.values(), head)
    errors.append(_error(_gradient(chain, pixels), _gradient(whole, pixels)))
    if guided:
        with ReLURule("guided"):
            errors.append(_error(_gradient(chain, pixels), _gradient(whole, pixels)))
    return max(errors)


def _torchvision(name: str) -> nn.Module:
    settings = {"init_weights": False} if name in _FROM_TENSORFLOW else {}
    torch.manual_seed(0)
    return _randomize(torchvision.models.get_model(name, **settings))


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=pytest.mark.slow) if "vgg" in each else each for each in _NETWORKS],
)
def test_every_layer_of_torchvisions_networks_is_as_before(name: str) -> None:
    whole = _torchvision(name).double()  # leaves the formulas as the only source of errors
    model = split(name, deepcopy(whole), torchvision.models.get_model_weights(name).IMAGENET1K_V1)
    assert isinstance(model, Classifier)
    layers = {layer: whole.get_submodule(layer) for layer in model.backbone.layers}
    stages = model.backbone.stages
    # Half of DenseNet's come before a convolution and a ReLU, where nothing can be folded.
    assert _count(nn.BatchNorm2d, *stages.values()) == (62 if name == "densenet121" else 0)
    pixels = torch.randn(1, 3, 96, 96, dtype=torch.float64)
    guided = not model.backbone.other_activation
    assert _compare(stages, model.head, layers, whole, pixels, guided) < 1e-9


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("side", [96, 75])
def test_every_layer_of_the_embedded_networks_is_as_before(side: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    before, classifier = efficientnet_lite(1.0, 1.0)
    for stage in before.values():
        _randomize(stage).to(dtype)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier).to(dtype)
    stages = optimize_for_inference(deepcopy(before), before)
    assert _count(nn.BatchNorm2d, *before.values()) == 49
    assert _count(nn.BatchNorm2d, *stages.values()) == 0
    whole = nn.Sequential(*before.values(), head).requires_grad_(False)
    pixels = torch.randn(1, 3, side, side, dtype=dtype)
    error = _compare(stages, head, before, whole, pixels, guided=True)
    assert error < (1e-9 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "mobilenet_v3_large"])
def test_maps_in_single_precision_agree_to_a_hundred_thousandth(name: str) -> None:
    whole = _torchvision(name)
    model = split(name, deepcopy(whole), torchvision.models.get_model_weights(name).IMAGENET1K_V1)
    pixels = torch.randn(1, 3, 160, 160)
    for layer in model.backbone.layers:
        with torch.no_grad():
            expected, _ = hooked(whole.get_submodule(layer), lambda: whole(pixels))
        assert _error(model.backbone.encode_pixels(pixels, layer).activations, expected) < 1e-5


def test_guided_backpropagation_agrees_with_captum() -> None:
    whole = _torchvision("resnet18").double()
    weights = torchvision.models.get_model_weights("resnet18").IMAGENET1K_V1
    model = split("resnet18", deepcopy(whole), weights)
    pixels = torch.randn(1, 3, 96, 96, dtype=torch.float64)
    expected = GuidedBackprop(whole).attribute(pixels.clone().requires_grad_(), 7)
    network = nn.Sequential(*model.backbone.stages.values(), model.head)
    with ReLURule("guided"):
        found = _gradient(network, pixels)
    assert _error(found, expected) < 1e-9


class _Branches(nn.Module):
    """A convolution whose output is read twice, and one that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.shared = nn.Conv2d(4, 4, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = self.relu(self.norm(x)) + x
        first = self.norms[0](self.shared(x))
        y = self.relu(self.norms[1](self.shared(first)))
        z = total = self.last(y)
        total += y
        return self.relu(total) + z


def test_what_is_read_elsewhere_is_neither_folded_nor_overwritten() -> None:
    torch.manual_seed(0)
    stages = {
        "branches": _randomize(_Branches()),
        "conv": nn.Conv2d(4, 4, 3),
        "norm": _randomize(nn.BatchNorm2d(4)),
        "relu": nn.ReLU(),
        "next": nn.Conv2d(4, 4, 3),
        "after": nn.Sequential(_randomize(nn.BatchNorm2d(4)), nn.ReLU(), nn.ReLU()),
    }
    pixels, expected = torch.randn(2, 3, 12, 12), {}
    optimized = optimize_for_inference(deepcopy(stages), ["branches", "conv", "norm", "after"])
    with torch.no_grad():
        x, y, found = pixels, pixels.clone(), {}
        for name, stage in stages.items():
            expected[name] = x = stage(x)
            found[name] = y = optimized[name](y)
    for name in ("branches", "conv", "norm", "relu", "after"):
        assert torch.allclose(found[name], expected[name], atol=1e-5), name
    assert _count(nn.BatchNorm2d, optimized["branches"]) == 3
    assert _count(nn.BatchNorm2d, optimized["norm"]) == 1
    assert _count(nn.BatchNorm2d, optimized["after"]) == 0


def test_a_folded_network_serves_gradients_and_values_alike() -> None:
    torch.manual_seed(0)
    before, _ = efficientnet_lite(1.0, 1.0)
    stages = optimize_for_inference(before, ["conv_head"])
    network = nn.Sequential(*stages.values())
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        values = network(pixels)
    assert torch.equal(network(pixels.requires_grad_()), values)  # no graph or a graph
