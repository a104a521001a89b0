"""The tensors in what a network or a module returns."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Yield every tensor of a network's output, in order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for each in output.values():
            yield from tensors_in(each)
    elif isinstance(output, list | tuple):
        for each in output:
            yield from tensors_in(each)


def main_output(output: Any) -> Tensor | None:
    """Return the main tensor of a network's output: "logits", "out", or the first tensor."""
    for name in ("logits", "out"):
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    return next(tensors_in(output), None)


def main_part(given: Any) -> Any:
    """Return a module's output, or its first part if it is a tuple."""
    return given[0] if type(given) is tuple and given else given


def with_main_part(given: Any, part: Tensor) -> Any:
    """Return a module's output with another main part, also where it is repeated."""
    if type(given) is not tuple:
        return part
    return tuple(part if each is given[0] else each for each in given)
