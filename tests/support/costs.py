"""What a file costs the process that decodes it: python costs.py FILE.

A program by itself, for the system counts in a new process's memory that of the one it was
started from: with torch in it the tests have more than any file may take.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

DECODER = Path(__file__).parents[2] / "gradcam_core" / "image" / "decode.py"


class Cost(NamedTuple):
    """CPU seconds, the most memory in bytes, and what the decoder answered; "" if it was ended."""

    seconds: float
    memory: int
    answer: str


def of(path: Path) -> Cost:
    """Decode a file as `open_image` lets it be decoded."""
    command = [sys.executable, __file__, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Cost(*json.loads(done.stdout))


def _main() -> None:
    decoder = subprocess.Popen(
        [sys.executable, "-P", DECODER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    decoder.stdin.write(json.dumps(sys.argv[1]).encode() + b"\n")
    decoder.stdin.close()
    answer = decoder.stdout.readline().decode()
    while decoder.stdout.read(2**20):
        pass
    _, _, used = os.wait4(decoder.pid, 0)
    print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, answer]))


if __name__ == "__main__":
    _main()
