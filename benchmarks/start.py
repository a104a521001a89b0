"""Time from the command to the open page, compared with importing torch and gradio.

python -m benchmarks.start
"""

import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import trange

ROUNDS = 5


def main() -> None:
    """Print both medians and their ratio."""
    bare, opened = [], []
    for _ in trange(ROUNDS, disable=None):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch, gradio"], check=True)
        bare.append(time.perf_counter() - start)
        opened.append(_time_to_page())
    middle = statistics.median(bare), statistics.median(opened)
    print(f"import torch, gradio: {middle[0]:.2f} s")
    print(f"python app.py until the page opens: {middle[1]:.2f} s, {middle[1] / middle[0]:.2f}x")


def _time_to_page() -> float:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port)}
    root = Path(__file__).parents[1]
    start = time.perf_counter()
    app = subprocess.Popen(
        [sys.executable, "app.py"], cwd=root, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
                    page.read()
                return time.perf_counter() - start
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
    finally:
        app.terminate()
        app.wait()


if __name__ == "__main__":
    main()
