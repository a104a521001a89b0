"""The EfficientNet-Lite architecture, without weights.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML 2019),
in the variant for mobile devices that Google published in 2020: no squeeze-and-excitation, and
every non-linearity is a ReLU6. timm has it too, but importing timm takes two seconds.
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

# Lite0's seven stages: number of blocks, kernel size, stride, expansion, output channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _LAST = 32, 1280  # output channels of the first and the last convolution


def efficientnet_lite(width: float, depth: float) -> tuple[dict[str, nn.Module], nn.Linear]:
    """Build a network with random weights.

    Args:
        width: Multiplies the channels of Lite0's blocks.
        depth: Multiplies the number of blocks of Lite0's stages, except the first and the last.

    Returns:
        The stages by name, from pixels (n, 3, h, w) to the last map (n, 1280, h / 32, w / 32),
        rounded up; and the classifier, from the map's means (n, 1280) to logits (n, 1000).
    """
    stages: dict[str, nn.Module] = {"stem": _convolution(3, _STEM, 3, 2)}
    c_in = _STEM
    for i, (blocks, kernel, stride, expansion, channels) in enumerate(_STAGES):
        c_out = _rounded(channels * width)
        scaled = 0 < i < len(_STAGES) - 1
        stages[f"blocks.{i}"] = nn.Sequential(
            *(
                _Block(c_out if j else c_in, c_out, kernel, 1 if j else stride, expansion)
                for j in range(math.ceil(blocks * depth) if scaled else blocks)
            )
        )
        c_in = c_out
    stages["conv_head"] = _convolution(c_in, _LAST, 1)
    return stages, nn.Linear(_LAST, 1000)


class _Block(nn.Sequential):
    """Inverted residual block: expand the channels, convolve each one alone, project them."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> None:
        hidden = c_in * expansion
        expand = [_convolution(c_in, hidden, 1)] if expansion > 1 else []
        super().__init__(
            *expand,
            _convolution(hidden, hidden, kernel, stride, groups=hidden),
            _convolution(hidden, c_out, 1, relu=False),
        )
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self:
            y = layer(y)
        return x + y if self.residual else y


def _convolution(
    c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, *, relu: bool = True
) -> nn.Sequential:
    kind = nn.Conv2d if stride == 1 else _StridedConv2d
    return nn.Sequential(
        kind(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out, eps=1e-3),
        *([nn.ReLU6()] if relu else []),
    )


class _StridedConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding, where an odd pixel goes to the end."""

    def forward(self, x: Tensor) -> Tensor:
        # An even side has its odd pixel of padding at the end: a row of zeros before the kernel
        # moves it there, without a padded copy of the map.
        top, left = (1 - side % 2 for side in x.shape[-2:])
        weight = F.pad(self.weight, (left, 0, top, 0))
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, groups=self.groups)


def _rounded(channels: float) -> int:
    """Round to a multiple of 8, but not down by more than 10 %."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
