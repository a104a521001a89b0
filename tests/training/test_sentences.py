"""Captions made for pictures without any contain what is known about them, and only that."""

import random
from collections import Counter

import pytest

from gradcam_core.models.embedded.caption_text import split_words
from gradcam_core.models.embedded.everyday import everyday_words
from training import sentences

NOWHERE = dict.fromkeys(sentences.signs(), -2.0)


def sentences_about(word: str, likely: dict[str, float]) -> list[str]:
    return [" ".join(words) for words in sentences.of_thing(word, likely, random.Random(0))]


def test_every_everyday_word_is_named_in_every_sentence() -> None:
    for word in everyday_words():
        for sentence in sentences_about(word, NOWHERE) + sentences_about(
            word, NOWHERE | {"grass": 3.0, "table": 2.0}
        ):
            assert f" {' '.join(split_words(word))} " in f" {sentence} "
            assert "{" not in sentence


def test_places_are_likely_and_fit_the_thing() -> None:
    assert any("grass" in s for s in sentences_about("toucan", NOWHERE | {"grass": 3.0}))
    assert not any("grass" in s for s in sentences_about("toucan", NOWHERE))
    # A shark may swim in the water, and not sit in a kitchen.
    assert not any("kitchen" in s for s in sentences_about("shark", NOWHERE | {"kitchen": 5.0}))
    assert any("water" in s for s in sentences_about("shark", NOWHERE | {"water": 3.0}))


def test_the_colour_of_the_pixels_comes_before_a_likely_one() -> None:
    assert any("red car" in s for s in sentences_about("car", NOWHERE | {"red": 3.0}))
    of_pixels = sentences.of_thing("car", NOWHERE | {"red": 3.0}, random.Random(0), "blue")
    assert any("blue car" in " ".join(words) for words in of_pixels)
    assert not any("red" in words for words in of_pixels)
    # A dog is not green, and what is in a bowl not of one colour.
    assert not any("green" in s for s in sentences_about("dog", NOWHERE | {"green": 3.0}))
    assert not any("red" in s.split() for s in sentences_about("soup", NOWHERE | {"red": 3.0}))


def test_people_are_mentioned_where_they_are_likely() -> None:
    assert any(
        "a woman" in s for s in sentences_about("violin", NOWHERE | {"woman": 3.0, "man": 1.0})
    )
    assert not any("man" in s.split() for s in sentences_about("violin", NOWHERE))


def test_surroundings_are_places_and_colours_of_a_kind() -> None:
    chosen = {sign for i in range(50) for sign in sentences.surroundings("shark", random.Random(i))}
    assert {"water", "ocean", "blue"} <= chosen <= set(sentences.signs())
    assert "kitchen" not in chosen


def test_patterns_have_known_places_and_colours() -> None:
    for kind in sentences.TABLES["kinds"].values():
        assert set(kind["places"]) <= sentences.TABLES["places"].keys()
        assert len(kind["alone"]) >= 2
        assert kind["colours"] in {"", *sentences.TABLES["tints"]}


def test_every_word_of_a_kind_is_an_everyday_word_and_has_one_kind() -> None:
    words = [
        word.replace("_", " ")
        for kind in sentences.TABLES["kinds"].values()
        for word in kind["words"].split()
    ]
    assert set(words) <= everyday_words().keys()
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("toucan", "a toucan"),
        ("elephant", "an elephant"),
        ("umbrella", "an umbrella"),
        ("unicycle", "a unicycle"),
        ("wine", "a glass of wine"),
        ("jeans", "a pair of jeans"),
        ("broccoli", "a pile of broccoli"),
        ("coral", "coral"),
        ("dress", "a dress"),
    ],
)
def test_articles(noun: str, expected: str) -> None:
    assert sentences.with_article(noun) == expected


def test_a_toilet_makes_a_bathroom() -> None:
    named = sentences.things_named(
        [("1.png", ("toilet",)), ("1.png", ("2",)), ("2.png", ("white",)), ("3.png", ("toilet",))]
    )
    assert named == {"1.png": Counter(["toilet"]), "3.png": Counter(["toilet"])}
    assert sentences.room(named["1.png"]) == "bathroom"
    many = {f"{i}.png": Counter(["toilet"]) for i in range(sentences.ROOM_THING)}
    rooms = sentences.of_rooms(many)
    assert ["a", "bathroom", "with", "a", "toilet"] in rooms["0.png"]
    assert not sentences.of_rooms(named)  # too rare to be learned
