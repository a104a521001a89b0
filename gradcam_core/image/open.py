"""Open pictures: check them, rotate them upright, and decode files within limits."""

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
    exceeds_limits,
    prepare,
    printable_name,
    strips,
)

__all__ = ["KEPT_PIXELS", "MAX_PIXELS", "DecoderPool", "ImageSource", "decoders", "open_image"]

ImageSource = str | Path | Image.Image | np.ndarray


def open_image(source: ImageSource) -> Image.Image:
    """Return the picture as RGB, upright, at most `KEPT_PIXELS` large.

    EXIF orientation is applied and transparency is laid on white. Grey pictures of more than 8 bits
    (16 or 32 bits, floats) are scaled to their own range of values. Of animations, the first
    frame is opened. A picture of more than `KEPT_PIXELS` is halved. The source is not changed.

    Files are decoded in a separate process with limits on time and memory, see
    `gradcam_core.image.decode`. HEIC needs the package pillow-heif.

    Args:
        source: A path, a PIL image, or an array (H, W, 3) uint8.

    Raises:
        FileNotFoundError: There is no file at the path.
        ValueError: Not a picture, damaged, empty, larger than `MAX_PIXELS`, or a file that takes
            too much time or memory.
        TypeError: `source` is of another type.

    Examples:
        >>> open_image("cat.jpg").size
        (451, 300)
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        check_size(source.width, source.height, "The picture")
        return prepare(source.copy(), "The picture")
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
    return prepare(Image.fromarray(array), "The array")


def _from_file(path: Path) -> Image.Image:
    try:
        found = path.is_file()
    except (OSError, ValueError):  # a name that is too long, or with a null character
        found = False
    if not found:
        raise FileNotFoundError(f"There is no file {path.parent / printable_name(path)}.")
    with decoders.acquire() as decoder:
        answer = _decode(decoder, path)
    if isinstance(answer, str):
        raise ValueError(answer)
    return answer


def _decode(decoder: subprocess.Popen[bytes], path: Path) -> Image.Image | str:
    """Return a file's picture, or the message why it has none.

    Raises:
        ValueError: The decoder was ended before it answered.
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
    except (BrokenPipeError, ValueError):  # ended by the system or by the timeout
        raise ValueError(exceeds_limits(printable_name(path))) from None


class DecoderPool:
    """The processes that decode files; idle ones are reused.

    Files that take longer than `slow_after` move to a second set of slots, and a new file can start
    in their place: slow files do not block fast ones.

    Attributes:
        slots: Files that are decoded at once; and as many slow ones.
        timeout: Seconds for one file by the clock, even if it takes little CPU time.
        slow_after: Seconds until a file counts as slow.
        idle: The processes that wait for a file.
    """

    def __init__(self, slots: int = 2, timeout: float = 30.0, slow_after: float = 0.5) -> None:
        self.slots = slots
        self.timeout = timeout
        self.slow_after = slow_after
        self.reset()

    def reset(self) -> None:
        """Start without processes: after a fork they belong to the parent."""
        self._fast_slots = threading.BoundedSemaphore(self.slots)
        self._slow_slots = threading.BoundedSemaphore(self.slots)
        self.idle: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def acquire(self) -> Iterator[subprocess.Popen[bytes]]:
        """Wait for a slot and provide a process; it is ended if it exceeds the timeout."""
        slot = self._fast_slots
        slot.acquire()
        try:
            decoder = self._take()
            answered = threading.Event()

            def watch() -> None:
                nonlocal slot
                if answered.wait(self.slow_after):
                    return
                if self._slow_slots.acquire(blocking=False):
                    slot.release()
                    slot = self._slow_slots
                    _lower_priority(decoder)
                if not answered.wait(self.timeout - self.slow_after):
                    decoder.kill()

            watcher = threading.Thread(target=watch, daemon=True)  # must not delay the exit
            watcher.start()
            try:
                yield decoder
            except BaseException:  # also KeyboardInterrupt: its answer is incomplete
                decoder.kill()
                decoder.wait()
                raise
            finally:
                answered.set()
                watcher.join()
            if slot is self._fast_slots:
                self.idle.append(decoder)
            else:  # its priority cannot be raised again
                decoder.kill()
                decoder.wait()
        finally:
            slot.release()

    def close(self) -> None:
        """End all idle processes."""
        while self.idle:
            decoder = self.idle.pop()
            decoder.kill()
            decoder.wait()

    def _take(self) -> subprocess.Popen[bytes]:
        """Return an idle process, or start one."""
        with contextlib.suppress(IndexError):  # there is none
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
            pipesize=2**20,  # so that most photos fit into the pipe
        )


def _lower_priority(process: subprocess.Popen[bytes]) -> None:
    """Let other processes go first."""
    if hasattr(os, "setpriority"):  # not on Windows
        with contextlib.suppress(OSError):  # the process has ended
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)


decoders = DecoderPool()
atexit.register(decoders.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=decoders.reset)
