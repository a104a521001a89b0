"""Pictures: open, check, orient."""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradcam_core.image import decode
from gradcam_core.image.decode import (
    KEPT_PIXELS,
    MAX_PIXELS,
    check_size,
    finished,
    strips,
    takes_too_much,
)

__all__ = ["KEPT_PIXELS", "MAX_PIXELS", "ImageSource", "open_image"]

_PATIENCE = 30.0  # seconds by the clock for a file, however little of the processor it takes
# So many files are decoded at once; and as many more of which each has taken longer than `_LONG`
# seconds, so that what is hard to decode keeps nobody waiting.
_MAX_DECODERS = 2
_LONG = 0.5

ImageSource = str | Path | Image.Image | np.ndarray


def open_image(source: ImageSource) -> Image.Image:
    """Return the picture as RGB, upright, at most `KEPT_PIXELS` large.

    EXIF orientation is applied, transparency laid on white, 16-bit scaled to 8, and of an
    animation the first frame is taken. A picture of more than `KEPT_PIXELS` is halved. The source
    is not changed.

    Files are decoded in a process of their own, which is kept for the next one: none can take
    more time or memory than `gradcam_core.image.decode` says.

    Args:
        source: A path, a PIL image, or an array (H, W, 3) uint8.

    Raises:
        FileNotFoundError: No file at the path.
        ValueError: Not a picture, damaged, empty, larger than `MAX_PIXELS`, or a file that takes
            too much time or memory.
        TypeError: `source` is none of the above.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        check_size(source.width, source.height, "The picture")
        return finished(source.copy(), "The picture")
    if isinstance(source, str | Path):
        return _from_file(Path(source))
    raise TypeError(
        f"A picture must be a path, a PIL image or a (H, W, 3) uint8 array, "
        f"not {type(source).__name__}."
    )


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ValueError(
            f"A picture given as an array must be (H, W, 3) uint8; "
            f"this one is {array.shape} {array.dtype}."
        )
    check_size(array.shape[1], array.shape[0], "The array")
    return finished(Image.fromarray(array), "The array")


def _from_file(path: Path) -> Image.Image:
    try:
        found = path.is_file()
    except (OSError, ValueError):  # a name too long for the file system, or with a zero in it
        found = False
    if not found:
        raise FileNotFoundError(f"There is no file {path}.")
    with _decoders.lent() as decoder:
        answer = _ask(decoder, path)
    if isinstance(answer, str):
        raise ValueError(answer)
    return answer


def _ask(decoder: subprocess.Popen[bytes], path: Path) -> Image.Image | str:
    """Return a file's picture, or why it has none.

    Raises:
        ValueError: The decoder was ended before it had answered.
    """
    assert decoder.stdin is not None
    assert decoder.stdout is not None
    try:
        decoder.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
        decoder.stdin.flush()
        answer: dict[str, Any] = json.loads(decoder.stdout.readline())
        if "error" in answer:
            return str(answer["error"])
        picture = Image.new("RGB", answer["size"], None)
        for left, top, right, bottom in strips(picture.size):
            pixels = decoder.stdout.read(3 * (right - left) * (bottom - top))
            strip = Image.frombytes("RGB", (right - left, bottom - top), pixels)
            picture.paste(strip, (left, top))
        return picture
    except (BrokenPipeError, ValueError):  # by the system or by the timer
        raise ValueError(takes_too_much(path.name)) from None


class _Decoders:
    """The processes that decode files, kept for the next file."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start without any: a forked process leaves its parent's decoders to the parent."""
        self.quick = threading.BoundedSemaphore(_MAX_DECODERS)
        self.long = threading.BoundedSemaphore(_MAX_DECODERS)
        self.idle: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def lent(self) -> Iterator[subprocess.Popen[bytes]]:
        """Lend a process when there is a turn; what takes long makes way, and longer, is ended."""
        turns = self.quick
        turns.acquire()
        try:
            decoder = self._take()
            answered = threading.Event()

            def watch() -> None:
                nonlocal turns
                if answered.wait(_LONG):
                    return
                if self.long.acquire(blocking=False):
                    turns.release()
                    turns = self.long
                    _yield_to_others(decoder)
                if not answered.wait(_PATIENCE - _LONG):
                    decoder.kill()

            watcher = threading.Thread(target=watch, daemon=True)  # the program may end before it
            watcher.start()
            try:
                yield decoder
            except BaseException:  # also when somebody interrupts: what it says next is not for us
                decoder.kill()
                decoder.wait()
                raise
            finally:
                answered.set()
                watcher.join()
            if turns is self.quick:
                self.idle.append(decoder)
            else:  # its priority cannot be raised again
                decoder.kill()
                decoder.wait()
        finally:
            turns.release()

    def _take(self) -> subprocess.Popen[bytes]:
        """Return a process that waits for a file; a new one if there is none."""
        with contextlib.suppress(IndexError):  # none is left
            while True:
                decoder = self.idle.pop()
                if decoder.poll() is None:
                    return decoder
        return subprocess.Popen(
            # By its path: as a module it would import the package, and torch with it.
            [sys.executable, "-P", decode.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            pipesize=2**20,  # so that a photo comes in one piece
        )

    def end(self) -> None:
        """End all that wait."""
        while self.idle:
            decoder = self.idle.pop()
            decoder.kill()
            decoder.wait()


def _yield_to_others(process: subprocess.Popen[bytes]) -> None:
    """Let a process compute only little while others would."""
    if hasattr(os, "setpriority"):  # not on Windows
        with contextlib.suppress(OSError):  # it has ended
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)


_decoders = _Decoders()
atexit.register(_decoders.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_decoders.forget)
