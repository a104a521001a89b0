"""The one base of what watches or changes the functions that a network calls.

A torch function mode is local to the thread, sees functions as well as modules, and touches
neither the network nor what other threads do with it.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]


class FunctionMode(TorchFunctionMode):
    """Within this context, `call` runs in place of every torch function."""

    def __torch_function__(
        self,
        func: Function,
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self.call(func, args, kwargs or {})

    @abstractmethod
    def call(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what `func(*args, **kwargs)` is to return."""
