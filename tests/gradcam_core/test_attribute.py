"""Maps of batches of tensors, against captum, other implementations, and one input at a time."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision
from captum.attr import LayerGradCam
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import gradcam_core
from gradcam_core import attribute, explain, wrap
from gradcam_core.methods import METHODS

CAMS = [name for name, method in METHODS.items() if method.cam is not None]


class SmallNet(nn.Module):
    """A CNN with batch normalization, dropout, and whatever follows the class scores."""

    def __init__(self, channels: int = 3, after: Callable[[Tensor], Any] | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 12, 3, 2, 1)
        self.active = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.classify = nn.Linear(12, 5)
        self.after = after

    def forward(self, pixels: Tensor) -> Any:
        maps = self.active(self.second(F.relu(self.norm(self.first(pixels)))))
        scores = self.classify(self.dropout(maps.mean((2, 3))))
        return scores if self.after is None else self.after(scores)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def small(channels: int = 3, after: Callable[[Tensor], Any] | None = None) -> SmallNet:
    torch.manual_seed(2)
    network = SmallNet(channels, after)
    network.norm.running_mean.uniform_(-0.3, 0.3)
    return network


def by_captum(network: nn.Module, layer: nn.Module, images: Tensor, targets: list[int]) -> Tensor:
    found = LayerGradCam(network, layer).attribute(
        images, torch.tensor(targets), relu_attributions=True
    )
    return found.detach()[:, 0]


@pytest.mark.parametrize("layer", ["layer4", "layer2", "layer3.0.conv1"])
def test_a_batch_with_a_target_each_equals_captum(
    layer: str, resnet: nn.Module, images: Tensor
) -> None:
    targets = [5, 900, 5, 33]
    found = attribute(resnet, images, targets, layer=layer)
    expected = by_captum(resnet, resnet.get_submodule(layer), images, targets)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.allclose(found, expected, atol=1e-6 * expected.max().item())
    as_tensor = attribute(resnet, images, torch.tensor(targets), resnet.get_submodule(layer))
    assert torch.equal(as_tensor, found)


def test_several_targets_of_each_input(resnet: nn.Module, images: Tensor) -> None:
    lists = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]
    found = attribute(resnet, images, lists)
    assert found.shape == (4, 3, 2, 2)
    for place in range(3):
        expected = by_captum(resnet, resnet.layer4, images, [row[place] for row in lists])
        assert torch.allclose(found[:, place], expected, atol=1e-6)
    assert torch.equal(attribute(resnet, images, torch.tensor(lists)), found)
    one = attribute(resnet, images, [[row[0]] for row in lists])
    assert one.shape == (4, 1, 2, 2)


def test_no_target_means_the_prediction(resnet: nn.Module, images: Tensor) -> None:
    best = resnet(images).argmax(1).tolist()
    expected = by_captum(resnet, resnet.layer4, images, best)
    assert torch.allclose(attribute(resnet, images), expected, atol=1e-6)
    mixed = attribute(resnet, images, [None, best[1], lambda output: output[best[2]], best[3]])
    assert torch.allclose(mixed, expected, atol=1e-6)


def test_a_function_gets_one_items_output(images: Tensor) -> None:
    network = small(after=lambda scores: {"scores": scores, "twice": 2 * scores})
    shapes = []

    def difference(output: dict[str, Tensor]) -> Tensor:
        shapes.append(tuple(output["scores"].shape))
        return output["twice"][1] - output["scores"][3]

    found = attribute(network, images, difference, layer="second")
    assert set(shapes) == {(5,)}
    network.eval()
    for i, image in enumerate(images.split(1)):
        with torch.no_grad():
            maps = network.second(F.relu(network.norm(network.first(image)))).requires_grad_()
        scores = network.classify(F.relu(maps).mean((2, 3)))[0]
        (gradient,) = torch.autograd.grad(2 * scores[1] - scores[3], maps)
        expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).relu()
        assert torch.allclose(found[i], expected[0].detach(), atol=1e-6)


@pytest.mark.parametrize("method", [*CAMS, "cam", "full-grad", "ablation-cam"])
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(2, 4),
    channels=st.sampled_from([1, 3, 4, 7]),
    several=st.booleans(),
)
def test_a_batch_equals_one_by_one(
    method: str, seed: int, count: int, channels: int, several: bool
) -> None:
    network = small(channels)
    numbers = torch.Generator().manual_seed(seed)
    images = torch.randn(count, channels, 24, 20, generator=numbers)
    shape = (count, 2) if several else (count,)
    targets = torch.randint(5, shape, generator=numbers)
    together = attribute(network, images, targets, method=method)
    alone = torch.cat(
        [
            attribute(network, images[i : i + 1], targets[i : i + 1], method=method)
            for i in range(count)
        ]
    )
    assert together.shape == alone.shape
    assert together.shape[: len(shape)] == shape
    assert together.min() >= 0
    # XGrad-CAM divides by sums that may be near zero.
    tolerance = 1e-3 if method == "xgrad-cam" else 1e-5
    assert torch.allclose(together, alone, atol=tolerance * together.max().item() + 1e-9)


@pytest.mark.parametrize("method", CAMS)
def test_the_maps_are_those_of_explain(method: str, images: Tensor) -> None:
    network = small()
    model = wrap(network, lambda _: images[0])
    expected = explain(
        torchvision.transforms.functional.to_pil_image(images[0]),
        model=model,
        target=2,
        method=method,
    )
    for source in (network, model):
        found = attribute(source, images[:1], 2, method=method)
        assert torch.allclose(found[0], torch.from_numpy(expected.raw), atol=1e-6)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_transformers(name: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=10).eval()
    images = torch.randn(2, 3, 224, 224)
    found = attribute(network, images, [3, 7])
    assert found.shape[1] == found.shape[2] >= 7
    assert found.any()
    for i, target in enumerate((3, 7)):
        alone = attribute(network, images[i : i + 1], target)
        assert torch.allclose(found[i], alone[0], atol=1e-4 * found.max().item())


def test_volumes() -> None:
    torch.manual_seed(0)
    network = torchvision.models.video.r3d_18(num_classes=6).eval()
    volumes = torch.randn(2, 3, 8, 32, 32)
    found = attribute(network, volumes, [1, 4], layer="layer3")
    assert found.shape == (2, 2, 4, 4)
    expected = by_captum(network, network.layer3, volumes, [1, 4])
    assert torch.allclose(found, expected, atol=1e-6 * expected.max().item())
    fused = attribute(network, volumes, [1, 4], layer=["layer2", "layer3"])
    assert fused.shape == (2, 4, 8, 8)


def test_nothing_of_the_network_changes(images: Tensor) -> None:
    network = small().train()
    network.norm.eval()
    network.first.weight.requires_grad_(False)
    network.second.weight.grad = torch.ones_like(network.second.weight)
    calls: list[int] = []
    network.second.register_forward_hook(lambda *_: calls.append(1))
    state = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    hooks = [list(module._forward_hooks) for module in network.modules()]
    required = [each.requires_grad for each in network.parameters()]
    parameters = [id(each) for each in network.parameters()]
    numbers = torch.get_rng_state()
    for method in (*CAMS, "full-grad", "cam"):
        attribute(network, images, 1, layer="second" if method != "cam" else None, method=method)
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])
    assert [module.training for module in network.modules()] == modes
    assert [list(module._forward_hooks) for module in network.modules()] == hooks
    assert [each.requires_grad for each in network.parameters()] == required
    assert [id(each) for each in network.parameters()] == parameters
    assert torch.equal(torch.get_rng_state(), numbers)
    assert torch.equal(network.second.weight.grad, torch.ones_like(network.second.weight))
    assert network.classify.weight.grad is None


def test_inside_a_training_step(images: Tensor) -> None:
    network, twin = small().train(), small().train()
    targets = torch.tensor([0, 1, 2, 3])
    for each in (network, twin):
        torch.manual_seed(5)
        loss = F.cross_entropy(each(images), targets)
        if each is network:
            attribute(network, images, targets)
        loss.backward()
    for one, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_in_any_mode_of_pytorch(images: Tensor) -> None:
    network = small()
    expected = attribute(network, images, 1)
    with torch.no_grad():
        assert torch.equal(attribute(network, images, 1), expected)
    with torch.inference_mode():
        assert torch.equal(attribute(network, images.clone(), 1), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attribute(network, images, 1), expected)
    assert torch.equal(attribute(network, images.requires_grad_(), 1), expected)
    assert images.grad is None
    for dtype, tolerance in ((torch.float64, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.05)):
        other = attribute(copy.deepcopy(network).to(dtype), images, 1)
        assert other.dtype == torch.float32
        assert torch.allclose(other, expected, atol=tolerance * expected.max().item())
        assert torch.allclose(
            attribute(network, images.to(dtype), 1),
            expected,
            atol=tolerance * expected.max().item(),
        )


@pytest.mark.parametrize("after", [torch.sigmoid, lambda scores: scores.softmax(1)])
def test_of_probabilities_the_logits_are_explained(
    after: Callable[[Tensor], Tensor], images: Tensor
) -> None:
    expected = attribute(small(), images, [0, 1, 2, 3])
    network = small(after=after)
    for _ in range(2):  # the second call knows more of the network
        assert torch.allclose(attribute(network, images, [0, 1, 2, 3]), expected, atol=1e-6)


def test_probabilities_that_begin_later_are_found(images: Tensor) -> None:
    network = small(after=lambda scores: scores)
    expected = attribute(network, images, 2)
    network.after = torch.sigmoid
    assert torch.allclose(attribute(network, images, 2), expected, atol=1e-6)


def test_a_network_that_changed_is_analyzed_again(images: Tensor) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU()
    )
    network.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)])
    assert attribute(network, images).shape == (4, 16, 16)
    network[2] = nn.Identity()
    network[6] = nn.Linear(4, 5)
    assert attribute(network, images).shape == (4, 32, 32)
    assert attribute(network, images[:, :, :32, :16]).shape == (4, 16, 8)


def test_the_second_call_costs_one_forward_pass(images: Tensor) -> None:
    network = small()
    attribute(network, images)
    calls: list[int] = []
    network.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    attribute(network, images, [1, 2, 3, 4])
    attribute(network, images, [[1, 2]] * 4, layer=["norm", "second"])
    assert calls == [4, 4]


def test_networks_are_not_kept_in_memory(images: Tensor) -> None:
    import gc
    import weakref

    network = small()
    attribute(network, images)
    reference = weakref.ref(network)
    del network
    gc.collect()
    assert reference() is None


def test_batch_statistics_do_not_mix_inputs(images: Tensor) -> None:
    network = small()
    network.norm = nn.BatchNorm2d(8, track_running_stats=False)
    together = attribute(network, images, 1)
    alone = torch.cat([attribute(network, image, 1) for image in images.split(1)])
    assert torch.allclose(together, alone, atol=1e-6)


class Squeezed(SmallNet):
    """It takes one input at a time, and returns no batch."""

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels)[0]


def test_networks_that_take_one_input(images: Tensor) -> None:
    network = Squeezed()
    plain = SmallNet()
    plain.load_state_dict(network.state_dict())
    assert torch.allclose(attribute(network, images, 2), attribute(plain, images, 2), atol=1e-6)


class Doubling(torch.autograd.Function):
    """An operation without a rule for vmap."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return 2 * values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient * float(gradient.isfinite().all().item())


def test_operations_without_a_batched_backward_pass(images: Tensor) -> None:
    network = small(after=Doubling.apply)
    found = attribute(network, images, [[0, 3]] * 4)
    assert torch.allclose(found[:, 1], attribute(network, images, 3), atol=1e-6)


def test_an_embedded_model(lite0: gradcam_core.LabelModel) -> None:
    picture = torchvision.transforms.functional.to_pil_image(torch.rand(3, 200, 240))
    pixels, _ = lite0.backbone.preprocess(picture)
    expected = explain(picture, target="tabby")
    index = lite0.labels.index("tabby")
    found = attribute(lite0, pixels.repeat(2, 1, 1, 1), index)
    assert torch.allclose(found[1], torch.from_numpy(expected.raw), atol=1e-5)
    fused = attribute(lite0, pixels, index, layer=list(lite0.layers)[-3:])
    assert fused.shape[0] == 1
    assert fused.max() <= 1


def test_one_output_is_two_classes(images: Tensor) -> None:
    network = small()
    network.classify = nn.Linear(12, 1)
    both = attribute(network, images, [[0, 1]] * 4)
    opposite = attribute(network, images, lambda output: -output[0])
    assert torch.allclose(both[:, 1], opposite, atol=1e-6)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (5, "no class 5"),
        (-1, "no class -1"),
        ([1, 2], "2 targets for 4"),
        ("cat", "A target is"),
        ([1, [2], 1, 1], "same number"),
        ([[1], [2], [1, 2], [3]], "same number"),
        (True, "A target is"),
        (1.0, "A target is"),
        (lambda output: output, "one number"),
        (lambda output: 3.0, "tensor"),
        (lambda output: output[0].detach(), "no gradient"),
    ],
)
def test_targets_that_do_not_fit(targets: Any, words: str, images: Tensor) -> None:
    network = small()
    for _ in range(2):
        with pytest.raises(ValueError, match=words):
            attribute(network, images, targets)


def test_what_cannot_be_explained(images: Tensor, lite0: gradcam_core.LabelModel) -> None:
    network = small()
    cases: list[tuple[Any, Any, dict[str, Any]]] = [
        (network, images[0], {}),
        (network, images[:0], {}),
        (network, images.to(torch.uint8), {}),
        (network, images * torch.nan, {}),
        (network, "photo.jpg", {}),
        (network, images[:, :2], {}),
        (network, images, {"method": "occlusion"}),
        (network, images, {"method": "unknown"}),
        (network, images, {"layer": "third"}),
        (network, images, {"layer": "classify"}),
        (network, images, {"layer": []}),
        (network, images, {"layer": nn.Conv2d(3, 3, 1)}),
        (network, images, {"layer": "second", "method": "cam"}),
        (lambda pixels: pixels, images, {}),
        (gradcam_core.load("lite0-caption"), images, {}),
        (small(after=lambda scores: scores[:, :, None] * scores[:, None]), images, {}),
        (small(after=torch.tanh), images, {"method": "full-grad"}),
    ]
    for source, inputs, options in cases:
        with pytest.raises(ValueError, match=r"\w"):
            attribute(source, inputs, 1, **options)
    network.second.weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        attribute(network, images, 1)
