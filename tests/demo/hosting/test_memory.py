"""The process shrinks again after a request."""

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


def test_what_visits_were_sent_is_not_kept_for_long(address: str) -> None:
    port = urlsplit(address).port
    demos = [each for each in gc.get_objects() if isinstance(each, Blocks)]
    (demo,) = (each for each in demos if getattr(each, "server_port", None) == port)
    kept = demo.app.state_holder
    for visit in range(120):
        kept[f"visit {visit}"]
    assert len(kept.session_data) <= 100
