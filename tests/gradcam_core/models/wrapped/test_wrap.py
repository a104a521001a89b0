"""Networks of one's own: whatever they look like, against hooks on the network itself."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as tv

import gradcam_core
from gradcam_core import explain, wrap
from gradcam_core.image.open import open_image
from gradcam_core.models.wrapped.wrap import WrappedModel
from tests.support.model_contract import hooked, near


@pytest.fixture(scope="module")
def picture(cat_file: Path) -> Image.Image:
    return open_image(cat_file)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return tv.resnet18(num_classes=5).eval()


def to_64(image: Image.Image) -> Tensor:
    """A preprocessing of one's own: (3, 64, 64) in [-1, 1]."""
    values = np.array(image.resize((64, 64)), np.float32) / 127.5 - 1
    return torch.from_numpy(values).permute(2, 0, 1)


def grad_cam_by_hand(
    network: nn.Module, layer: str, pixels: Tensor, score: Callable[[Any], Tensor]
) -> Tensor:
    """Eq. 1 and 2 with a plain hook on the network itself."""
    feature_map, value = hooked(network.get_submodule(layer), lambda: score(network(pixels)))
    (gradient,) = torch.autograd.grad(value, feature_map)
    weights = gradient.mean((2, 3), keepdim=True)
    return (weights * feature_map).sum(1)[0].relu().detach()


def agrees(found: np.ndarray, expected: Tensor) -> bool:
    assert expected.any()
    return np.allclose(found, expected.numpy(), rtol=0, atol=1e-4 * expected.max().item())


# The last one is in a branch: the rest does not depend on it alone.
@pytest.mark.parametrize("layer", ["layer4", "layer2", "conv1", "layer3.1.conv2"])
def test_a_resnet_agrees_with_hooks_and_captum(
    layer: str, resnet: nn.Module, picture: Image.Image
) -> None:
    model = wrap(resnet)
    for target in (0, 3):
        explanation = explain(picture, model=model, target=target, layer=layer)
        pixels = model.encode(picture).pixels
        by_hand = grad_cam_by_hand(resnet, layer, pixels, lambda output, t=target: output[0, t])
        assert agrees(explanation.raw, by_hand)
        captum = LayerGradCam(resnet, resnet.get_submodule(layer)).attribute(
            pixels, target=target, relu_attributions=True
        )
        assert agrees(explanation.raw, captum[0, 0].detach())
        assert explanation.score == pytest.approx(resnet(pixels)[0, target].item(), abs=1e-4)
        assert explanation.target == f"class {target}"
    assert explanation.layer == layer
    assert explanation.probability == pytest.approx(
        resnet(pixels).softmax(1)[0, 3].item(), abs=1e-5
    )


def test_layers_and_their_shapes(resnet: nn.Module, picture: Image.Image) -> None:
    model = wrap(resnet, to_64, list("abcde"), layer=resnet.layer2, name="mine")
    assert (model.name, model.task, model.labels) == ("mine", "classification", tuple("abcde"))
    assert model.layers["conv1"] == (64, 32, 32)
    assert model.layers["layer3.1.conv2"] == (256, 4, 4)
    assert list(model.layers).index("layer1") < list(model.layers).index("layer2")
    assert not {"fc", "avgpool", "layer1.0.relu"} & set(model.layers)
    for layer, shape in list(model.layers.items())[::7]:
        assert model.encode(picture, layer).activations.shape[1:] == shape
    assert explain(picture, model=model).layer == "layer2"
    assert explain(picture, model=model, layer=resnet.layer3[1]).layer == "layer3.1"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layer5", r"no layer 'layer5'.*layer1"),
        ("fc", r"'fc' of ResNet returns no feature map.*\(1, 5\)"),
        ("layer1.0.relu", "runs 2 times"),
        (nn.ReLU(), "This ReLU is not part of ResNet"),
    ],
)
def test_what_is_no_layer_is_refused(
    layer: str | nn.Module, message: str, resnet: nn.Module, picture: Image.Image
) -> None:
    with pytest.raises(ValueError, match=message):
        wrap(resnet, layer=layer)
    with pytest.raises(ValueError, match=message):
        explain(picture, model=wrap(resnet), layer=layer)


class Functional(nn.Module):
    """No pooling over all cells, one ReLU used throughout and in place, most of it functions."""

    def __init__(self, channels: int = 3, outputs: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 8, 5, stride=2)
        self.second = nn.Conv2d(8, 12, 3)
        self.relu = nn.ReLU(inplace=True)
        self.hidden = nn.Linear(12 * 14 * 14, 16)
        self.out = nn.Linear(16, outputs)

    def forward(self, pixels: Tensor) -> Any:
        x = self.relu(self.first(pixels))
        x = F.max_pool2d(self.relu(self.second(x)), 2)
        return self.out(self.relu(self.hidden(x.flatten(1))))


class InDict(Functional):
    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        logits = super().forward(pixels)
        return {"loss": logits.sum(), "logits": logits}


class InTuple(Functional):
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        logits = super().forward(pixels)
        return logits, logits.mean()


class InObject(Functional):
    def forward(self, pixels: Tensor) -> Any:
        from transformers.modeling_outputs import ImageClassifierOutput

        return ImageClassifierOutput(logits=super().forward(pixels))


@pytest.mark.parametrize(
    ("kind", "logits"),
    [
        (Functional, lambda output: output),
        (InDict, lambda output: output["logits"]),
        (InTuple, lambda output: output[0]),
        (InObject, lambda output: output.logits),
    ],
)
def test_outputs_of_every_kind(
    kind: type[Functional], logits: Callable[[Any], Tensor], picture: Image.Image
) -> None:
    torch.manual_seed(1)
    network = kind()
    model = wrap(network, to_64)
    explanation = explain(picture, model=model, target=2, guided=True)
    assert explanation.layer == "second"
    assert len(explanation.predictions) == 4
    expected = grad_cam_by_hand(
        network, "second", to_64(picture)[None], lambda output: logits(output)[0, 2]
    )
    assert agrees(explanation.raw, expected)
    assert explanation.gradient.shape == (64, 64, 3)
    assert explanation.gradient.any()


def test_one_channel_and_a_size_of_its_own(picture: Image.Image, tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = Functional(channels=1)
    model = wrap(network, lambda image: to_64(image).mean(0, keepdim=True))
    explanation = explain(picture, model=model, target=1, guided=True)
    pixels = to_64(picture).mean(0)[None, None]
    expected = grad_cam_by_hand(network, "second", pixels, lambda output: output[0, 1])
    assert agrees(explanation.raw, expected)
    assert explanation.box == (0, 0, 1, 1)
    assert explanation.gradient.shape == (64, 64, 3)
    explanation.save(tmp_path)

    grey = wrap(nn.Sequential(nn.Conv2d(1, 4, 7), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    assert grey.encode(picture).pixels.shape == (1, 1, 224, 224)
    with pytest.raises(ValueError, match=r"takes 4 channels.*preprocess"):
        wrap(nn.Conv2d(4, 4, 3))


def test_a_copy_leaves_the_network_as_it_is(picture: Image.Image) -> None:
    torch.manual_seed(0)
    network = Functional().half().train()
    network.out.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model = wrap(network, to_64)
    explain(picture, model=model, target=0, guided=True)
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (name != "out.weight")
        assert parameter.dtype == torch.float16
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])
    # As it was when it was wrapped.
    score = explain(picture, model=model, target=0).score
    nn.init.zeros_(network.out.weight)
    assert explain(picture, model=model, target=0).score == score

    itself = Functional().train()
    model = wrap(itself, to_64, copy=False)
    explain(picture, model=model, target=0, guided=True)
    assert all(module.training for module in itself.modules())
    assert not any(module._forward_hooks for module in itself.modules())
    assert all(parameter.requires_grad for parameter in itself.parameters())


def test_a_compiled_network_is_the_network(resnet: nn.Module, picture: Image.Image) -> None:
    with torch.no_grad():
        model = wrap(torch.compile(resnet), to_64)
    explanation = explain(picture, model=model, target=1, layer=resnet.layer3)
    assert explanation.layer == "layer3"
    assert explanation.score == pytest.approx(resnet(to_64(picture)[None])[0, 1].item(), abs=1e-5)


def test_a_network_in_data_parallelism_is_the_network(picture: Image.Image) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.Flatten(1)
    )
    parallel = nn.DataParallel(network)
    pixels = torch.randn(2, 3, 64, 64)
    expected = gradcam_core.attribute(network, pixels, [3, 4], layer="0")
    for layer in ("module.0", "0", parallel.module[0]):
        torch.testing.assert_close(
            gradcam_core.attribute(parallel, pixels, [3, 4], layer=layer), expected
        )
    assert wrap(parallel, to_64, layer="module.2").layers == wrap(network, to_64).layers


def test_quantized_networks_are_refused() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)).eval()
    layers(torch.zeros(1, 3, 64, 64))
    quantized = torch.ao.quantization.quantize_dynamic(layers, {nn.Linear}, dtype=torch.qint8)
    for refuse in (wrap, lambda each: gradcam_core.attribute(each, torch.zeros(1, 3, 64, 64))):
        with pytest.raises(ValueError, match="'3'"):
            refuse(quantized)
    # It is prepared for quantization, but not quantized.
    prepared = tv.quantization.resnet18(weights=None).eval()
    assert gradcam_core.attribute(prepared, torch.zeros(1, 3, 64, 64)).shape == (1, 2, 2)


def test_threads_share_a_model(resnet: nn.Module, picture: Image.Image) -> None:
    model = wrap(resnet, to_64)
    layers = ["layer4", "layer1", "layer3.1.conv2", "conv1"]
    expected = [explain(picture, model=model, target=1, layer=layer).raw for layer in layers]
    fresh = wrap(resnet, to_64)
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(
            lambda layer: explain(picture, model=fresh, target=1, layer=layer).raw, layers * 5
        )
        for raw, wanted in zip(found, expected * 5, strict=True):
            assert np.allclose(raw, wanted, rtol=0, atol=1e-5 * wanted.max())


def test_functions_of_the_output_as_targets(resnet: nn.Module, picture: Image.Image) -> None:
    embedding = nn.Sequential(*list(resnet.children())[:-1], nn.Flatten())
    model = wrap(embedding, to_64, layer=embedding[7])
    with torch.no_grad():
        reference = resnet.layer4(torch.randn(1, 256, 4, 4)).mean((2, 3))

    def similarity(output: Tensor) -> Tensor:
        return F.cosine_similarity(output, reference)

    explanation = explain(picture, model=model, target=similarity)
    expected = grad_cam_by_hand(embedding, "7", to_64(picture)[None], lambda o: similarity(o)[0])
    assert agrees(explanation.raw, expected)
    assert explanation.target == "similarity"
    assert explanation.probability is None
    assert explanation.score == pytest.approx(similarity(embedding(to_64(picture)[None])).item())
    assert "similarity" in str(explanation)
    both = explain(picture, model=model, target=lambda output: output[0, 0] - output[0, 1])
    assert both.target == "function of the output"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda output: output[0], r"one number.*shape \(5,\)"),
        (lambda output: output[0, 0].item(), "must return a tensor.*float"),
        (lambda output: None, "must return a tensor.*NoneType"),
        (lambda output: output[0, 0].detach(), "no gradient"),
        (lambda output: output.argmax(), "no gradient"),
        (lambda output: torch.ones((), requires_grad=True) * 2, "no gradient at the target layer"),
    ],
)
def test_unusable_functions_are_reported(
    function: Callable[[Tensor], Any], message: str, resnet: nn.Module, picture: Image.Image
) -> None:
    with pytest.raises(ValueError, match=message):
        explain(picture, model=wrap(resnet, to_64), target=function)


def test_functions_are_for_such_networks_only(picture: Image.Image) -> None:
    with pytest.raises(ValueError, match="wrap"):
        explain(picture, target=lambda output: output[0, 0])


def test_one_output_is_it_or_not_it(picture: Image.Image) -> None:
    torch.manual_seed(3)
    network = Functional(outputs=1)
    model = wrap(network, to_64, ["tabby cat"])
    logit = network(to_64(picture)[None]).item()
    it, other = (explain(picture, model=model, target=name) for name in ("tabby cat", 1))
    assert (it.target, other.target) == ("tabby cat", "not tabby cat")
    assert explain(picture, model=model, target="cat").target == "tabby cat"
    assert (it.score, other.score) == (pytest.approx(logit), pytest.approx(-logit))
    assert it.probability == pytest.approx(1 / (1 + np.exp(-logit)))
    assert it.probability + other.probability == pytest.approx(1)
    assert {best.text for best in it.predictions} == {"tabby cat", "not tabby cat"}
    assert np.allclose(it.raw, other.raw_counterfactual)
    assert np.allclose(other.raw, it.raw_counterfactual)
    assert explain(picture, model=model).probability > 0.5


def test_independent_outputs_have_a_sigmoid_each(resnet: nn.Module, picture: Image.Image) -> None:
    model = wrap(resnet, to_64, multi_label=True)
    logits = resnet(to_64(picture)[None])[0]
    found = {p.text: p.probability for p in explain(picture, model=model).predictions}
    for index, logit in enumerate(logits):
        assert found[f"class {index}"] == pytest.approx(logit.sigmoid().item(), abs=1e-5)


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Sigmoid()], ids=["softmax", "sigmoid"])
def test_probabilities_as_outputs_stay_what_they_are(
    last: nn.Module, resnet: nn.Module, picture: Image.Image
) -> None:
    model = wrap(nn.Sequential(resnet, last), to_64)
    explanation = explain(picture, model=model, target=2)
    expected = last(resnet(to_64(picture)[None]))[0]
    assert explanation.probability == pytest.approx(expected[2].item(), abs=1e-5)
    found = {p.text: p.probability for p in explanation.predictions}
    assert found["class 4"] == pytest.approx(expected[4].item(), abs=1e-5)


class Segmenter(nn.Module):
    """Asks for the size of its input at the end and has a second head, as torchvision's do."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=4)
        self.up = nn.Conv2d(8, 5, 1)
        self.second = nn.Conv2d(8, 5, 1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        x = self.down(pixels).relu()
        coarse = self.up(x)
        out = F.interpolate(coarse, size=pixels.shape[2:], mode="bilinear")
        return {"aux": self.second(x), "out": out}


def test_a_pixel_of_a_segmentation(picture: Image.Image) -> None:
    torch.manual_seed(4)
    network = Segmenter()
    model = wrap(network, to_64)
    for layer in ("down", "up"):
        explanation = explain(
            picture, model=model, target=lambda output: output["out"][0, 3, 20, 40], layer=layer
        )
        expected = grad_cam_by_hand(
            network, layer, to_64(picture)[None], lambda output: output["out"][0, 3, 20, 40]
        )
        assert agrees(explanation.raw, expected)
    assert explanation.predictions == []
    assert model.encode(picture).layer == "down"  # the scores themselves are no feature map
    for target in (None, "cat"):
        with pytest.raises(ValueError, match="returns no class scores"):
            explain(picture, model=model, target=target)
    with pytest.raises(ValueError, match="2 classes are named"):
        wrap(network, classes=["cat", "dog"])


def test_a_detectors_box(picture: Image.Image) -> None:
    torch.manual_seed(0)
    network = tv.detection.fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, min_size=64, max_size=64, box_score_thresh=0.0
    ).eval()

    def score(output: list[dict[str, Tensor]]) -> Tensor:
        return output[0]["scores"][0]

    model = wrap(network, to_64)
    with pytest.raises(ValueError, match=r"no last feature map.*Choose a layer"):
        explain(picture, model=model, target=score)
    # Not all depends on it: the pyramid has lateral ways.
    layer = "backbone.body.layer4"
    explanation = explain(picture, model=model, target=score, layer=layer)
    assert agrees(explanation.raw, grad_cam_by_hand(network, layer, to_64(picture)[None], score))
    assert explanation.target == "score"


class Tokens(nn.Module):
    """A vision transformer that cuts its patches without a convolution, read by a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Linear(3 * 16 * 16, 24)
        self.token = nn.Parameter(torch.randn(1, 1, 24))
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(24, 2, 48, batch_first=True) for _ in range(3))
        )
        self.out = nn.Linear(24, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.patches(F.unfold(pixels, 16, stride=16).transpose(1, 2))
        return self.out(self.blocks(torch.cat([self.token, tokens], 1))[:, 0])


def test_tokens_are_laid_out_as_a_map(picture: Image.Image) -> None:
    torch.manual_seed(0)
    network = Tokens().eval()

    def to_64_by_96(image: Image.Image) -> Tensor:
        return to_64(image).repeat(1, 1, 2)[:, :, :96]

    model = wrap(network, to_64_by_96, tokens=(4, 6))
    explanation = explain(picture, model=model, target=1)
    # The last block gives nothing but the class token a gradient.
    assert explanation.layer == "blocks.1"
    assert explanation.raw.shape == (4, 6)
    assert any("not convolutional" in remark for remark in explanation.remarks)

    tokens, score = hooked(network.blocks[1], lambda: network(to_64_by_96(picture)[None])[0, 1])
    (gradient,) = torch.autograd.grad(score, tokens)
    weights = gradient[0, 1:].mean(0)
    assert agrees(explanation.raw, (tokens[0, 1:] @ weights).relu().view(4, 6).detach())
    found = explain(picture, model=wrap(network, to_64_by_96), target=1)
    assert found.layer == explanation.layer
    assert np.array_equal(found.raw, explanation.raw)
    with pytest.raises(ValueError, match=r"blocks\.1"):  # another grid of as many tokens
        wrap(network, to_64_by_96, tokens=(3, 8), layer="blocks.1")


def test_what_cannot_be_wrapped_is_refused(picture: Image.Image) -> None:
    network = Functional()
    with pytest.raises(ValueError, match=r"cannot be run on an input of shape \(1, 3, 224, 224\)"):
        wrap(network)
    with pytest.raises(ValueError, match=r"must return a tensor.*\(64, 64\)"):
        wrap(network, lambda image: to_64(image)[0])
    with pytest.raises(ValueError, match=r"must return a tensor.*Image"):
        wrap(network, lambda image: image)
    with pytest.raises(ValueError, match=r"float32, not torch\.uint8"):
        wrap(network, lambda image: to_64(image).byte())
    with pytest.raises(ValueError, match="4 class scores, but 2 classes"):
        wrap(network, to_64, ["a", "b"])
    with pytest.raises(ValueError, match="for classification, not for vqa"):
        explain(picture, task="vqa", model=wrap(Functional(), to_64))
    with pytest.raises(ValueError, match="wrap"):
        explain(picture, model=network)
    for no_module in (to_64, torch.jit.trace(nn.ReLU(), torch.zeros(1))):
        with pytest.raises(ValueError, match=r"torch\.nn\.Module"):
            wrap(no_module)
    no_maps = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2))
    with pytest.raises(ValueError, match="none returns a feature map"):
        explain(picture, model=wrap(no_maps, to_64))


def test_every_method_takes_it(picture: Image.Image) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    model = wrap(network, to_64)
    known = gradcam_core.methods().items()
    methods = [name for name, method in known if method.why_not(model) is None]
    assert {"grad-cam", "cam", "c-mwp", "rise", "guided-grad-cam"} <= set(methods)
    for method in methods:
        explanation = explain(picture, model=model, target=1, method=method)
        assert explanation.raw.any() or explanation.raw_counterfactual.any()
    output = model.head_input(model.encode(picture))
    assert near(output.value, network(to_64(picture)[None]))


def test_its_parts_from_the_output_on(resnet: nn.Module) -> None:
    """What the sanity check randomises one after the other: everything, once."""
    model = wrap(nn.Sequential(resnet), to_64)
    assert isinstance(model, WrappedModel)
    names = list(model.parts())
    assert names[:3] == ["0.fc", "0.layer4.1", "0.layer4.0"]
    assert names[-1] == "0.conv1"
    inside = [parameter for part in model.parts().values() for parameter in part.parameters()]
    assert len(inside) == len(set(inside)) == len(list(resnet.parameters()))
