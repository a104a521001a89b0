"""What is typed is what is meant: names, synonyms, everyday words, and suggestions."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import nn

import gradcam_core
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.classifiers import Classifier
from gradcam_core.models.labels import imagenet_classes


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
def test_an_everyday_word_means_the_likeliest_class_below_it(
    number: int, cat_file: Path, typed: str, allowed: Sequence[int]
) -> None:
    model = gradcam_core.load(f"lite{number}")
    encoded = model.encode(gradcam_core.open_image(cat_file))
    logits = model.logits(encoded.features, None)
    (found,) = model.target(typed, encoded=encoded).ids
    assert found in allowed
    assert logits[found] >= logits[list(allowed)].max()
    assert model.find(typed)[0] in allowed


def test_words_are_known_whatever_the_order_of_the_classes(lite0: Classifier) -> None:
    """A checkpoint of one's own may have some of ImageNet's classes, in any order."""
    names = [("flower pot",), *[imagenet_classes()[i] for i in (896, 208, 3, 134)]]
    model = Classifier("own", lite0.backbone, nn.Identity(), names)
    assert model.find("dog") == (2,)
    assert model.find("sink") == (1,)
    assert model.find("bird") == (4,)
    assert model.find("cat") == ()


def test_part_of_a_word_is_no_class_but_may_be_offered(lite0: Classifier, cat: Encoded) -> None:
    with pytest.raises(ValueError, match=r"no class 'hartebee'. The nearest: hartebeest"):
        lite0.target("hartebee")
    assert lite0.suggestions("hartebee") == ["hartebeest"]
    cats = {lite0.labels[i] for i in range(281, 294)}
    assert set(lite0.suggestions("cat", cat, k=13)) == cats


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("tree", "tree frog"),
        ("the grass", "green snake"),  # the grass snake
        ("river", "hippopotamus"),  # the river horse
        ("red", "red wine"),
        ("tennis", "tennis ball"),
    ],
)
def test_what_only_says_of_what_kind_a_class_is_does_not_mean_it(
    lite0: Classifier, typed: str, near: str
) -> None:
    assert lite0.find(typed) == ()
    with pytest.raises(gradcam_core.UnknownLabelError):
        lite0.target(typed)
    assert near in lite0.suggestions(typed, k=9)


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
def test_a_misspelt_word_is_offered_what_is_spelt_like_it(
    lite0: Classifier, typed: str, meant: str
) -> None:
    with pytest.raises(gradcam_core.UnknownLabelError) as raised:
        lite0.target(typed)
    assert meant in raised.value.near
    assert raised.value.said == f"There is no class '{typed}'."


def test_suggestions_rank_by_fit_then_by_the_picture(lite0: Classifier, cat: Encoded) -> None:
    assert lite0.suggestions("sink", cat) == ["washbasin"]
    assert lite0.suggestions("cup", cat)[0] == "cup"
    cats = lite0.suggestions("cat", cat, k=4)
    logits = lite0.logits(cat.features, None)
    by_picture = sorted(cats, key=lambda label: logits[lite0.labels.index(label)], reverse=True)
    assert cats == by_picture
    assert cats[0] == "Egyptian cat"
    assert lite0.suggestions("", cat, k=5) == [p.text for p in lite0.predict(cat)]
    assert "tabby" in lite0.suggestions("tab", cat)
    assert lite0.suggestions("black cat", cat, k=4) == cats


@pytest.mark.parametrize("typed", ["person", "People", "a woman", "man"])
def test_imagenet_knows_no_people(lite0: Classifier, cat: Encoded, typed: str) -> None:
    with pytest.raises(ValueError, match=r"people in general: '.*(groom|ballplayer|scuba diver)"):
        lite0.target(typed, encoded=cat)
    offered = lite0.suggestions(typed, cat, k=3)
    assert set(offered) == {"groom", "ballplayer", "scuba diver"}


def test_a_long_text_is_refused_before_it_is_compared(lite0: Classifier) -> None:
    for ask in (lite0.target, lite0.find, lite0.suggestions):
        with pytest.raises(ValueError, match=r"too long: 100,000 characters, at most 200"):
            ask("cats" * 25_000)


@pytest.mark.parametrize("typed", ["1000", "-1", "99999999999"])
def test_index_out_of_range(lite0: Classifier, typed: str) -> None:
    with pytest.raises(ValueError, match="0 to 999"):
        lite0.target(typed)


@pytest.mark.parametrize(("typed", "near"), [("boxr", "boxer"), ("tabbi", "tabby")])
def test_unknown_class_names_the_nearest(lite0: Classifier, typed: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf"no class '{typed}'.*{near}"):
        lite0.target(typed)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "The class is empty: "),
        ("   ", "The class is empty: "),
        ("?!", "'?!' has no word: "),
        ("🐶", "'🐶' has no word: "),
    ],
)
def test_no_word_no_class(lite0: Classifier, typed: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        lite0.target(typed)


def test_of_a_word_like_no_other_the_language_is_said(lite0: Classifier) -> None:
    with pytest.raises(gradcam_core.UnknownLabelError) as raised:
        lite0.target("Kerze")
    assert raised.value.said == "There is no class 'Kerze'. Names are in English."


def test_what_makes_no_sense_is_still_a_sentence(lite0: Classifier) -> None:
    for typed in ("zzzzzz", "日本語", "<b>x</b>", "--5", "q" * 200, "9" * 200):
        with pytest.raises(ValueError, match=re.escape("There is no class")):
            lite0.target(typed)
