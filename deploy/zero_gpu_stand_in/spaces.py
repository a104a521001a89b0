"""Stands in for the package `spaces` of a ZeroGPU Space, where there is neither.

What it imitates, as `spaces` 0.51 does it: torch claims a GPU that this process cannot use; a
function runs in a process that has one, forked at its first call and kept for the next, there in
another thread than the forked one (in that one OpenMP would wait for threads that are not there);
arguments and result cross pickled; of an error only the kind comes back.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import wraps
from typing import Any

import gradio as gr
import torch

_really_available = torch.cuda.is_available
torch.cuda.is_available = lambda: True


def GPU(function: Callable[..., Any]) -> Callable[..., Any]:  # noqa: N802
    """Let a function run in a process of its own."""
    process = ProcessPoolExecutor(1, multiprocessing.get_context("fork"), _have_it)

    @wraps(function)
    def elsewhere(*args: Any, **kwargs: Any) -> Any:
        try:
            return process.submit(_in_a_thread, function, args, kwargs).result()
        except Exception as error:
            raise gr.Error(type(error).__name__, title="ZeroGPU worker error") from error

    return elsewhere


def _in_a_thread(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *args, **kwargs).result()


def _have_it() -> None:
    torch.cuda.is_available = _really_available
