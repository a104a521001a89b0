"""The ReLU rules against a network worked out by hand, and the traces they must not leave."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import gradcam_core
from gradcam_core.methods.guided import ReLURule, Rule, guided_backprop
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.classifiers import Classifier

# Three layers: y = v . relu(W2 relu(W1 x)), with x = (1, 2).
#   W1 x = (1*1 + 1*2, 1*1 - 1*2, 2*1 + 0*2) = (3, -1, 2), relu (3, 0, 2)
#   W2 h = (3 + 2, 3 - 2*2, -3 + 3*2) = (5, -1, 3),         relu (5, 0, 3)
#   y    = 1*5 + 1*0 - 2*3 = -1
FIRST = torch.tensor([[1.0, 1.0], [1.0, -1.0], [2.0, 0.0]])
SECOND = torch.tensor([[1.0, 1.0, 1.0], [1.0, 4.0, -2.0], [-1.0, 2.0, 3.0]])
LAST = torch.tensor([1.0, 1.0, -2.0])
INPUT = torch.tensor([1.0, 2.0])

# Going back from v = (1, 1, -2):
#   plain:     mask (1, 0, 1)        -> (1, 0, -2);  W2^T -> (3, -3, -5);  mask (1, 0, 1)
#              -> (3, 0, -5);  W1^T -> (3 - 10, 3) = (-7, 3)
#   guided:    mask and positive     -> (1, 0, 0);   W2^T -> (1, 1, 1);    mask and positive
#              -> (1, 0, 1);   W1^T -> (1 + 2, 1) = (3, 1)
#   deconvnet: positive only         -> (1, 1, 0);   W2^T -> (2, 5, -1);   positive only
#              -> (2, 5, 0);   W1^T -> (2 + 5, 2 - 5) = (7, -3)
PLAIN = torch.tensor([-7.0, 3.0])
EXPECTED = {"guided": torch.tensor([3.0, 1.0]), "deconvnet": torch.tensor([7.0, -3.0])}

RELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": lambda x: x.relu_(),
    "Tensor.relu_, result unused": lambda x: (x.relu_(), x)[1],
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "F.hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0),
    "F.hardtanh by name": lambda x: F.hardtanh(x, min_val=0.0, max_val=6.0, inplace=True),
}


def _set_item(x: Tensor) -> Tensor:
    x = x.clone()
    x[x < 0] = 0
    return x


def _in_place_product(x: Tensor) -> Tensor:
    x = x.clone()
    x *= x > 0
    return x


def _filled_in_place(x: Tensor) -> Tensor:
    return x.clone().masked_fill_(x <= 0, 0)


# Other ways to write the same.
VARIANTS: dict[str, Callable[[Tensor], Tensor]] = {
    "clamp(min=0)": lambda x: x.clamp(min=0),
    "clamp(0)": lambda x: torch.clamp(x, 0),
    "clamp with a tensor": lambda x: x.clamp(min=torch.zeros(())),
    "clamp_": lambda x: x.clone().clamp_(min=0.0),
    "clip": lambda x: x.clip(0),
    "torch.clip": lambda x: torch.clip(x, min=0),
    "clip_": lambda x: x.clone().clip_(0),
    "clamp_min": lambda x: x.clamp_min(0),
    "torch.clamp_min": lambda x: torch.clamp_min(x, 0),
    "clamp_min_": lambda x: x.clone().clamp_min_(0),
    "nn.Threshold": nn.Threshold(0, 0),
    "nn.Threshold in place": lambda x: nn.Threshold(0, 0, inplace=True)(x.clone()),
    "F.threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "torch.threshold": lambda x: torch.threshold(x, 0, 0),
    "nn.Hardtanh": nn.Hardtanh(0, float("inf")),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "maximum, zero first": lambda x: torch.zeros(()).maximum(x),
    "max": lambda x: torch.max(x, torch.zeros(1)),
    "fmax": lambda x: torch.fmax(x, torch.zeros(())),
    "minus minimum": lambda x: -torch.minimum(-x, torch.zeros(())),
    "minus clamp(max=0)": lambda x: -(-x).clamp(max=0),
    "x minus its negative part": lambda x: x - x.clamp(max=0),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "where, zeros": lambda x: torch.where(x >= 0, x, torch.zeros_like(x)),
    "where, the other way round": lambda x: torch.where(x <= 0, torch.zeros_like(x), x),
    "Tensor.where": lambda x: x.where(x > 0, torch.zeros(())),
    "where of ones": lambda x: x * torch.where(x > 0, 1.0, 0.0),
    "x * (x > 0)": lambda x: x * (x > 0),
    "(x > 0) * x": lambda x: (x > 0) * x,
    "mul, gt, float": lambda x: torch.mul(x, x.gt(0).float()),
    "mask of what is detached": lambda x: x * (x.detach() > 0).to(x.dtype),
    "not negative": lambda x: x * ~(x < 0),
    "x *= x > 0": _in_place_product,
    "masked_fill": lambda x: x.masked_fill(x < 0, 0.0),
    "masked_fill_": _filled_in_place,
    "x[x < 0] = 0": _set_item,
    "(x + abs(x)) / 2": lambda x: (x + x.abs()) / 2,
    "half of x + abs(x)": lambda x: 0.5 * (torch.abs(x) + x),
    "heaviside": lambda x: x * torch.heaviside(x, torch.zeros(())),
    "sign": lambda x: x * (x.sign() + 1) / 2,
    "amax of a stack": lambda x: torch.stack([x, torch.zeros_like(x)]).amax(0),
    "max of a stack": lambda x: torch.stack([torch.zeros_like(x), x]).max(0).values,
    "leaky_relu(0)": lambda x: F.leaky_relu(x, 0.0),
    "aten": torch.ops.aten.relu,
    "clamp to 6": lambda x: x.clamp(0, 6),
    "clamp, then minimum": lambda x: x.clamp(min=0).minimum(torch.tensor(6.0)),
}


def random_network(relu: Callable[[Tensor], Tensor], seed: int) -> tuple[nn.Module, Tensor]:
    """Return a small CNN with a ReLU behind each convolution, and an input."""
    torch.manual_seed(seed)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 8, 3), nn.Conv2d(8, 8, 3, 2)
            self.last = nn.Linear(72, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(relu(self.second(relu(self.first(x)))).flatten()).sum()

    return Network().requires_grad_(False), torch.randn(1, 2, 9, 9)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    black=st.booleans(),
    rule=st.sampled_from(["guided", "deconvnet"]),
)
def test_every_way_to_write_a_relu(
    variant: Callable[[Tensor], Tensor], seed: int, black: bool, rule: Rule
) -> None:
    """Also in black areas behind layers without bias, where values are exactly zero."""
    found = []
    for relu in (nn.ReLU(), variant):
        net, x = random_network(relu, seed)
        if black:
            x[..., 3:] = 0
            net.first.bias.zero_()
            net.second.bias.zero_()
        x.requires_grad_()
        with ReLURule(rule):
            y = net(x)
        found += [y.detach(), torch.autograd.grad(y, x)[0]]
    assert torch.equal(found[0], found[2])
    assert (found[1] - found[3]).abs().max() <= 1e-7


class _OwnReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (ctx.saved_tensors[0] > 0)


@torch.jit.script
def _scripted_relu(x: Tensor) -> Tensor:
    return torch.relu(x)


# What cannot be followed, and what is not a ReLU.
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "autograd function": _OwnReLU.apply,
    "scripted": _scripted_relu,
    "leaky by where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "leaky by a mask": lambda x: x * ((x > 0) * 0.9 + 0.1),
    "leaky in place": lambda x: x.clone().mul_((x > 0) * 0.9 + 0.1),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("method", ["guided-backprop", "deconvnet"])
def test_what_cannot_be_followed_is_refused(other: Callable[[Tensor], Tensor], method: str) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 9, 9), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(other(self.first(x)).mean((2, 3)))

    model = gradcam_core.wrap(Network())
    with pytest.raises(ValueError):
        gradcam_core.explain(Image.effect_noise((64, 64), 60), model=model, method=method)
    if method == "guided-backprop":
        with pytest.raises(ValueError):
            gradcam_core.explain(Image.effect_noise((64, 64), 60), model=model, guided=True)


def test_masks_that_are_no_activation_are_left_alone() -> None:
    """A mean over the positive cells, a maximum of two branches, a gate by another map."""
    x = torch.randn(2, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def output() -> Tensor:
        mean = x.sum() / (x > 0).sum()
        return mean - torch.maximum(x[0], x[1]).sum() + (x[0] * (x[1] > 0)).sum()

    with ReLURule("guided"):
        found = torch.autograd.grad(output(), x)[0]
    assert torch.equal(found, torch.autograd.grad(output(), x)[0])


def network(x: Tensor, relu: Callable[[Tensor], Tensor]) -> Tensor:
    return LAST @ relu(SECOND @ relu(FIRST @ x))


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_rules_by_hand(rule: str, relu: Callable[[Tensor], Tensor]) -> None:
    x = INPUT.clone().requires_grad_()
    with ReLURule(rule):
        y = network(x, relu)
    assert y.item() == -1
    assert torch.equal(torch.autograd.grad(y, x)[0], EXPECTED[rule])
    # Outside of the context the same network has its ordinary gradient again.
    assert torch.equal(torch.autograd.grad(network(x, relu), x)[0], PLAIN)


@pytest.mark.parametrize(("rule", "expected"), [("guided", 0.0), ("deconvnet", 2.0)])
def test_relu6_is_flat_above_six(rule: str, expected: float) -> None:
    x = torch.tensor([7.0], requires_grad=True)
    with ReLURule(rule):
        y = 2 * F.relu6(x)
    assert y.item() == 12
    assert torch.autograd.grad(y, x)[0].item() == expected


def test_a_hardtanh_that_is_no_relu_keeps_its_gradient() -> None:
    x = torch.tensor([0.5], requires_grad=True)
    with ReLURule("guided"):
        y = -F.hardtanh(x)
    assert torch.autograd.grad(y, x)[0].item() == -1


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_logits_stay_the_same_bit_for_bit(rule: str, lite0: Classifier, cat: Encoded) -> None:
    with torch.no_grad():
        plain = lite0.bind(cat).logits
        with ReLURule(rule):
            activations = lite0.backbone.to_layer(cat.pixels, "conv_head")
            ruled = lite0.head(activations)[0]
    assert torch.equal(plain, ruled)


def test_the_rule_is_local_to_its_thread() -> None:
    def gradient(rule: str | None) -> Tensor:
        x = INPUT.clone().requires_grad_()
        if rule is None:
            y = network(x, F.relu)
        else:
            with ReLURule(rule):
                y = network(x, F.relu)
        return torch.autograd.grad(y, x)[0]

    rules = [None, "guided", "deconvnet"] * 100
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(gradient, rules))
    for rule, gradient_found in zip(rules, found, strict=True):
        assert torch.equal(gradient_found, PLAIN if rule is None else EXPECTED[rule])


def test_guided_backprop_of_the_classifier(lite0: Classifier, cat: Encoded) -> None:
    head = lite0.bind(cat)
    target = head.target("Egyptian cat")
    found = guided_backprop(head, target)
    assert found.shape == (3, 224, 224)
    pixels = cat.pixels.detach().clone().requires_grad_()
    with ReLURule("guided"):
        logits = lite0.head(lite0.backbone.head_input(pixels))[0]
    (expected,) = torch.autograd.grad(logits[target.ids[0]], pixels)
    assert expected.any()
    assert torch.equal(found, expected[0])
