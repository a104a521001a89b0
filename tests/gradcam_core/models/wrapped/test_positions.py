"""Maps lie where the network looked, however its preprocessing turns the picture."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional as tv

from gradcam_core import explain, metrics, wrap
from gradcam_core.metrics.metric import MeasuredMap

_BRIGHT = (10, 80, 70, 140)  # left, top, right, bottom, in a picture of 300 x 224


@pytest.fixture
def photo() -> Image.Image:
    photo = Image.new("RGB", (300, 224))
    photo.paste("white", _BRIGHT)
    return photo


@pytest.fixture
def network() -> nn.Module:
    """Its score is the mean brightness, its map the brightness."""
    convolution = nn.Conv2d(3, 1, 1)
    network = nn.Sequential(
        convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)
    )
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    nn.init.zeros_(convolution.bias)
    return network


def to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image, np.float32) / 255).permute(2, 0, 1)


def z_score(values: Tensor) -> Tensor:
    return ((values - values.mean()) / values.std()).relu()


_TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "mirrored": lambda x: x.flip(2),
    "upside down": lambda x: x.flip(1),
    "quarter": lambda x: x.rot90(1, (1, 2)),
    "transposed": lambda x: x.transpose(1, 2),
    "mirrored z-score": lambda x: z_score(x).flip(2),
}


def _share_on_bright(heatmap: np.ndarray) -> float:
    left, top, right, bottom = _BRIGHT
    return float(heatmap[top:bottom, left:right].sum() / heatmap.sum())


@pytest.mark.parametrize("turn", _TURNS.values(), ids=_TURNS.keys())
def test_heat_lies_on_the_bright_square(
    turn: Callable[[Tensor], Tensor], network: nn.Module, photo: Image.Image
) -> None:
    model = wrap(network, lambda image: turn(to_tensor(image)))
    explanation = explain(photo, model=model, target=0, guided=True)
    assert explanation.position_known
    assert explanation.box == (0, 0, 1, 1)
    assert explanation.raw.shape == (224, 300)
    assert explanation.gradient is not None
    assert explanation.gradient.shape == (224, 300, 3)
    assert explanation.guided_grad_cam is not None
    for heat in (explanation.heatmap, np.abs(explanation.guided_grad_cam).sum(2)):
        assert _share_on_bright(heat) > 0.99
    # Metrics change the network's own input, which is turned.
    measured = MeasuredMap.from_explanation(explanation)
    brightness = measured.pixels[0].mean(0).numpy()
    assert np.array_equal(measured.at_input() > 0.5, brightness > brightness.mean())
    occlusion = metrics.measure(explanation, ["occlusion-correlation"])["occlusion-correlation"]
    assert occlusion.value > 0.5
    assert occlusion.map is not None
    rows, columns = occlusion.map.shape
    row, column = np.unravel_index(occlusion.map.argmax(), occlusion.map.shape)
    left, top, right, bottom = _BRIGHT
    assert left / 300 - 1 / columns < column / columns < right / 300
    assert top / 224 - 1 / rows < row / rows < bottom / 224


def test_a_mirrored_crop_is_laid_on_its_part(network: nn.Module, photo: Image.Image) -> None:
    def preprocess(image: Image.Image) -> Tensor:
        return z_score(to_tensor(image.crop((0, 0, 150, 224)))).flip(2)

    explanation = explain(photo, model=wrap(network, preprocess), target=0)
    assert explanation.box == pytest.approx((0, 0, 0.5, 1), abs=0.005)
    assert _share_on_bright(explanation.heatmap) > 0.97


def test_an_unknown_position_is_reported(network: nn.Module, photo: Image.Image) -> None:
    def rotated(image: Image.Image) -> Tensor:
        return tv.rotate(to_tensor(image), 30)

    explanation = explain(photo, model=wrap(network, rotated), target=0)
    assert not explanation.position_known
    assert explanation.box == (0, 0, 1, 1)
    assert any("unknown" in remark for remark in explanation.remarks)
    assert "unknown" in str(explanation)
    record = json.loads(json.dumps(explanation.to_dict()))
    assert record["position_known"] is False

    by_hand = explain(photo, model=wrap(network, rotated, box=(0, 0, 1, 1)), target=0)
    assert by_hand.position_known
    assert not any("unknown" in remark for remark in by_hand.remarks)


def test_a_box_by_hand(network: nn.Module, photo: Image.Image) -> None:
    def mirrored_left_half(image: Image.Image) -> Tensor:
        return to_tensor(image)[:, :, : image.width // 2].flip(2)

    for box in ((0.5, 0, 0, 1), lambda size: (size[0] // 2 / size[0], 0, 0, 1)):
        model = wrap(network, mirrored_left_half, box=box)
        explanation = explain(photo, model=model, target=0)
        assert explanation.box == (0, 0, 0.5, 1)
        assert _share_on_bright(explanation.heatmap) > 0.97


def test_a_random_preprocessing_is_refused(network: nn.Module, photo: Image.Image) -> None:
    def preprocess(image: Image.Image) -> Tensor:
        return to_tensor(tv.hflip(image) if torch.rand(()) < 0.5 else image)

    with pytest.raises(ValueError, match="random"):
        explain(photo, model=wrap(network, preprocess), target=0)


@pytest.mark.parametrize("channels", [1, 2, 4, 12])
def test_inputs_of_any_number_of_channels(channels: int, photo: Image.Image) -> None:
    def preprocess(image: Image.Image) -> Tensor:
        grey = to_tensor(image.resize((64, 64))).mean(0, keepdim=True)
        return torch.cat([grey * (index + 1) for index in range(channels)]).flip(2)

    network = nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    explanation = explain(photo, model=wrap(network, preprocess), target=0)
    assert explanation.box == (0, 0, 1, 1)
    row, column = np.unravel_index(explanation.heatmap.argmax(), explanation.heatmap.shape)
    left, top, right, bottom = _BRIGHT
    assert left - 5 < column < right + 5
    assert top - 5 < row < bottom + 5


def test_a_spectrogram_has_no_position_in_the_picture(photo: Image.Image) -> None:
    def spectrum(image: Image.Image) -> Tensor:
        signal = to_tensor(image).mean(0).flatten()
        window = torch.hann_window(128)
        return torch.stft(signal, 128, window=window, return_complex=True).abs()[None]

    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    explanation = explain(photo, model=wrap(network, spectrum), target=0)
    assert not explanation.position_known


def test_wrapping_and_the_default_preprocessing_need_no_test_pictures(photo: Image.Image) -> None:
    calls = 0

    def preprocess(image: Image.Image) -> Tensor:
        nonlocal calls
        calls += 1
        return to_tensor(image.resize((32, 32)))

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = wrap(network, preprocess)
    assert calls == 1
    explain(photo, model=model, target=0)
    after_first = calls
    assert after_first <= 20
    explain(photo, model=model, target=1)
    assert calls == after_first + 1
    assert explain(Image.new("RGB", (5, 3)), model=wrap(network), target=0).position_known
