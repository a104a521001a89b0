"""NaN and infinite values are reported, never drawn, and never written as JSON."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import gradcam_core
from gradcam_core import Explanation
from gradcam_core.models.base import Prediction


class Net(nn.Module):
    """A CNN whose parts can be broken."""

    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 7, 8), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.fc = nn.Linear(8, 3)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.features(x)))


def mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def root_mean_square(x: Tensor) -> Tensor:
    """Its gradient is NaN where a channel is all zeros."""
    return x.pow(2).mean((2, 3)).sqrt()


def broken_weight(value: float) -> Net:
    network = Net(mean)
    network.features[0].weight.data[2, 0, 0, 0] = value
    return network


def broken_class(value: float) -> Net:
    network = Net(mean)
    network.fc.weight.data[2, 0] = value
    return network


def dead_channel() -> Net:
    network = Net(root_mean_square)
    network.features[2].weight.data[3] = 0
    network.features[2].bias.data[3] = 0
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "NaN weight": lambda: broken_weight(float("nan")),
    "infinite weight": lambda: broken_weight(float("inf")),
    "NaN weight of another class": lambda: broken_class(float("nan")),
    "infinite weight of another class": lambda: broken_class(float("inf")),
    "NaN gradient": dead_channel,
    "NaN activations": lambda: Net(lambda x: mean((x - 1e6).sqrt())),
    "infinite score": lambda: Net(lambda x: mean(x * 1e30) * 1e30),
}
METHODS = [
    *("grad-cam", "grad-cam++", "xgrad-cam", "hirescam", "layercam", "finer-cam", "cam", "c-mwp"),
    *("occlusion", "score-cam", "rise", "gradient", "smoothgrad", "integrated-gradients"),
    *("guided-backprop", "guided-grad-cam", "deconvnet", "deconv-grad-cam"),
]
GRADIENT_FREE = {"occlusion", "score-cam", "rise"}


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    return Image.fromarray(noise)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_broken_network_is_reported(photo: Image.Image, name: str, method: str) -> None:
    if name == "NaN gradient" and method in GRADIENT_FREE:
        return
    model = gradcam_core.wrap(NETWORKS[name](), layer="features.2")
    with pytest.raises(ValueError):
        gradcam_core.explain(photo, model=model, target=0, method=method)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_broken_weights_are_named(photo: Image.Image, value: float) -> None:
    networks = {"features.0.weight": broken_weight(value), "fc.weight": broken_class(value)}
    for weight, network in networks.items():
        model = gradcam_core.wrap(network, layer="features.2")
        with pytest.raises(ValueError, match=weight):
            gradcam_core.explain(photo, model=model, target=0)


def test_a_broken_preprocessing_is_reported() -> None:
    """A z-score of a picture of one colour divides by zero."""

    def preprocess(image: Image.Image) -> Tensor:
        values = torch.from_numpy(np.array(image.resize((64, 64)), np.float32)).permute(2, 0, 1)
        return (values - values.mean()) / values.std()

    model = gradcam_core.wrap(Net(mean), preprocess, layer="features.2")
    noise = Image.effect_noise((64, 64), 60).convert("RGB")
    assert gradcam_core.explain(noise, model=model, target=0).raw.shape
    with pytest.raises(ValueError, match="preprocess"):
        gradcam_core.explain(Image.new("RGB", (64, 64), "grey"), model=model, target=0)


def test_only_the_explained_part_must_be_finite(photo: Image.Image) -> None:
    """A class may be impossible (-inf), and unused weights may be anything."""
    network = Net(mean)
    network.fc.bias.data[1] = -torch.inf
    network.unused = nn.Linear(2, 2)
    network.unused.weight.data.fill_(torch.nan)
    model = gradcam_core.wrap(network, layer="features.2")
    found = gradcam_core.explain(photo, model=model, target=0)
    assert np.isfinite(found.raw).all()
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_guided_gradients_are_checked_too(photo: Image.Image) -> None:
    """The map at the layer is fine; the gradient at the input is NaN."""

    class Early(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.last = nn.Conv2d(3, 4, 8, 8), nn.Conv2d(4, 4, 1)
            self.fc = nn.Linear(4, 3)
            self.first.weight.data[0] = 0
            self.first.bias.data[0] = 0

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(mean(self.last(self.first(x).pow(2).sqrt()).relu()))

    model = gradcam_core.wrap(Early(), layer="last")
    assert gradcam_core.explain(photo, model=model, target=0).raw.shape
    with pytest.raises(ValueError):
        gradcam_core.explain(photo, model=model, target=0, guided=True)


def test_nothing_else_is_written_as_json(photo: Image.Image, tmp_path: Path) -> None:
    found: Explanation = gradcam_core.explain(photo)
    broken = replace(found, predictions=[Prediction("cat", float("nan"))])
    with pytest.raises(ValueError):
        broken.save(tmp_path)
    assert not list(tmp_path.iterdir())
