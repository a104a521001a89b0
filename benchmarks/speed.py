"""What an explanation costs beside a bare forward pass of the same network.

    python -m benchmarks.speed --model lite0 --model resnet50 --model vgg16

The ways alternate, and what is measured is CPU time, so that whatever else the machine does slows
all of them alike; medians. Networks that are not embedded get random weights: no download.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from unittest.mock import patch

import torch
import torchvision
import typer
from PIL import Image
from torch import nn
from tqdm import tqdm

import gradcam_core
from gradcam_core.explain import explain_encoded
from gradcam_core.methods.relu_rules import ReLURule
from gradcam_core.models.classifiers import Classifier

Ways = dict[str, Callable[[], object]]

PICTURE = Image.effect_mandelbrot((640, 480), (-2, -1, 1, 1), 50).convert("RGB")


def main(
    model: Annotated[list[str], typer.Option(help="lite0 or torchvision's")] = ["lite0"],  # noqa: B006
    rounds: Annotated[int, typer.Option(help="How often each is done")] = 200,
) -> None:
    """Print the median time of each way, and its ratio to the bare forward pass."""
    torch.manual_seed(0)
    for name in model:
        classifier = _loaded(name)
        ways = of_classes(classifier)
        if name == "lite0":
            ways |= of_sentences(classifier)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in tqdm(range(rounds), disable=None):
            for each, way in ways.items():
                start = time.process_time()
                way()
                times[each].append(time.process_time() - start)
        bare = statistics.median(times["bare forward pass"])
        print(f"{name}, {torch.get_num_threads()} threads, {rounds} rounds, from pixels to maps:")
        for each, seconds in times.items():
            median = statistics.median(seconds)
            print(f"{each:30} {1000 * median:7.2f} ms   {median / bare:5.2f}x")


def of_classes(model: Classifier) -> Ways:
    """Return the ways to explain a class, and the bare pass."""
    backbone = model.backbone
    pixels, _ = backbone.pixels(PICTURE)
    network = nn.Sequential(*backbone.stages.values(), model.parts()["head"])
    encoded = backbone.encode_pixels(pixels)
    best_five = [best.text for best in model.predict(encoded)]

    def forward() -> None:
        with torch.no_grad():
            network(pixels)

    def explain_guided() -> None:
        with ReLURule("guided"):
            traced = backbone.encode_pixels(pixels.clone().requires_grad_())
        explain_encoded(model, traced, PICTURE, with_guided=True)

    def explain_five() -> None:
        explain_encoded(model, backbone.encode_pixels(pixels), PICTURE, best_five)

    return {
        "bare forward pass": forward,
        "explanation": lambda: explain_encoded(model, backbone.encode_pixels(pixels), PICTURE),
        "explanation, guided": explain_guided,
        "explanation of another class": lambda: explain_encoded(model, encoded, PICTURE, ["tabby"]),
        "explanation of five classes": explain_five,
    }


def of_sentences(model: Classifier) -> Ways:
    """Return the ways to explain captions and answers."""
    backbone = model.backbone
    pixels, _ = backbone.pixels(PICTURE)
    encoded = backbone.encode_pixels(pixels)
    captioner, answerer = gradcam_core.load("lite0-caption"), gradcam_core.load("lite0-vqa")
    said = captioner.predict(encoded)
    ten_words = " ".join((said[0].text.split() * 10)[:10])
    return {
        "question": lambda: explain_encoded(
            answerer, backbone.encode_pixels(pixels), PICTURE, question="What is this?"
        ),
        "second question about a photo": lambda: explain_encoded(
            answerer, encoded, PICTURE, question="What color is it?"
        ),
        "caption without the CNN": lambda: captioner.predict(encoded),
        "writing a caption": lambda: captioner.predict(backbone.encode_pixels(pixels)),
        "maps of ten words": lambda: explain_encoded(
            captioner, encoded, PICTURE, [ten_words], predictions=said
        ),
    }


def _loaded(name: str) -> Classifier:
    if gradcam_core.describe(name)[1]:
        model = gradcam_core.load(name)
    else:
        with TemporaryDirectory() as home, patch.dict("os.environ", TORCH_HOME=home):
            url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
            cached = Path(home) / "hub" / "checkpoints" / Path(url).name
            cached.parent.mkdir(parents=True)
            torch.save(torchvision.models.get_model(name).state_dict(), cached)
            model = gradcam_core.load(name)
    assert isinstance(model, Classifier)
    return model


if __name__ == "__main__":
    typer.run(main)
