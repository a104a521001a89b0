"""torchvision's CNNs at full size, with random weights in torch's own cache."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

from gradcam_core import describe
from gradcam_core.explain import Explainer
from gradcam_core.image.open import open_image
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.hub.torchvision_cnns import CNNS, load_cnn
from gradcam_core.models.nonlinearity import NonLinearities
from gradcam_core.query import Query
from tests.support.model_contract import check, hooked

# The other members of their families, vgg16 and resnet50, are always tested.
_LARGE = ("vgg19", "resnet152")
_ALL = [pytest.param(name, marks=[pytest.mark.slow] * (name in _LARGE)) for name in CNNS]


@pytest.fixture(scope="module", params=_ALL)
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Classifier, nn.Module]]:
    """A network from `load_cnn` and one from torchvision, both from the same cached file."""
    name = request.param
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    home = tmp_path_factory.mktemp("torch")
    cached = home / "hub" / "checkpoints" / Path(weights.url).name
    cached.parent.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        torch.manual_seed(0)
        assert not describe(name)[1]
        torch.save(_random_weights(name), cached)
        assert describe(name)[1]
        whole = torchvision.models.get_model(name, weights=weights).eval()
        yield load_cnn(name), whole
    shutil.rmtree(home)


def _random_weights(name: str) -> dict[str, Tensor]:
    """Random weights that keep activations in a normal range through all layers.

    Those of the last layer are positive: if larger terms cancelled in a score, rounding would show.
    """
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    network = network.to_empty(device="cpu")
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter)
            else:
                nn.init.uniform_(parameter, 0.1, 0.3)
            if len(parameter) == 1000:
                parameter.data.abs_()
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.constant_(module.running_var, 4.0)
    state = network.state_dict()
    if name == "densenet121":  # the file has old parameter names
        for part in ("norm1", "norm2", "conv1", "conv2"):
            old = f".{part[:-1]}.{part[-1]}."
            state = {
                key.replace(f".{part}.", old) if "denselayer" in key else key: value
                for key, value in state.items()
                if "num_batches_tracked" not in key
            }
    return state


@pytest.fixture(scope="module")
def picture(cat_file: Path) -> Image.Image:
    return open_image(cat_file)


def test_the_stages_compute_the_same_as_the_whole_network(
    loaded: tuple[Classifier, nn.Module], picture: Image.Image
) -> None:
    model, whole = loaded
    weights = torchvision.models.get_model_weights(model.name).IMAGENET1K_V1
    assert weights.meta["categories"][282] == model.labels[282] == "tiger cat"
    layer = whole.get_submodule(model.backbone.layers[-1])

    def run(pixels: Tensor) -> tuple[Tensor, Tensor]:
        # With torchvision's preprocessing instead of the model's.
        own = weights.transforms()(picture)[None].requires_grad_()
        return hooked(layer, lambda: whole(own)[0, 282])

    check(model, picture, "282", run)


def test_the_registry_entry_is_correct(
    loaded: tuple[Classifier, nn.Module], picture: Image.Image
) -> None:
    model, _ = loaded
    info, _ = describe(model.name)
    weights = torchvision.models.get_model_weights(model.name).IMAGENET1K_V1
    assert info.download_mb == round(weights.meta["_file_size"])
    top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert f" {top1:.1f} %" in info.limits
    assert info.layers == model.backbone.layers
    with NonLinearities() as others:
        encoded = model.encode(picture)
    channels, height, width = map(int, info.feature_map.split(" x "))
    assert encoded.activations.shape == (1, channels, height, width)
    assert info.guided == (not others.seen)
    assert model.backbone.other_activation in others.seen | {""}
    # torchvision resizes the shorter side and crops the center of the 451 x 300 pixels.
    transform = weights.transforms()
    share = transform.crop_size[0] / transform.resize_size[0]
    left, top, right, bottom = encoded.placement.box
    assert bottom - top == pytest.approx(share, abs=0.01)
    assert right - left == pytest.approx(share * 300 / 451, abs=0.01)
    assert left + right == pytest.approx(1, abs=0.01)


# One of each family.
_FAMILIES = ["alexnet", "googlenet", "resnet18", "densenet121", "squeezenet1_1", "convnext_tiny"]


@pytest.mark.parametrize("loaded", _FAMILIES, indirect=True)
def test_every_target_layer_leads_to_the_same_score(
    loaded: tuple[Classifier, nn.Module], picture: Image.Image
) -> None:
    model, _ = loaded

    def score_at(layer: str | None) -> tuple[Tensor, Tensor]:
        encoded = model.encode(picture, layer)
        head = model.bind(encoded)
        return head.scores([head.target("282")])[0].terms.sum(), encoded.activations

    expected = score_at(None)[0].item()
    for layer in model.backbone.layers[::2]:
        score, activations = score_at(layer)
        assert score.item() == pytest.approx(expected, rel=1e-4)
        assert torch.autograd.grad(score, activations)[0].any()


@pytest.mark.parametrize("loaded", ["alexnet", "googlenet", "convnext_tiny"], indirect=True)
def test_maps_cover_only_the_part_that_the_network_sees(
    loaded: tuple[Classifier, nn.Module], picture: Image.Image
) -> None:
    model, _ = loaded
    query = Query(target=282, guided=True)
    if model.backbone.other_activation:
        with pytest.raises(ValueError, match=model.backbone.other_activation):
            Explainer().explain(picture, query, model)
        return
    explanation = Explainer().explain(picture, query, model)
    assert explanation.guided_backprop.any()
    margin = int(explanation.box[0] * 451) - 1
    for drawn in (explanation.heatmap, explanation.guided_backprop, explanation.guided_grad_cam):
        assert drawn.shape[:2] == (300, 451)
        assert np.isfinite(drawn).all()
        assert not drawn[:, :margin].any()


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision.models.get_model_weights("resnet18").IMAGENET1K_V1
    cached = tmp_path / "hub" / "checkpoints" / Path(weights.url).name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match=cached.name):
        load_cnn("resnet18")
