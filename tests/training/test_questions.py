"""Questions from captions: answers are in at least two; "no" is for what no caption has."""

import os
import random
import subprocess
import sys
from collections import Counter

import pytest

from training.questions import KINDS, TEMPLATES, Question, ask, questions, yes_no

PICTURE = "1.jpg"
TWO_DOGS = (
    "Two brown dogs are running through the snow .",
    "Two dogs run in the snow , one with a red ball .",
    "A brown dog and a white dog run .",
)


def made(*captions: str, seed: int = 0) -> list[Question]:
    return questions(PICTURE, captions, random.Random(seed))


def answers(asked: list[Question], kind: str) -> set[tuple[str, ...]]:
    return {item.answers for item in asked if item.kind == kind}


def test_answers_are_in_at_least_two_captions() -> None:
    asked = made(*TWO_DOGS)
    assert answers(asked, "object") == {("dog",)}
    assert answers(asked, "action") == {("running",)}
    assert answers(asked, "place") == {("snow",)}
    assert {item.picture for item in asked} == {PICTURE}


def test_a_single_caption_is_not_enough() -> None:
    assert made("A boy holds a red ball .") == []
    colours = answers(made(*TWO_DOGS), "colour")
    assert colours == {("brown",)}  # the one white dog, the one red ball


def test_conflicting_counts_give_no_question() -> None:
    assert answers(made("Two dogs .", "Two dogs play .", "The dogs run ."), "number") == {("2",)}
    assert not answers(made("Two dogs .", "Two dogs play .", "Three dogs ."), "number")


def test_a_question_may_have_several_right_answers() -> None:
    asked = made("A boy and a man sit .", "A man and a boy .")
    assert ("boy", "man") in answers(asked, "object")


def test_questions_about_things_worn_held_or_in_the_mouth() -> None:
    asked = made("A man wearing a hat .", "A man wears a hat .", "A dog barks .")
    wears = [item for item in asked if "wear" in item.text]
    assert wears and all(item.answers == ("hat",) for item in wears)
    asked = made("A dog with a stick in its mouth .", "A dog carries a stick .")
    assert [item.answers for item in asked if "mouth" in item.text] == [("stick",)]


def presence(captions: dict[str, list[str]]) -> dict[str, list[Question]]:
    """Return the yes/no questions about each picture."""
    found = yes_no(captions, random.Random(0))
    return {name: [item for item in found if item.picture == name] for name in captions}


def test_yes_is_as_frequent_as_no_for_every_word() -> None:
    captions = {
        "dog": ["A dog runs .", "The dog runs on grass ."],
        "cat": ["A cat sleeps on a bed .", "The cat on the bed ."],
        "cats": ["Two cats sleep .", "The cats sleep ."],
    }
    found = yes_no(captions, random.Random(0), each=5)
    assert found
    counts = Counter(item.answers for item in found)
    assert counts["yes",] == counts["no",]
    assert {item.kind for item in found} == {"yes/no"}


def test_no_needs_that_no_caption_has_the_word_a_hint_or_a_hypernym() -> None:
    captions = {
        "helmet": ["A man in a helmet .", "The man wears a helmet ."],
        "biker": ["A biker rides .", "Somebody on a bike ."],  # hints at a helmet
        "boy": ["A boy sits .", "The boy sits ."],  # a kind of child
        "child": ["A child sits .", "The child sits ."],
    }
    of = presence(captions)
    denied = [item.text for item in of["biker"] if item.answers == ("no",)]
    assert not any("helmet" in text for text in denied)
    denied = [item.text for item in of["boy"] if item.answers == ("no",)]
    assert not any("child" in text for text in denied)


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_is_filled_in(template: str) -> None:
    rng = random.Random(0)
    for _ in range(20):
        text = ask(template, rng, s="dog", v="holding", x="sheep", y="apple")
        assert text == text.lower()
        assert not set("{}?") & set(text)


def test_articles_and_plurals() -> None:
    texts = {ask("number", random.Random(i), x="child") for i in range(30)}
    assert any("children" in text for text in texts)
    assert not any("childs" in text for text in texts)
    texts = {ask("presence", random.Random(i), x="umbrella") for i in range(30)}
    assert any("an umbrella" in text for text in texts)
    assert not any("a umbrella" in text for text in texts)


def test_a_seed_gives_the_same_questions_in_every_process() -> None:
    colours = ["A brown dog in the green grass with a red ball near a blue car ."] * 2
    code = (
        "import random; from training.questions import questions, yes_no; "
        f"captions = {colours!r}; rng = random.Random(0); "
        "print(questions('1', captions, rng), yes_no({'1': captions, '2': ['A cat .'] * 2}, rng))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in range(4)
    }
    assert len(outputs) == 1


def test_kinds_are_the_known_ones() -> None:
    asked = made(*TWO_DOGS) + yes_no({"1": TWO_DOGS, "2": ["A cat ."] * 2}, random.Random(0))
    assert {item.kind for item in asked} <= {*KINDS}
