"""Computing as usual, whatever modes of PyTorch the caller is in."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def standard_mode() -> Iterator[None]:
    """Within this context, or as a decorator: with gradients, without autocast, in float32.

    Callers may be inside `torch.no_grad()`, `torch.inference_mode()` or `torch.autocast`, or may
    have set another default dtype. All but the last are local to the thread.

    Not for generators: a context that stays open between two of their values is the caller's too.
    """
    kinds = {"cpu"}
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is not None:
        kinds.add(accelerator.type)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in kinds:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(_float32_default.active())
        yield


class _Float32Default:
    """Float32 as the default dtype while any thread needs it; PyTorch has one for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._previous = torch.float32

    @contextmanager
    def active(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._previous = torch.get_default_dtype()
                if self._previous != torch.float32:
                    torch.set_default_dtype(torch.float32)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0 and self._previous != torch.float32:
                    torch.set_default_dtype(self._previous)


_float32_default = _Float32Default()
