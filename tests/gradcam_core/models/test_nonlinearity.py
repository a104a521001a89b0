"""Non-linearities are found however they are called."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradcam_core.models.nonlinearity import NonLinearities


@pytest.mark.parametrize(
    ("apply", "names"),
    [
        (nn.ReLU(), set()),
        (F.relu6, set()),
        (nn.GELU(), {"GELU"}),
        (nn.SiLU(inplace=True), {"SiLU"}),
        (torch.sigmoid, {"Sigmoid"}),
        (lambda x: x.tanh_(), {"Tanh"}),
        (lambda x: F.leaky_relu(x.relu()), {"Leaky ReLU"}),
        (lambda x: F.scaled_dot_product_attention(x, x, x), {"attention"}),
        (lambda x: nn.MultiheadAttention(4, 2)(*[x.flatten(0, 1)] * 3), {"attention"}),
        (lambda x: (x @ x.mT).softmax(-1), {"attention"}),
        (lambda x: x.flatten(1).softmax(1), set()),  # of class scores, (1, n)
        (nn.Sequential(nn.Softplus(), nn.ELU()), {"Softplus", "ELU"}),
    ],
)
def test_they_are_named(apply: Callable[[Tensor], object], names: set[str]) -> None:
    with NonLinearities() as others:
        apply(torch.randn(1, 2, 3, 4))
    assert others.seen == names
