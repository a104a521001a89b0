"""Make a chain of stages faster without changing what it computes, up to rounding."""

import operator
from collections import Counter
from collections.abc import Callable, Container, Mapping

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights


def optimize_for_inference(
    stages: Mapping[str, nn.Module], layers: Container[str]
) -> dict[str, nn.Module]:
    """Fold batch normalization into the convolutions before it, and speed up the rest.

    - A batch normalization becomes an `nn.Identity` if nothing else reads the convolution's output.
    - An activation overwrites its input if nothing else reads that and no graph is recorded.
    - A convolution of 1 x 1 always runs on oneDNN; see `_Pointwise`.

    Args:
        stages: Name -> module; each takes what the one before it gives. They are modified and
            put in evaluation mode.
        layers: Names of the stages whose outputs are target layers.

    Returns:
        The stages to use instead.
    """
    chain = _Chain(stages, layers).eval()
    nodes = _LeafTracer().trace(chain).nodes
    modules = dict(chain.named_modules())
    calls = Counter(str(node.target) for node in nodes if node.op == "call_module")

    def module(node: fx.Node) -> nn.Module | None:
        return modules[str(node.target)] if node.op == "call_module" else None

    def is_temporary(node: fx.Node) -> bool:
        """Whether a result is read once, and shares its memory with nothing that is read again."""
        if len(node.users) > 1:
            return False
        # Also `+=`, which writes to its first input.
        if node.target is operator.add:
            return is_temporary(node.all_input_nodes[0])
        return isinstance(module(node), nn.Conv2d | nn.BatchNorm2d)

    keep_input: set[str] = set()
    for node in nodes:
        name, own = str(node.target), module(node)
        if own is None:
            continue
        source = node.all_input_nodes[0]
        if type(own) in _ACTIVATIONS and not is_temporary(source):
            keep_input.add(name)
        if len(source.users) == calls[str(source.target)] == calls[name] == 1:
            before = module(source)
            if isinstance(own, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
                _fold(before, own)
                chain.set_submodule(name, nn.Identity())
    for name in calls:
        own = modules[name]
        if type(own) in _ACTIVATIONS and name not in keep_input:
            chain.set_submodule(name, _Overwriting(_ACTIVATIONS[type(own)]))
        elif type(own) is nn.Conv2d and _Pointwise.can_replace(own):
            chain.set_submodule(name, _Pointwise(own))
    return dict(zip(stages, chain.stages, strict=True))


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )


_ACTIVATIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.ReLU: F.relu,
    nn.ReLU6: F.relu6,
    nn.Hardswish: F.hardswish,
}


class _Overwriting(nn.Module):
    """An activation that overwrites its input if no graph is recorded."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x, inplace=not x.requires_grad)


class _Pointwise(nn.Conv2d):
    """A convolution of 1 x 1, computed by oneDNN on a CPU.

    PyTorch uses MKL for it if there is one picture and one thread. On processors from AMD, MKL
    takes twice as long.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution.in_channels, convolution.out_channels, 1, device="meta")
        self.weight, self.bias = convolution.weight, convolution.bias

    @staticmethod
    def can_replace(convolution: nn.Conv2d) -> bool:
        settings = (convolution.kernel_size, convolution.stride, convolution.padding)
        plain = settings == ((1, 1), (1, 1), (0, 0)) and convolution.groups == 1
        return plain and torch.backends.mkldnn.is_available()

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.dtype != torch.float32:
            return super().forward(x)
        return torch.mkldnn_convolution(x, self.weight, self.bias, (0, 0), (1, 1), (1, 1), 1)


class _Chain(nn.Module):
    """The stages as one module, which returns the output of each target layer and the last."""

    def __init__(self, stages: Mapping[str, nn.Module], layers: Container[str]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages.values())
        self._is_layer = [name in layers for name in stages]

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for stage, is_layer in zip(self.stages, self._is_layer, strict=True):
            x = stage(x)
            if is_layer:
                outputs.append(x)
        return [*outputs, x]


class _LeafTracer(fx.Tracer):
    """Traces into every module that contains others."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(m.children())
