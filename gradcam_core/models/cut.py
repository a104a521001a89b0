"""Any network, cut at its last feature map.

Networks from the hubs come in every shape, and most do not fall into a chain of stages. So a
hook cuts them at a module: it ends the run there, or goes on from a given map. The hook is
installed once and asks a `ContextVar` what to do, so threads do not meet.
"""

from collections import Counter
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

_TOLERANCE = 1e-4  # of the largest logit


class _Reached(Exception):  # noqa: N818  (no error, but the way out of a forward pass)
    def __init__(self, feature_map: Tensor) -> None:
        self.feature_map = feature_map


class UpTo(nn.Module):
    """The part of a network up to a module: input (1, 3, H, W) -> feature map (1, C, h, w)."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        """Install the hook.

        Args:
            network: Input -> logits (1, n), or an object that has them as `logits`.
            layer: Name of a module of `network` that runs once.
        """
        super().__init__()
        self.network = network
        # None: run as ever. A map: go on from it. Otherwise: end here.
        self.plan: ContextVar[Any] = ContextVar(f"plan at {layer}", default=None)
        self.handle = network.get_submodule(layer).register_forward_hook(self._hook)

    def forward(self, pixels: Tensor) -> Tensor:
        token = self.plan.set("end")
        try:
            self.network(pixels)
        except _Reached as reached:
            return reached.feature_map
        finally:
            self.plan.reset(token)
        raise AssertionError("the target layer did not run")

    def _hook(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        plan = self.plan.get()
        if plan is None:
            return None
        if isinstance(plan, Tensor):
            return plan.clone()  # what follows may write into it
        raise _Reached(output)


class From(nn.Module):
    """The rest of it: feature map (1, C, h, w) -> logits (1, n)."""

    def __init__(self, start: UpTo, blank: Tensor) -> None:
        """Join the first part.

        Args:
            start: The network, cut.
            blank: An input; small, for it only carries the run to where the map takes over.
        """
        super().__init__()
        self.start = start
        self.register_buffer("blank", blank, persistent=False)

    def forward(self, feature_map: Tensor) -> Tensor:
        token = self.start.plan.set(feature_map)
        try:
            return _logits(self.start.network(self.blank))
        finally:
            self.start.plan.reset(token)


@torch.no_grad()
def cut(network: nn.Module, pixels: Tensor) -> tuple[str, UpTo, From]:
    """Find the last feature map of a CNN, and cut the network there.

    Args:
        network: Input (1, 3, H, W) -> logits (1, n), or an object that has them as `logits`; in
            evaluation mode.
        pixels: (1, 3, H, W), any picture.

    Returns:
        The name of the module that gives the map, the part up to it, and the rest.

    Raises:
        ValueError: There is no such map: the network is no CNN.
    """
    maps, after, logits = _feature_maps(network, pixels)
    # The last map of a CNN has at most a few layers after it. In a vision transformer the last
    # is that of the patches, and everything comes after it.
    for layer in [name for name in maps if after[name] <= max(after.values()) / 2][::-1]:
        start = UpTo(network, layer)
        feature_map = start(pixels)
        for side in (64, 128, pixels.shape[-1]):
            rest = From(start, torch.zeros(1, 3, side, side, device=pixels.device))
            try:
                again = rest(feature_map)
            except Exception:  # too small an input, which each network says in its own way
                continue
            if torch.allclose(again, logits, rtol=0, atol=_TOLERANCE * logits.abs().max().item()):
                return layer, start, rest
        start.handle.remove()
    raise ValueError(
        "this network has no last feature map that everything after it depends on alone: "
        "it does not look like a CNN."
    )


def _feature_maps(network: nn.Module, pixels: Tensor) -> tuple[list[str], dict[str, int], Tensor]:
    """Run the network once.

    Returns:
        Names of the modules that give a feature map of the shape of `pixels`, in the order that
        they end in; how many layers with weights run after each; and the logits.
    """
    names = {module: name for name, module in network.named_modules()}
    ended: list[str] = []
    weighted: list[int] = []
    runs = Counter[str]()

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        name = names[module]
        runs[name] += 1
        own = any(True for _ in module.parameters(recurse=False))
        weighted.append(own)
        is_map = (
            isinstance(output, Tensor)
            and output.ndim == 4
            and min(output.shape[2:]) > 1
            and output.shape[2] * pixels.shape[3] == output.shape[3] * pixels.shape[2]
        )
        ended.append(name if is_map else "")

    hooks = [module.register_forward_hook(note) for module in names]
    try:
        logits = _logits(network(pixels))
    finally:
        for hook in hooks:
            hook.remove()
    after = {}
    for position, name in enumerate(ended):
        if name and runs[name] == 1:
            after[name] = sum(weighted[position + 1 :])
    return list(after), after, logits


def _logits(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output.logits
