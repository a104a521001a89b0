"""Memory is returned after a request."""

import gc
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from gradio.blocks import Blocks

_WORK = """
from pathlib import Path
import torch
from demo.hosting import memory

def megabytes():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) / 1000

memory.return_freed_memory()
torch.ones(2_000_000)  # freed at once: by default glibc would now keep blocks of up to 8 MB
used, cached = [], []
for _ in range(40):
    used.append(torch.ones(1_500_000))  # 6 MB
    cached.append(torch.ones(20_000))
most = megabytes()
used.clear()
print(most - megabytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_memory_is_returned() -> None:
    done = subprocess.run([sys.executable, "-c", _WORK], check=True, capture_output=True, text=True)
    assert float(done.stdout) > 200  # of 240


def test_no_answers_of_sessions_are_kept(address: str) -> None:
    port = urlsplit(address).port
    demos = [each for each in gc.get_objects() if isinstance(each, Blocks)]
    (demo,) = (each for each in demos if getattr(each, "server_port", None) == port)
    kept = demo.app.state_holder
    for session in range(120):
        kept[f"session {session}"]
    assert len(kept.session_data) == 0
