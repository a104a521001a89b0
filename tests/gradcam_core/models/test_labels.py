"""Finding a class by name, synonym or everyday word, and suggestions."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import nn

import gradcam_core
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.base import LabelHead
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.labels import imagenet_classes


@pytest.fixture(scope="module")
def head(lite0: Classifier, cat: Encoded) -> LabelHead:
    return lite0.bind(cat)


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
        ("golfball", "golf ball"),
        ("the hartebeests", "hartebeest"),
        ("washer", "washer"),
        ("sink", "washbasin"),
        ("sofa", "studio couch"),
        ("pizzas", "pizza"),
        ("crane (bird)", "crane (bird)"),
        ("chicken", "prairie chicken"),
        ("0", "tench"),
        ("999", "toilet tissue"),
    ],
)
def test_a_typed_name_finds_its_class(head: LabelHead, typed: str, shown: str) -> None:
    assert head.target(typed).text == shown


def test_every_shown_name_and_index_means_its_own_class(head: LabelHead) -> None:
    labels = head.model.labels
    assert len(set(labels)) == 1000
    for index, label in enumerate(labels):
        assert head.target(label).ids == (index,)
        assert head.target(str(index)).ids == head.target(index).ids == (index,)


def test_the_most_likely_of_several_classes_is_meant(lite0: Classifier, head: LabelHead) -> None:
    cats = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat", "Madagascar cat"}
    assert head.target("cat").text == "Egyptian cat"
    assert cats <= {lite0.labels[i] for i in lite0.find("cat")} | {"Madagascar cat"}


@pytest.mark.parametrize(
    ("typed", "allowed"),
    [
        ("cat", range(281, 294)),
        ("kitten", range(281, 286)),
        ("dog", [*range(151, 269), *range(273, 276)]),
        ("Puppies", [*range(151, 269), *range(273, 276)]),
        ("bird", [*range(7, 25), *range(80, 101), *range(127, 147)]),
        ("wolves", range(269, 273)),
        ("animal", range(398)),
        ("car", [407, 436, 468, 511, 609, 627, 656, 661, 705, 751, 817, 475, 479, 565]),
        ("fruit", [*range(948, 958), 984, *range(987, 991), 998]),
        ("clock", [409, 530, 892]),
        ("food", range(922, 970)),
    ],
)
@pytest.mark.parametrize("number", [0, 2])
def test_an_everyday_word_means_the_most_likely_class_below_it(
    number: int, cat_file: Path, typed: str, allowed: Sequence[int]
) -> None:
    model = gradcam_core.load(f"lite{number}")
    head = model.bind(model.encode(gradcam_core.open_image(cat_file)))
    (found,) = head.target(typed).ids
    assert found in allowed
    assert head.logits[found] >= head.logits[list(allowed)].max()
    assert model.find(typed)[0] in allowed


def test_words_are_known_for_some_imagenet_classes_in_any_order(lite0: Classifier) -> None:
    names = [("flower pot",), *[imagenet_classes()[i] for i in (896, 208, 3, 134)]]
    model = Classifier("own", lite0.backbone, nn.Identity(), names)
    assert model.find("dog") == (2,)
    assert model.find("sink") == (1,)
    assert model.find("bird") == (4,)
    assert model.find("cat") == ()


def test_part_of_a_word_is_not_a_class_but_is_suggested(lite0: Classifier, head: LabelHead) -> None:
    with pytest.raises(gradcam_core.UnknownLabelError) as raised:
        head.target("hartebee")
    assert raised.value.suggestions == head.suggestions("hartebee") == ["hartebeest"]
    cats = {lite0.labels[i] for i in range(281, 294)}
    assert set(head.suggestions("cat", k=13)) == cats


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("tree", "tree frog"),
        ("the grass", "green snake"),  # the grass snake
        ("river", "hippopotamus"),  # the river horse
        ("red", "red wine"),
        ("tennis", "tennis ball"),
    ],
)
def test_a_modifier_alone_does_not_mean_a_class(
    lite0: Classifier, head: LabelHead, typed: str, suggested: str
) -> None:
    assert lite0.find(typed) == ()
    with pytest.raises(gradcam_core.UnknownLabelError):
        head.target(typed)
    assert suggested in head.suggestions(typed, k=9)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("spyder", "barn spider"),
        ("elefant", "African elephant"),
        ("labradoor", "Labrador retriever"),
        ("a guittar", "acoustic guitar"),
        ("rabit", "hare"),
    ],
)
def test_suggestions_for_a_misspelt_word_have_a_similar_spelling(
    head: LabelHead, typed: str, meant: str
) -> None:
    with pytest.raises(gradcam_core.UnknownLabelError, match=typed) as raised:
        head.target(typed)
    assert meant in raised.value.suggestions
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (copy.message, copy.suggestions) == (raised.value.message, raised.value.suggestions)


def test_suggestions_rank_by_match_then_by_the_picture(lite0: Classifier, head: LabelHead) -> None:
    assert head.suggestions("sink") == ["washbasin"]
    assert head.suggestions("cup")[0] == "cup"
    cats = head.suggestions("cat", k=4)
    by_picture = sorted(
        cats, key=lambda label: head.logits[lite0.labels.index(label)], reverse=True
    )
    assert cats == by_picture
    assert cats[0] == "Egyptian cat"
    assert head.suggestions("", k=5) == [p.text for p in head.predictions()]
    assert "tabby" in head.suggestions("tab")
    assert head.suggestions("black cat", k=4) == cats


@pytest.mark.parametrize("typed", ["person", "People", "a woman", "man"])
def test_imagenet_has_no_class_for_people(head: LabelHead, typed: str) -> None:
    people = {"groom", "ballplayer", "scuba diver"}
    with pytest.raises(gradcam_core.UnknownLabelError) as raised:
        head.target(typed)
    assert people <= set(raised.value.suggestions)
    assert set(head.suggestions(typed, k=3)) == people


def test_a_long_text_is_refused_before_it_is_compared(lite0: Classifier, head: LabelHead) -> None:
    for function in (head.target, lite0.find, head.suggestions):
        with pytest.raises(ValueError, match=r"100,000 .* 200"):
            function("cats" * 25_000)


@pytest.mark.parametrize("typed", ["1000", "-1", "99999999999", 1000, -1])
def test_index_out_of_range(head: LabelHead, typed: str | int) -> None:
    with pytest.raises(ValueError, match="0 to 999"):
        head.target(typed)


@pytest.mark.parametrize(("typed", "suggested"), [("boxr", "boxer"), ("tabbi", "tabby")])
def test_the_message_names_close_matches(head: LabelHead, typed: str, suggested: str) -> None:
    with pytest.raises(ValueError, match=rf"'{typed}'.*{suggested}"):
        head.target(typed)


@pytest.mark.parametrize("typed", ["", "   ", "?!", "🐶"])
def test_a_text_without_words_is_refused(head: LabelHead, typed: str) -> None:
    with pytest.raises(ValueError) as raised:
        head.target(typed)
    assert not isinstance(raised.value, gradcam_core.UnknownLabelError)


def test_without_a_close_match_the_message_says_that_names_are_english(head: LabelHead) -> None:
    with pytest.raises(gradcam_core.UnknownLabelError, match="English") as raised:
        head.target("Kerze")
    assert raised.value.suggestions == []


def test_nonsense_is_an_unknown_label(head: LabelHead) -> None:
    for typed in ("zzzzzz", "日本語", "<b>x</b>", "--5", "q" * 200, "9" * 200):
        with pytest.raises(gradcam_core.UnknownLabelError):
            head.target(typed)
