"""Open pictures: check them, rotate them upright, and decode files within limits."""

import atexit
import contextlib
import contextvars
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache
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

__all__ = [
    "KEPT_PIXELS",
    "MAX_PIXELS",
    "DecoderPool",
    "ImageSource",
    "decoders",
    "decoding_for",
    "open_image",
]

ImageSource = str | Path | Image.Image | np.ndarray

_POLL = 0.1  # seconds between two looks at a file that waits or takes long
_MOST_BUSY = 20  # times as long as a file's CPU time is how long it may take on a busy machine

_MAX_REFUSED = 1000  # files that are remembered

_client: contextvars.ContextVar[tuple[Hashable, Callable[[], object]]] = contextvars.ContextVar(
    "client", default=(None, lambda: None)
)


@contextlib.contextmanager
def decoding_for(client: Hashable, check: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Open the pictures inside for a client of a server: clients take turns.

    One client's files are never decoded in all places, so that others need not wait for them.
    Without a client there are no turns.

    Args:
        client: Whose files they are, for example an IP address.
        check: Called now and then while a file waits or takes long. What it raises ends that.

    Examples:
        >>> with decoding_for("192.0.2.7"):
        ...     open_image("cat.jpg").size
        (451, 300)
    """
    token = _client.set((client, check))
    try:
        yield
    finally:
        _client.reset(token)


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
    answer = decoders.decode(path)
    if isinstance(answer, str):
        raise ValueError(answer)
    return answer


def _decode(decoder: subprocess.Popen[bytes], path: Path) -> Image.Image | str | None:
    """Return a file's picture, or the message why it has none; None if the decoder was ended."""
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
    except (BrokenPipeError, ValueError):
        return None


class _Places:
    """Places that clients take in turns, each at most all but one, unless there is only one."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._changed = threading.Condition()
        self._waiting: list[list[Hashable]] = []  # lists, as two of one client are not the same
        self._held: Counter[Hashable] = Counter()
        self._turns: dict[Hashable, int] = {}  # the last turn of each client that waits or holds
        self._numbers = itertools.count(1)

    def take(self, client: Hashable, check: Callable[[], object], *, wait: bool = True) -> bool:
        """Take a place; without waiting only if it is the client's turn now."""
        ticket = [client]
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._next() is not ticket:
                    if not wait:
                        return False
                    self._changed.wait(_POLL)
                    check()
                self._held[client] += 1
                self._turns[client] = next(self._numbers)
                return True
            finally:
                self._waiting.remove(ticket)
                self._tidy(client)

    def give_back(self, client: Hashable) -> None:
        with self._changed:
            self._held[client] -= 1
            self._tidy(client)

    def _next(self) -> list[Hashable] | None:
        """Return whose turn it is: of who holds least, the one whose last turn is longest ago."""
        if self._held.total() >= self._count:
            return None
        most = max(1, self._count - 1)
        return min(
            (each for each in self._waiting if each[0] is None or self._held[each[0]] < most),
            key=lambda each: (self._held[each[0]], self._turns.get(each[0], 0)),
            default=None,
        )

    def _tidy(self, client: Hashable) -> None:
        if not self._held[client]:
            del self._held[client]
            if [client] not in self._waiting:
                self._turns.pop(client, None)
        self._changed.notify_all()


class DecoderPool:
    """The processes that decode files; idle ones are reused.

    A file that takes longer than `slow_after` moves to a second set of places, and a new file can
    start in its own: slow files do not block fast ones. If all of these are taken it waits for one,
    and is decoded anew.

    Attributes:
        slots: Files that are decoded at once; and as many slow ones.
        timeout: Seconds for one file by the clock, even if it takes little CPU time.
        slow_after: Seconds of CPU time until a file counts as slow.
        idle: The processes that wait for a file.
    """

    def __init__(self, slots: int = 2, timeout: float = 30.0, slow_after: float = 0.5) -> None:
        self.slots = slots
        self.timeout = timeout
        self.slow_after = slow_after
        self.reset()

    def reset(self) -> None:
        """Start without processes: after a fork they belong to the parent."""
        self._fast = _Places(self.slots)
        self._slow = _Places(self.slots)
        self.idle: list[subprocess.Popen[bytes]] = []
        # Files that took too much CPU time, and which version: they are refused without a try.
        self._refused: LRUCache[Path, tuple[int, int]] = LRUCache(_MAX_REFUSED)
        self._lock = threading.Lock()

    def decode(self, path: Path) -> Image.Image | str:
        """Return a file's picture, or the message why it has none."""
        client, check = _client.get()
        if self._is_refused(path):
            return exceeds_limits(printable_name(path))
        answer, postponed = self._decode_in(self._fast, path, client, check)
        if postponed:
            answer, _ = self._decode_in(self._slow, path, client, check)
        return exceeds_limits(printable_name(path)) if answer is None else answer

    def _decode_in(
        self, places: _Places, path: Path, client: Hashable, check: Callable[[], object]
    ) -> tuple[Image.Image | str | None, bool]:
        """Decode a file in one of the places.

        Returns:
            See `_decode`; and whether the file has to be decoded again, in a place for slow ones.
        """
        places.take(client, check)
        postponed = False
        try:
            decoder = self._take()
            if places is self._slow:
                _lower_priority(decoder)
            answered = threading.Event()

            def watch() -> None:
                nonlocal places, postponed
                start, used = time.monotonic(), _cpu_seconds(decoder)
                while not answered.wait(_POLL):
                    seconds = time.monotonic() - start
                    slow = (
                        seconds > _MOST_BUSY * self.slow_after
                        or _cpu_seconds(decoder, seconds) - used > self.slow_after
                    )
                    if places is self._fast and slow:
                        if self._slow.take(client, check, wait=False):
                            places.give_back(client)
                            places = self._slow
                            _lower_priority(decoder)
                        else:
                            postponed = True
                    if postponed or seconds > self.timeout or not _is_wanted(check):
                        decoder.kill()
                        return

            # In the same context, for `check`; must not delay the exit.
            context = contextvars.copy_context()
            watcher = threading.Thread(target=context.run, args=(watch,), daemon=True)
            watcher.start()
            try:
                answer = _decode(decoder, path)
            except BaseException:  # also KeyboardInterrupt: its answer is incomplete
                decoder.kill()
                decoder.wait()
                raise
            finally:
                answered.set()
                watcher.join()
            if answer is not None and places is self._fast:
                self.idle.append(decoder)
            else:  # ended; or slow, and its priority cannot be raised again
                decoder.kill()
                if decoder.wait() == -getattr(signal, "SIGPROF", 0):  # set by the decoder itself
                    self._refuse(path)
                check()
            return answer, postponed and answer is None
        finally:
            places.give_back(client)

    def _is_refused(self, path: Path) -> bool:
        with self._lock:
            version = self._refused.get(path.absolute())
        return version is not None and version == _version(path)

    def _refuse(self, path: Path) -> None:
        with self._lock:
            self._refused[path.absolute()] = _version(path)

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


def _cpu_seconds(process: subprocess.Popen[bytes], otherwise: float = 0.0) -> float:
    """Return the CPU time of a process, or something else where the system does not tell it."""
    try:
        facts = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return otherwise
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")


def _version(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:  # deleted in the meantime
        return 0, 0
    return facts.st_size, facts.st_mtime_ns


def _is_wanted(check: Callable[[], object]) -> bool:
    """Return whether a client still waits: whether `check` raises nothing."""
    try:
        check()
    except BaseException:  # the thread that waits for the answer calls it, too
        return False
    return True


def _lower_priority(process: subprocess.Popen[bytes]) -> None:
    """Let other processes go first."""
    if hasattr(os, "setpriority"):  # not on Windows
        with contextlib.suppress(OSError):  # the process has ended
            os.setpriority(os.PRIO_PROCESS, process.pid, 10)


decoders = DecoderPool()
atexit.register(decoders.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=decoders.reset)
