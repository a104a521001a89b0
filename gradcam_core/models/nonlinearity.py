"""The non-linearities of a network: which ones it has, and that none overwrites its input."""

from typing import Any

from torch import nn

from gradcam_core.models.function_mode import Function, FunctionMode


def disable_inplace(network: nn.Module) -> None:
    """Stop modules from overwriting their input: a feature map must outlive what reads it."""
    for module in network.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010  (nn.Module's own attributes are typed)


class NonLinearities(FunctionMode):
    """Within this context, `seen` collects the names of the non-linearities other than ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def call(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        # A softmax of (1, n) shapes the output; it is not attention.
        if name in _NAMES and (name != "softmax" or args[0].ndim > 2):
            self.seen.add(_NAMES[name])
        return func(*args, **kwargs)


_NAMES = {
    "gelu": "GELU",
    "silu": "SiLU",
    "hardswish": "Hardswish",
    "hardsigmoid": "Hardsigmoid",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "mish": "Mish",
    "elu": "ELU",
    "selu": "SELU",
    "celu": "CELU",
    "leaky_relu": "Leaky ReLU",
    "prelu": "PReLU",
    "softplus": "Softplus",
    "softmax": "attention",
    "multi_head_attention_forward": "attention",
    "scaled_dot_product_attention": "attention",
}
