"""Stopping: nothing new is taken, running answers are finished, slow work is stopped.

A signal while the program is still starting ends it at once.
"""

import os
import signal
import sys
import threading
import time
from types import FrameType

STOPPING = "The server is being restarted. Please try again in a minute."

FINISHING = 25.0  # seconds for answers that run, and for clients to fetch them
CANCELLING = 3.0  # seconds for work to end at its next step after that
_DEADLINE = 35.0  # seconds; then the process ends in any case
_POLL = 0.2  # seconds

stopping = threading.Event()  # nothing new is taken, slow work ends at its next step
ending = threading.Event()  # all work ends at its next step

open_requests: set[int] = set()
"""The HTTP requests that are being answered, but for those that only listen."""

_signalled = False
_serving = False


def catch_signals() -> None:
    """Let SIGTERM and SIGINT end the program with status 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _on_signal)


def wait_for_signal() -> None:
    """Return when the server shall stop; call it when it runs. A second signal ends it at once."""
    global _serving  # noqa: PLW0603
    _serving = True
    # Polled: a signal that the system gives to another thread does not wake this one.
    while not _signalled:
        time.sleep(_POLL)
    last = threading.Timer(_DEADLINE, end)
    last.daemon = True
    last.start()


def end() -> None:
    """End the process; tidying up, the interpreter would abort if a thread still computes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _signalled  # noqa: PLW0603
    if not _serving or _signalled:
        end()
    _signalled = True
