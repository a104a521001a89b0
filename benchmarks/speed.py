"""What an explanation costs beside a bare forward pass of the same network.

    python -m benchmarks.speed

The ways alternate, so that whatever else the machine does slows all of them alike; medians.
"""

import statistics
import time
from collections.abc import Callable

import torch
import typer
from PIL import Image
from torch import nn
from tqdm import tqdm

import gradcam_core
from gradcam_core.explain import explain_encoded
from gradcam_core.methods.relu_rules import ReLURule

ROUNDS = 200


def main() -> None:
    """Print the median time of each way, and its ratio to the bare forward pass."""
    torch.manual_seed(0)
    model = gradcam_core.load("lite0")
    backbone = model.backbone
    picture = Image.effect_mandelbrot((640, 480), (-2, -1, 1, 1), 50).convert("RGB")
    pixels, _ = backbone.pixels(picture)
    network = nn.Sequential(*backbone._stages, model._head)
    encoded = backbone.encode_pixels(pixels)

    def forward() -> None:
        with torch.no_grad():
            network(pixels)

    def explain() -> None:
        explain_encoded(model, backbone.encode_pixels(pixels), picture)

    def explain_guided() -> None:
        with ReLURule("guided"):
            traced = backbone.encode_pixels(pixels.clone().requires_grad_())
        explain_encoded(model, traced, picture, with_guided=True)

    ways: dict[str, Callable[[], None]] = {
        "bare forward pass": forward,
        "explanation": explain,
        "explanation, guided": explain_guided,
        "explanation of another class": lambda: explain_encoded(
            model, encoded, picture, target="tabby"
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in tqdm(range(ROUNDS)):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    bare = statistics.median(times["bare forward pass"])
    print(f"{torch.get_num_threads()} threads, {ROUNDS} rounds, from pixels to maps:")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:30} {1000 * median:7.2f} ms   {median / bare:5.2f}x")


if __name__ == "__main__":
    typer.run(main)
