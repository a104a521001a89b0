"""What a network returns: logits, or probabilities together with the logits behind them.

A saturated sigmoid or softmax has no gradient, so Grad-CAM explains the logits that go into it. A
function mode follows them from the last sigmoid or softmax to the output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gradcam_core.models.backbone import detach
from gradcam_core.models.function_mode import Function, FunctionMode
from gradcam_core.models.wrapped.parts import main_output

_SATURATED = 1e-6  # distance from 0 and 1 at which a probability has no usable gradient


class _Source(NamedTuple):
    """Where a tensor of probabilities comes from.

    Attributes:
        kind: "sigmoid", "softmax" or "log_softmax"; "clamp" for clamped logits; "mixed" for
            several probabilities computed with each other.
        logits: What went into it, in the tensor's shape; None if mixed.
    """

    kind: str
    logits: Tensor | None


@dataclass(frozen=True)
class Output:
    """What a network returned.

    Attributes:
        value: The output itself, of any kind.
        source: Of its main tensor, if that consists of probabilities.
        pictures: How many pictures it is for.
    """

    value: Any
    source: _Source | None
    pictures: int = 1

    def item(self, index: int) -> "Output":
        """Return the output for one picture of a batch, without the batch dimension."""
        source = self.source
        if source is not None and source.logits is not None:
            source = _Source(source.kind, _item(source.logits, index, self.pictures))
        return Output(_item(self.value, index, self.pictures), source)

    def detach(self) -> "Output":
        """Return the output without a graph."""
        source = self.source
        if source is not None and source.logits is not None:
            source = _Source(source.kind, source.logits.detach())
        return Output(detach(self.value), source, self.pictures)

    @property
    def main(self) -> Tensor | None:
        """The output's main tensor."""
        return main_output(self.value)

    def logits(self) -> Tensor:
        """Return the class logits (n,), float32.

        They are the logits before a final sigmoid or softmax; the logarithms of mixed
        probabilities; else the output itself.

        Raises:
            ValueError: The probabilities are mixed and saturated, so that they have no gradient.
        """
        main = self._main()
        kind, inputs = self.source or _Source("", None)
        if inputs is not None:
            logits = _row(inputs)
            if kind == "clamp":  # the network's values, the gradient of what was clamped
                logits = logits + (main - logits).detach()
            return logits
        return main.clamp(min=1e-30).log() if self.gives_probabilities else main

    def probabilities(self) -> Tensor | None:
        """Return the network's own class probabilities (n,), without a graph; None for logits."""
        main = self._main().detach()
        if self.source is not None and self.source.kind == "log_softmax":
            return main.exp()
        return main if self.gives_probabilities else None

    @property
    def gives_probabilities(self) -> bool:
        """Whether the main tensor consists of probabilities."""
        main = self._main().detach()
        if self.source is not None and self.source.kind in ("sigmoid", "softmax"):
            return True
        if main.numel() < 2 or not bool(((main >= 0) & (main <= 1 + 1e-4)).all()):
            return False
        return self.source is not None or bool((main.sum() - 1).abs() < 1e-3)

    @property
    def is_batch(self) -> bool:
        """Whether the main tensor has an element for each picture."""
        return self.main is not None and self.main.ndim > 0 and len(self.main) == self.pictures

    @property
    def may_be_probabilities(self) -> bool:
        """Whether all numbers of a picture are from 0 to 1."""
        main = self.main
        if main is None or main.numel() != self.pictures * max(main.shape[1:], default=1):
            return False
        rows = main.detach().reshape(self.pictures, -1)
        return bool(((rows >= 0) & (rows <= 1)).all(1).any())

    @property
    def is_logarithm(self) -> bool:
        """Whether `logits` are logarithms of probabilities, for lack of logits."""
        return self.gives_probabilities and (self.source is None or self.source.logits is None)

    def check_gradient(self, index: int) -> None:
        """Raise a ValueError where the score of a class can have no gradient.

        Of a single number, class 1 is that it is not class 0.
        """
        if not self.is_logarithm:
            return
        values = self._main().detach()
        probability = values[index % len(values)].item()
        if not _SATURATED < probability < 1 - _SATURATED:
            raise ValueError(
                f"The network returns probabilities, and this one is {probability:.7g}: it is "
                "saturated and has no gradient. Explain the logits: let the network return them, "
                "or give a function of its parts."
            )

    def _main(self) -> Tensor:
        main = self.main
        assert main is not None  # a network that returns no tensor has no classes
        return _row(main)


def scalar(value: Any) -> Tensor:
    """Return what a target function returned, as a tensor (1,) float32.

    Raises:
        ValueError: It is not a tensor with one number.
    """
    if not isinstance(value, Tensor):
        raise ValueError(
            "The target function must return a tensor with one number that a gradient can "
            f"flow back from; it returned a {type(value).__name__}."
        )
    if value.numel() != 1:
        raise ValueError(
            "The target function must return one number, such as output[0, 3] or a sum; it "
            f"returned a tensor of shape {tuple(value.shape)}."
        )
    return value.reshape(1).float()


class LogitTracker(FunctionMode):
    """Within this context, tensors remember the sigmoid, softmax or clamp that they come from.

    Only rows of numbers, one row per picture, are followed: gates and attention are not.
    """

    def __init__(self, pictures: int = 1) -> None:
        super().__init__()
        self._pictures = pictures

    def call(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        name = name if name == "__getitem__" else name.rstrip("_")
        out = func(*args, **kwargs)
        if isinstance(out, Tensor) and (name in _JOINS or self._has_rows(out)):
            source = _source(name, args, kwargs, out)
            if source is not None:
                out.gradcam_source = source  # type: ignore[attr-defined]
        return out

    def _has_rows(self, out: Tensor) -> bool:
        if self._pictures == 1:
            return out.numel() == max(out.shape, default=1)
        return (
            out.ndim > 0
            and len(out) == self._pictures
            and out.numel() == self._pictures * max(out.shape[1:], default=1)
        )


def source_of(output: Any) -> _Source | None:
    """Return where the main tensor of an output comes from, as a `LogitTracker` saw it."""
    return getattr(main_output(output), "gradcam_source", None)


def _source(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor
) -> _Source | None:
    """Return the source of a function's result."""
    tensors = list(_tensors(args))
    sources: list[_Source | None] = [getattr(each, "gradcam_source", None) for each in tensors]
    mixed = _Source("mixed", None)
    if not tensors:
        return None
    if name in _PROBABILITIES:
        return mixed if tensors[0] is out else _Source(name, tensors[0])
    if name in _JOINS:
        return mixed if all(sources) else None
    source = sources[0]
    if name in _CLAMPS and (source or tensors[0] is not out):
        return source or _Source("clamp", tensors[0])
    if source is not None and source.logits is not None and name in _SHAPES:
        kept = source.logits.shape == tensors[0].shape
        if kept:
            logits = getattr(Tensor, name)(source.logits, *args[1:], **kwargs)
        return _Source(source.kind, logits) if kept else mixed
    return mixed if any(each is not None and each.kind != "clamp" for each in sources) else None


def _row(values: Tensor) -> Tensor:
    """Return values as a row (n,), float32."""
    row = values.reshape(-1)
    return row if row.dtype == torch.float32 else row.float()


def _item(value: Any, index: int, pictures: int) -> Any:
    """Return what an output holds for one picture.

    That is every tensor at an index of its first dimension, if this is as long as the batch, and
    every element of a list with one mapping for each picture, as detectors return.
    """
    if isinstance(value, Tensor):
        return value[index] if value.ndim and len(value) == pictures else value
    if isinstance(value, Mapping):
        items = {name: _item(each, index, pictures) for name, each in value.items()}
        return SimpleNamespace(**items) if hasattr(value, "logits") else items
    if isinstance(value, list) and len(value) == pictures and isinstance(value[0], Mapping):
        return value[index]
    if isinstance(value, list | tuple):
        items_of = [_item(each, index, pictures) for each in value]
        return items_of if isinstance(value, list) else tuple(items_of)
    return value


def _tensors(values: Any) -> Any:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping):
            yield from _tensors(value.values())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield from _tensors(value)


_PROBABILITIES = frozenset(("sigmoid", "softmax", "log_softmax"))
_JOINS = frozenset(("stack", "cat"))
_CLAMPS = frozenset(("clamp", "clip", "clamp_min", "clamp_max", "hardtanh"))
_SHAPES = frozenset(
    (
        "view",
        "reshape",
        "squeeze",
        "unsqueeze",
        "flatten",
        "contiguous",
        "clone",
        "float",
        "to",
        "__getitem__",
    )
)
