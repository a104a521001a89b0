"""The ReLU rules against a network worked out by hand, and the traces they must not leave."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradcam_core.methods.guided import ReLURule, guided_backprop
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
