"""Work stops when its client cancels it or disconnects.

Slow work reports its progress by tqdm: methods and metrics that run the network many times, and
downloads. `cancellable` checks at each of these steps, and raises `Cancelled`, as Ctrl-C raises
KeyboardInterrupt on the command line. It also checks while a picture waits to be decoded. Other
work calls `check`. A handler must have a parameter `progress: gr.Progress`, or Gradio does not
track tqdm.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import gradcam_core
from demo.hosting import shutdown
from demo.hosting.gradio_internals import (
    CheckedProgress,
    active_progress,
    client_disconnected,
    current_address,
    current_queue,
)


class Cancelled(BaseException):
    """The client no longer waits for this work. Not an Exception, so that no handler catches it."""


class Stopped(Cancelled):
    """The server stops."""


# What runs: session and request id, and what cancels it. Clients may use an id twice.
_running: dict[threading.Event, tuple[str | None, int]] = {}

_check: ContextVar[Callable[[], None]] = ContextVar("_check", default=lambda: None)


@contextmanager
def cancellable(session: str | None = None, request_id: int = 0) -> Iterator[None]:
    """Let `cancel`, or a disconnect, end the work inside.

    Args:
        session: Gradio's name of the open page (`gr.Request.session_hash`); None for API clients,
            which can only disconnect.
        request_id: The request's id within the session.

    Raises:
        Cancelled: At the next step of the work.
    """
    cancelled = threading.Event()

    def check() -> None:
        if cancelled.is_set() or client_disconnected():
            raise Cancelled
        if shutdown.ending.is_set():
            raise Stopped

    def check_slow() -> None:
        check()
        if shutdown.stopping.is_set():
            raise Stopped

    _running[cancelled] = session, request_id
    token = _check.set(check)
    try:
        with (
            active_progress(CheckedProgress(check_slow)),
            gradcam_core.decoding_for(current_address(), check),
        ):
            yield
    finally:
        _check.reset(token)
        del _running[cancelled]


def check() -> None:
    """Raise `Cancelled` if nobody waits any longer for the request that calls this."""
    _check.get()()


def cancel(session: str | None, request_id: int, answer: dict[str, Any]) -> None:
    """Cancel a request: it ends at its next step if it runs, and at once if it waits.

    Call it in a handler of the page that runs on the event loop, that is an asynchronous one.

    Args:
        session: As for `cancellable`.
        request_id: As for `cancellable`.
        answer: What the request answers if it was still waiting.
    """
    for cancelled, request in list(_running.items()):
        if request == (session, request_id):
            cancelled.set()
    current_queue().answer_waiting(session, request_id, answer)


def running() -> int:
    """Return how many cancellable requests are running."""
    return len(_running)
