"""The map is the usual one, whatever modes of PyTorch the caller is in."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import gradcam_core
from gradcam_core import Explanation, metrics
from gradcam_core.batch.explain_many import explain_photos
from gradcam_core.explain import Explainer
from gradcam_core.feature_cache import FeatureCache
from gradcam_core.models.compute_mode import standard_mode
from gradcam_core.query import Query


@contextmanager
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


MODES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": double,
}


@pytest.fixture(params=MODES.values(), ids=MODES.keys())
def mode(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[object]]:
    return request.param


class SmallNet(nn.Module):
    """Makes tensors of the default dtype while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 5, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU()
        )
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)) * torch.linspace(1, 2, 8))


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    return Image.fromarray(noise)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return SmallNet()


def same(found: Explanation, expected: Explanation) -> None:
    assert found.raw.dtype == np.float32
    assert expected.raw.any()
    for name in ("raw", "raw_counterfactual", "gradient"):
        a, b = getattr(found, name), getattr(expected, name)
        if a is not None or b is not None:
            assert np.allclose(a, b, rtol=1e-5, atol=1e-6 * np.abs(b).max()), name
    assert found.score == pytest.approx(expected.score, rel=1e-5)
    assert found.probability == pytest.approx(expected.probability, rel=1e-5)


METHODS = [
    *("cam", "grad-cam", "grad-cam++", "xgrad-cam", "hirescam", "layercam", "finer-cam"),
    *("occlusion", "score-cam", "gradient", "smoothgrad", "integrated-gradients"),
    *("guided-backprop", "guided-grad-cam", "deconvnet", "deconv-grad-cam"),
]


@pytest.mark.parametrize("method", METHODS)
def test_every_method(photo: Image.Image, network: nn.Module, mode: Callable, method: str) -> None:
    if method in ("cam", "xgrad-cam"):  # a last layer of another scale for each channel
        network = nn.Sequential(network.features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.fc)
    expected = gradcam_core.explain(
        photo, model=gradcam_core.wrap(network), target=1, method=method, guided=True
    )
    with mode():
        model = gradcam_core.wrap(network)
        found = gradcam_core.explain(photo, model=model, target=1, method=method, guided=True)
        assert found.heatmap.shape == (96, 128)
    same(found, expected)


@pytest.mark.parametrize(
    "query",
    [
        Query(guided=True),
        Query(detail=2),
        Query("captioning"),
        Query("vqa", question="What is it?"),
        Query("vqa", question="What is it?", model="lite0-vqa-coattention", method="attention"),
    ],
    ids=lambda query: f"{query.task}, {query.method}, {query.detail:g}",
)
def test_every_task(photo: Image.Image, mode: Callable, query: Query) -> None:
    expected = Explainer().explain(photo, query)
    with mode():
        found = Explainer().explain(photo, query)
    same(found, expected)


@pytest.mark.parametrize("method", ["attention-rollout", "attention-gradient"])
def test_a_transformer(photo: Image.Image, mode: Callable, method: str) -> None:
    import timm

    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=3, depth=2).eval()
    expected = gradcam_core.explain(photo, model=gradcam_core.wrap(network), method=method)
    with mode():
        found = gradcam_core.explain(photo, model=gradcam_core.wrap(network), method=method)
    same(found, expected)


def test_functions_preprocessing_and_frozen_networks(photo: Image.Image, mode: Callable) -> None:
    """All of them made and called within the mode; the network in the mode's own dtype."""
    torch.manual_seed(0)
    network = SmallNet().requires_grad_(False)

    def preprocess(image: Image.Image) -> Tensor:
        with torch.inference_mode():
            values = torch.from_numpy(np.array(image.resize((64, 64)), np.float64) / 255)
            return values.permute(2, 0, 1)

    def margin(output: Tensor) -> Tensor:
        return output[0, 1] - output[0, 0]

    expected = gradcam_core.explain(
        photo, model=gradcam_core.wrap(network, preprocess), target=margin
    )
    with mode():
        weights = network.state_dict()
        network = SmallNet().requires_grad_(False)
        network.load_state_dict(weights)
        found = gradcam_core.explain(
            photo, model=gradcam_core.wrap(network, preprocess), target=margin
        )
    assert expected.raw.any() or expected.raw_counterfactual.any()
    assert np.allclose(found.raw, expected.raw, atol=1e-6)
    assert np.allclose(found.raw_counterfactual, expected.raw_counterfactual, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_other_dtypes(photo: Image.Image, dtype: torch.dtype) -> None:
    """The map is that of the same weights in float32."""
    torch.manual_seed(0)
    network = SmallNet().eval().to(dtype)
    found = gradcam_core.explain(photo, model=gradcam_core.wrap(network), target=1)
    rounded = SmallNet()
    rounded.load_state_dict({n: w.float() for n, w in network.state_dict().items()})
    same(found, gradcam_core.explain(photo, model=gradcam_core.wrap(rounded), target=1))
    assert network.fc.weight.dtype == dtype


def test_a_network_with_autocast_of_its_own(photo: Image.Image, network: nn.Module) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return self.network(x)

    expected = gradcam_core.explain(photo, model=gradcam_core.wrap(network), target=1)
    found = gradcam_core.explain(photo, model=gradcam_core.wrap(Mixed()), target=1)
    assert found.raw.dtype == np.float32
    assert np.corrcoef(found.raw.ravel(), expected.raw.ravel())[0, 1] > 0.99


def test_many_photos_the_cache_and_metrics(
    photo: Image.Image, tmp_path: Path, mode: Callable
) -> None:
    """What is computed within a mode is of use outside of it."""
    file = tmp_path / "a.png"
    photo.save(file)
    expected = gradcam_core.explain(file)
    cached = Explainer(FeatureCache())
    with mode():
        ((_, many),) = explain_photos([file], Query())
        first = cached.explain(file, Query())
        second = cached.explain(file, Query(target=expected.target, guided=True))
        measured = metrics.measure(first, ["deletion"])["deletion"].value
    third = cached.explain(file, Query(target=expected.target, method="layercam"))
    for found in (many, first, second):
        assert isinstance(found, Explanation)
        assert np.allclose(found.raw, expected.raw, atol=1e-5)
    assert np.allclose(third.raw, gradcam_core.explain(file, method="layercam").raw, atol=1e-5)
    assert measured == pytest.approx(metrics.measure(expected, ["deletion"])["deletion"].value)


def test_the_callers_modes_stay(mode: Callable) -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_default_dtype(),
        )

    with mode():
        before = state()
        with standard_mode():
            assert state() == (True, False, False, torch.float32)
            with standard_mode():
                pass
            assert state() == (True, False, False, torch.float32)
        assert state() == before
        with pytest.raises(ValueError, match="nothing"):
            gradcam_core.load("nothing")
        assert state() == before
