"""Work stops when its client cancels it or disconnects.

Slow work reports its progress by tqdm: methods and metrics that run the network many times, and
downloads. `cancellable` checks at each of these steps, and raises `Cancelled`, as Ctrl-C raises
KeyboardInterrupt on the command line. Work that shows no progress cannot be cancelled. Its handler
must have a parameter `progress: gr.Progress`, or Gradio does not track tqdm.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from demo.hosting.gradio_internals import (
    CheckedProgress,
    active_progress,
    client_disconnected,
    current_queue,
)


class Cancelled(BaseException):
    """The client no longer waits for this work. Not an Exception, so that no handler catches it."""


_cancel_flags: dict[tuple[str | None, int], threading.Event] = {}  # by session and request id


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
    key, cancelled = (session, request_id), threading.Event()

    def check() -> None:
        if cancelled.is_set() or client_disconnected():
            raise Cancelled

    _cancel_flags[key] = cancelled
    try:
        with active_progress(CheckedProgress(check)):
            yield
    finally:
        _cancel_flags.pop(key, None)


def cancel(session: str | None, request_id: int, answer: dict[str, Any]) -> None:
    """Cancel a request: it ends at its next step if it runs, and at once if it waits.

    Call it in a handler of the page that runs on the event loop, that is an asynchronous one.

    Args:
        session: As for `cancellable`.
        request_id: As for `cancellable`.
        answer: What the request answers if it was still waiting.
    """
    if flag := _cancel_flags.get((session, request_id)):
        flag.set()
    current_queue().answer_waiting(session, request_id, answer)


def running() -> int:
    """Return how many cancellable requests are running."""
    return len(_cancel_flags)
