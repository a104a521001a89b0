"""The process shrinks again after a request."""

import subprocess
import sys

import pytest

_WORK = """
from pathlib import Path
import torch
from demo import memory

def megabytes():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) / 1000

memory.give_back()
torch.ones(2_000_000)  # freed at once: from here on glibc would keep blocks of 8 MB
used, cached = [], []
for _ in range(40):
    used.append(torch.ones(1_500_000))  # 6 MB
    cached.append(torch.ones(20_000))
most = megabytes()
used.clear()
print(most - megabytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_request_used_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _WORK], check=True, capture_output=True, text=True)
    assert float(done.stdout) > 200  # of 240
