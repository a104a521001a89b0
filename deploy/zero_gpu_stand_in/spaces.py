"""Stand-in for the package `spaces` of a ZeroGPU Space, for machines without a GPU.

It imitates `spaces` 0.51. torch reports a GPU that this process cannot use. A decorated function
runs in a process that has one; that process is forked at the first call and kept. The function
runs in another thread than the forked one, where OpenMP would wait for threads that do not exist.
Arguments and results are pickled. Only the type of an error comes back.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import wraps
from typing import Any

import gradio as gr
import torch

_is_available = torch.cuda.is_available
torch.cuda.is_available = lambda: True


def GPU(function: Callable[..., Any]) -> Callable[..., Any]:  # noqa: N802
    """Run a function in the process with the GPU."""
    process = ProcessPoolExecutor(1, multiprocessing.get_context("fork"), _restore)

    @wraps(function)
    def remote(*args: Any, **kwargs: Any) -> Any:
        try:
            return process.submit(_in_thread, function, args, kwargs).result()
        except Exception as error:
            raise gr.Error(type(error).__name__, title="ZeroGPU worker error") from error

    return remote


def _in_thread(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *args, **kwargs).result()


def _restore() -> None:
    torch.cuda.is_available = _is_available
