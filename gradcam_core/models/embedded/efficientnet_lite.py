"""The network EfficientNet-Lite, without weights.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML 2019),
in the form for mobile devices that Google published in 2020: no squeeze-and-excitation, and every
non-linearity is a ReLU6. timm has it too, but importing timm takes longer than all the rest.
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

# Of Lite0, for each of seven stages: blocks, kernel, stride, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _LAST = 32, 1280  # channels


def efficientnet_lite(width: float, depth: float) -> tuple[dict[str, nn.Module], nn.Linear]:
    """Return the network's stages from picture to last map, and its classifier.

    A picture is (n, 3, h, w), the last map (n, 1280, h / 32, w / 32), rounded up; the classifier
    takes the map's means, 1280 -> 1000.

    Args:
        width: How many times as many channels as Lite0's the blocks have.
        depth: How many times as many blocks the stages have, but for the first and last.
    """
    stages: dict[str, nn.Module] = {"stem": _convolution(3, _STEM, 3, 2)}
    taken = _STEM
    for i, (blocks, kernel, stride, expansion, channels) in enumerate(_STAGES):
        given = _rounded(channels * width)
        more = 0 < i < len(_STAGES) - 1
        stages[f"blocks.{i}"] = nn.Sequential(
            *(
                _Block(given if j else taken, given, kernel, 1 if j else stride, expansion)
                for j in range(math.ceil(blocks * depth) if more else blocks)
            )
        )
        taken = given
    stages["conv_head"] = _convolution(taken, _LAST, 1)
    return stages, nn.Linear(_LAST, 1000)


class _Block(nn.Sequential):
    """Inverted residual: channels are added, mixed each in its own plane, and taken away."""

    def __init__(self, taken: int, given: int, kernel: int, stride: int, expansion: int) -> None:
        inside = taken * expansion
        widened = [_convolution(taken, inside, 1)] if expansion > 1 else []
        super().__init__(
            *widened,
            _convolution(inside, inside, kernel, stride, groups=inside),
            _convolution(inside, given, 1, relu=False),
        )
        self.residual = stride == 1 and taken == given

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self:
            y = layer(y)
        return x + y if self.residual else y


def _convolution(
    taken: int, given: int, kernel: int, stride: int = 1, groups: int = 1, *, relu: bool = True
) -> nn.Sequential:
    kind = nn.Conv2d if stride == 1 else _Strided
    return nn.Sequential(
        kind(taken, given, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(given, eps=1e-3),
        *([nn.ReLU6()] if relu else []),
    )


class _Strided(nn.Conv2d):
    """A convolution padded as by TensorFlow: by what is needed only, the odd one at the end."""

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        padding: list[int] = []
        for side in (x.shape[-1], x.shape[-2]):
            missing = max(0, (math.ceil(side / stride) - 1) * stride + kernel - side)
            padding += [missing // 2, missing - missing // 2]
        return F.conv2d(F.pad(x, padding), self.weight, stride=self.stride, groups=self.groups)


def _rounded(channels: float) -> int:
    """Round to eights, down by a tenth at most."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
