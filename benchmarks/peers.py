"""What everyday tasks cost with this library and its peers, as ratios to a bare forward pass.

    OMP_NUM_THREADS=1 python -m benchmarks.peers --network resnet18 --network resnet50

The peers are captum, torch-cam and pytorch-grad-cam. Times are medians of CPU time. All ways to do
a task take turns with the bare forward pass of the same inputs, so that other load on the machine
slows all of them alike; each ratio is the median of the rounds' own ratios. All networks have
random weights, except for the embedded one.
"""

import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from unittest.mock import patch

import timm
import torch
import torchvision
import typer
from captum.attr import LayerGradCam
from PIL import Image
from pytorch_grad_cam import GradCAM as PytorchGradCam
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchcam.methods import GradCAM as TorchCam
from tqdm import tqdm

import gradcam_core
from gradcam_core import attribute, explain, wrap

Ways = dict[str, Callable[[], object]]

PICTURE = Image.effect_mandelbrot((640, 480), (-2, -1, 1, 1), 50).convert("RGB")
GOALS = {
    "batch of 8, a target each": 1.05,
    "five classes of one picture": 1.10,
    "64 pictures from a DataLoader": 1.05,
    "explain of a wrapped network": 1.15,
    "wrap": 1.5,
    "explain, embedded lite0": 0.85,
    "explain, embedded resnet50": 0.90,
    "explain, embedded vgg16": 1.05,
}
EMBEDDED = ("lite0", "resnet50", "vgg16")


def main(
    network: Annotated[list[str], typer.Option(help="torchvision's or timm's")] = [  # noqa: B006
        "resnet18",
        "resnet50",
    ],
    rounds: Annotated[int, typer.Option(help="Number of runs of each way")] = 7,
    task: Annotated[str, typer.Option(help="Only tasks whose name contains this")] = "",
) -> None:
    """Print the ratio of each way to do each task to a bare forward pass."""
    torch.manual_seed(0)
    print(f"{torch.get_num_threads()} threads, {rounds} rounds, ratios to a bare forward pass")
    for name in network:
        for title, ways in tasks(name).items():
            if task in title:
                show(f"{name}: {title}", ratios(ways, rounds), GOALS[title])
    for name in EMBEDDED:
        title = f"explain, embedded {name}"
        if task in title:
            show(title, ratios(embedded(name), rounds), GOALS[title])


def ratios(ways: Ways, rounds: int) -> dict[str, float]:
    """Return the median ratio of each way to the first; all take turns."""
    for way in ways.values():
        way()
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in tqdm(range(rounds), leave=False, disable=None):
        seconds = {}
        for name, way in ways.items():
            gc.collect()
            start = time.process_time()
            way()
            seconds[name] = time.process_time() - start
        bare = next(iter(seconds.values()))
        for name in ways:
            found[name].append(seconds[name] / bare)
    return {name: statistics.median(values) for name, values in found.items()}


def show(title: str, found: dict[str, float], goal: float) -> None:
    ours, *others = list(found.items())[1:]
    peers = ", ".join(f"{name} {ratio:.2f}" for name, ratio in others)
    print(f"{title:45} {ours[1]:5.2f} (goal {goal:.2f})   {peers}", flush=True)


def tasks(name: str) -> dict[str, Ways]:
    """Return the tasks, each with a bare forward pass, our way, and the peers'."""
    torch.manual_seed(0)
    if hasattr(torchvision.models, name):
        network = getattr(torchvision.models, name)(weights=None).eval()
    else:
        network = timm.create_model(name).eval()
    layer = getattr(network, "layer4", None)
    model = wrap(network)
    images = torch.randn(8, 3, 224, 224)
    labels = list(range(8))
    one, five = images[:1], [1, 10, 100, 300, 900]
    loader = DataLoader(TensorDataset(torch.randn(64, 3, 224, 224), torch.arange(64)), batch_size=8)
    pixels, _ = model.backbone.preprocess(PICTURE)
    found: dict[str, Ways] = {
        "batch of 8, a target each": {
            "bare": lambda: bare(network, images),
            "ours": lambda: attribute(network, images, labels),
        },
        "five classes of one picture": {
            "bare": lambda: bare(network, one),
            "ours": lambda: attribute(network, one, [five]),
        },
        "64 pictures from a DataLoader": {
            "bare": lambda: [bare(network, batch) for batch, _ in loader],
            "ours": lambda: [attribute(network, batch, own) for batch, own in loader],
            "explain_many": lambda: list(gradcam_core.explain_many(loader, model=model)),
        },
        "explain of a wrapped network": {
            "bare": lambda: bare(network, pixels),
            "ours": lambda: explain(PICTURE, model=model),
            "bare with preprocessing": lambda: bare(network, model.backbone.preprocess(PICTURE)[0]),
        },
        "wrap": {"bare": lambda: bare(network, pixels), "ours": lambda: wrap(network)},
    }
    if layer is not None:
        found["batch of 8, a target each"] |= batches(network, layer, images, labels)
        found["five classes of one picture"] |= {
            "captum": lambda: [_captum(network, layer, one, [each]) for each in five],
            "torch-cam": lambda: _torch_cam_classes(network, layer, one, five),
            "pytorch-grad-cam": lambda: [
                _pytorch_grad_cam(network, layer, one, [each]) for each in five
            ],
        }
        found["64 pictures from a DataLoader"] |= {
            "captum": lambda: [_captum(network, layer, x, y.tolist()) for x, y in loader],
            "torch-cam": lambda: [_torch_cam(network, layer, x, y.tolist()) for x, y in loader],
            "pytorch-grad-cam": lambda: [
                _pytorch_grad_cam(network, layer, x, y.tolist()) for x, y in loader
            ],
        }
    return found


def batches(network: nn.Module, layer: nn.Module, images: Tensor, labels: list[int]) -> Ways:
    return {
        "captum": lambda: _captum(network, layer, images, labels),
        "torch-cam": lambda: _torch_cam(network, layer, images, labels),
        "pytorch-grad-cam": lambda: _pytorch_grad_cam(network, layer, images, labels),
    }


def embedded(name: str) -> Ways:
    """Return a bare forward pass as the network's library builds it, and our explanation."""
    if name == "lite0":
        model = gradcam_core.load(name)
        network = timm.create_model("tf_efficientnet_lite0").eval()
    else:
        network = getattr(torchvision.models, name)(weights=None).eval()
        with TemporaryDirectory() as home, patch.dict("os.environ", TORCH_HOME=home):
            url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
            cached = Path(home) / "hub" / "checkpoints" / Path(url).name
            cached.parent.mkdir(parents=True)
            torch.save(network.state_dict(), cached)
            model = gradcam_core.load(name)
    pixels, _ = model.backbone.preprocess(PICTURE)
    query = gradcam_core.Query().resolved(model)
    index = 7

    def ours() -> None:  # from the network's input, as the others
        head = model.bind(model.backbone.encode_pixels(pixels))
        gradcam_core.Explainer().explain_head(head, PICTURE, query, [index])

    captum_layer = {"resnet50": "layer4", "vgg16": "features", "lite0": "bn2"}[name]
    return {
        "bare": lambda: bare(network, pixels),
        "ours": ours,
        "captum": lambda: _captum(network, network.get_submodule(captum_layer), pixels, [index]),
    }


def bare(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return network(inputs)


def _captum(network: nn.Module, layer: nn.Module, images: Tensor, labels: list[int]) -> Tensor:
    return LayerGradCam(network, layer).attribute(
        images, torch.tensor(labels), relu_attributions=True
    )


def _torch_cam(network: nn.Module, layer: nn.Module, images: Tensor, labels: list[int]) -> object:
    with TorchCam(network, layer) as extractor:
        return extractor(labels, network(images))


def _torch_cam_classes(
    network: nn.Module, layer: nn.Module, image: Tensor, labels: list[int]
) -> object:
    with TorchCam(network, layer) as extractor:
        scores = network(image)
        return [extractor(label, scores, retain_graph=True) for label in labels]


def _pytorch_grad_cam(
    network: nn.Module, layer: nn.Module, images: Tensor, labels: list[int]
) -> object:
    with PytorchGradCam(network, [layer]) as cam:
        return cam(images, [ClassifierOutputTarget(label) for label in labels])


if __name__ == "__main__":
    typer.run(main)
