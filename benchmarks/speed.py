"""What an explanation costs, compared with a bare forward pass and with captum's Grad-CAM.

    OMP_NUM_THREADS=1 python -m benchmarks.speed --model lite0 --model resnet50 --model vgg16

Times are medians of CPU time, from the network's input to the maps. The cases alternate, so that
other load on the machine slows all of them alike. Beside each is how often the CNN runs. Networks
that are not on this machine get random weights: nothing is downloaded.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from unittest.mock import patch

import torch
import torchvision
import typer
from captum.attr import LayerGradCam
from PIL import Image
from torch import nn
from tqdm import tqdm

import gradcam_core
from gradcam_core import Explainer, Model, Query
from gradcam_core.methods.guided import ReLURule
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.classifiers import Classifier

Cases = dict[str, Callable[[], object]]

PICTURE = Image.effect_mandelbrot((640, 480), (-2, -1, 1, 1), 50).convert("RGB")


def main(
    model: Annotated[list[str], typer.Option(help="lite0 or torchvision's")] = ["lite0"],  # noqa: B006
    rounds: Annotated[int, typer.Option(help="Number of runs of each case")] = 200,
) -> None:
    """Print the median time of each case, and its ratio to the bare forward pass."""
    torch.manual_seed(0)
    for name in model:
        classifier = _load(name)
        cases = label_cases(classifier)
        if name == "lite0":
            cases |= text_cases(classifier)
        passes = {case: _cnn_passes(classifier, run) for case, run in cases.items()}
        times: dict[str, list[float]] = {case: [] for case in cases}
        for _ in tqdm(range(rounds), disable=None):
            for case, run in cases.items():
                start = time.process_time()
                run()
                times[case].append(time.process_time() - start)
        bare = statistics.median(times["bare forward pass"])
        print(f"{name}, {torch.get_num_threads()} threads, {rounds} rounds:")
        for case, seconds in times.items():
            median = statistics.median(seconds)
            print(
                f"{case:30} {1000 * median:7.2f} ms   {median / bare:5.2f}x   "
                f"CNN passes: {passes[case]}"
            )


def explain(
    model: Model, encoded: Encoded, targets: Sequence[str | None] = (None,), **asked: object
) -> None:
    """Explain targets of a picture that has been through the CNN."""
    query = Query(task=model.task, **asked).resolved(model)
    Explainer().explain_head(model.bind(encoded, query.question), PICTURE, query, targets)


def label_cases(model: Classifier) -> Cases:
    """Return the cases for a class, and the bare forward pass."""
    backbone = model.backbone
    pixels, _ = backbone.preprocess(PICTURE)
    network = nn.Sequential(*backbone.stages.values(), model.head)
    captum = LayerGradCam(network, [*backbone.stages.values()][-1])
    encoded = backbone.encode_pixels(pixels)
    best_five = [best.text for best in model.bind(encoded).predictions()]
    (best,) = model.bind(encoded).target().ids

    def forward() -> None:
        with torch.no_grad():
            network(pixels)

    def explain_guided() -> None:
        with ReLURule("guided"):
            traced = backbone.encode_pixels(pixels.clone().requires_grad_())
        explain(model, traced, guided=True)

    return {
        "bare forward pass": forward,
        "captum": lambda: captum.attribute(pixels, best, relu_attributions=True),
        "explanation": lambda: explain(model, backbone.encode_pixels(pixels)),
        "explanation, guided": explain_guided,
        "explanation of another class": lambda: explain(model, encoded, ["tabby"]),
        "explanation of five classes": lambda: explain(
            model, backbone.encode_pixels(pixels), best_five
        ),
    }


def text_cases(model: Classifier) -> Cases:
    """Return the cases for captions and answers."""
    backbone = model.backbone
    pixels, _ = backbone.preprocess(PICTURE)
    encoded = backbone.encode_pixels(pixels)
    captioner, answerer = gradcam_core.load("lite0-caption"), gradcam_core.load("lite0-vqa")
    captions = captioner.bind(encoded).predictions()
    ten_words = " ".join((captions[0].text.split() * 10)[:10])
    query = Query("captioning").resolved(captioner)

    def explain_words() -> None:
        head = captioner.bind(encoded)
        head.remember(captions)
        Explainer().explain_head(head, PICTURE, query, [ten_words])

    return {
        "question": lambda: explain(
            answerer, backbone.encode_pixels(pixels), question="What is this?"
        ),
        "second question about a photo": lambda: explain(
            answerer, encoded, question="What color is it?"
        ),
        "caption without the CNN": lambda: captioner.bind(encoded).predictions(),
        "writing a caption": lambda: captioner.bind(backbone.encode_pixels(pixels)).predictions(),
        "maps of ten words": explain_words,
    }


def _cnn_passes(model: Classifier, run: Callable[[], object]) -> int:
    """Return how often a case runs the CNN's first stage."""
    calls: list[nn.Module] = []
    first = next(iter(model.backbone.stages.values()))
    hook = first.register_forward_pre_hook(lambda module, _: calls.append(module))
    run()
    hook.remove()
    return len(calls)


def _load(name: str) -> Classifier:
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
