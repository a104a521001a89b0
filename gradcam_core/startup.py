"""Ctrl-C in the seconds in which the command line imports its libraries: a word, no traceback.

A library leaves signals alone: this is for `gradcam` and `python -m gradcam_core` only.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any


def _end(*_: Any) -> None:
    os.write(2, b"Interrupted.\n")
    os._exit(130)


def is_command_line() -> bool:
    """Tell whether this process runs `gradcam` or `python -m gradcam_core`."""
    _, _, module = " ".join(sys.orig_argv).partition(" -m ")
    return module.split(" ")[0] == "gradcam_core" or Path(sys.argv[0]).name in (
        "gradcam",
        "gradcam.exe",
    )


def raise_at_interrupt() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt as usual."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if is_command_line() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
