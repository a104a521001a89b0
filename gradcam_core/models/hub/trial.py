"""Try models of unknown origin in a process with limits, before they are loaded.

A few numbers in a model's settings decide how much memory and time it takes, and there are too
many kinds of settings to check each. So a model is first loaded, run and explained once in a
process of its own. This module is also that process's program: it imports the libraries once, and
forks for each trial. It ends when nothing was tried for a while.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

MEMORY = 2 * 2**30  # bytes, in addition to what the libraries take
MEMORY_PER_WEIGHT = 5  # bytes for each byte of the weights' files: they are copied and converted
CPU_SECONDS = 20
CPU_SECONDS_PER_GB = 20  # of weights

_MOST_BUSY = 10  # times as long as its CPU time is how long a trial may take on a busy machine
_IDLE = 60.0  # seconds until the process ends

# One thread, as it forks; no GPU; and nothing that the settings name is fetched.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": os.pathsep.join(sys.path),
}


class _Tester:
    """The process that tries models; it starts when it is needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes) -> str | None:
        """Return why a model is refused, "" if it is not; None if there was no answer."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gradcam_core.models.hub.trial"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what libraries say is said again at loading
                env={**os.environ, **_ENVIRONMENT},
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
            answer: str = json.loads(process.stdout.readline())
            return answer
        except (BrokenPipeError, ValueError):
            self.stop()
            return None
        except BaseException:  # also KeyboardInterrupt: its answer would be taken for the next
            self.stop()
            raise

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


_tester = _Tester()
atexit.register(_tester.stop)


def check(folder: Path, weights: int) -> None:
    """Load, run and explain the classifier in a folder, within limits.

    Args:
        folder: The folder.
        weights: The size of its weights' files, in bytes.

    Raises:
        ValueError: It cannot be used, or takes too much memory or time.
    """
    if not hasattr(os, "fork"):  # Windows
        return
    request = json.dumps([str(folder.absolute()), weights]).encode() + b"\n"
    with _tester.lock:
        answer = _tester.ask(request)
        if answer is None:  # it may just have ended, being idle
            answer = _tester.ask(request)
    if answer is None:
        raise RuntimeError("the process that tries models cannot be started.")
    if answer:
        raise ValueError(answer)


def main() -> None:
    """Answer requests until the standard input ends, or none came for a while."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification  # noqa: F401

    from gradcam_core.models.hub.by_id import try_folder

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    while select.select([sys.stdin], [], [], _IDLE)[0] and (line := sys.stdin.buffer.readline()):
        name, weights = json.loads(line)
        answer = _try(partial(try_folder, Path(name)), weights)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _try(run: Callable[[], str], weights: int) -> str:
    """Return what `run` returns, in a forked process with limits; else that it exceeds them."""
    seconds = round(CPU_SECONDS + CPU_SECONDS_PER_GB * weights / 1e9)
    memory = MEMORY + MEMORY_PER_WEIGHT * weights
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            _limit(memory, seconds)
            os.write(writer, run().encode("utf-8", "replace")[:4000])
            os._exit(0)
        except MemoryError:
            os._exit(1)
        except BaseException:
            os._exit(2)
    os.close(writer)
    timer = threading.Timer(_MOST_BUSY * seconds, os.kill, (child, signal.SIGKILL))
    timer.daemon = True
    timer.start()
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode()
    timer.cancel()
    _, status = os.waitpid(child, 0)
    if status == 0:
        return answer
    return (
        f"it takes more than {memory / 2**30:.1f} GB of memory or {seconds} seconds to be loaded "
        "and explained once."
    )


def _limit(memory: int, seconds: int) -> None:
    import resource  # not on Windows

    def limit(what: int, value: int) -> None:
        _, most = resource.getrlimit(what)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(what, (value, value))

    limit(resource.RLIMIT_CPU, seconds)
    limit(resource.RLIMIT_CORE, 0)
    statistics = Path("/proc/self/statm")
    if statistics.exists():  # other systems than Linux do not enforce a limit of memory
        used = int(statistics.read_text().split()[0]) * resource.getpagesize()
        limit(resource.RLIMIT_AS, used + memory)


if __name__ == "__main__":
    main()
