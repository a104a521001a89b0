"""Stands in for the package `spaces` of a ZeroGPU Space, where there is neither.

What it imitates, as `spaces` 0.51 does it: torch claims a GPU that this process cannot use; a
function runs in a forked process that has one; arguments and result cross pickled; of an error
only the kind comes back.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import wraps
from typing import Any

import gradio as gr
import torch

_really_available = torch.cuda.is_available
torch.cuda.is_available = lambda: True


def GPU(function: Callable[..., Any]) -> Callable[..., Any]:  # noqa: N802
    """Let a function run in a process of its own."""

    @wraps(function)
    def elsewhere(*args: Any, **kwargs: Any) -> Any:
        forking = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(1, forking, _have_it) as process:
            try:
                return process.submit(function, *args, **kwargs).result()
            except Exception as error:
                raise gr.Error(type(error).__name__, title="ZeroGPU worker error") from error

    return elsewhere


def _have_it() -> None:
    torch.cuda.is_available = _really_available
