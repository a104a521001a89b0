"""Question sets have no dev picture for training, and "yes" as often as "no"."""

import random
from collections import Counter
from pathlib import Path

import pytest

from training import datasets, question_sets
from training.answers import TrainingVocabulary, kind_of, shares, vocabulary

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not here")


def test_boxes_become_balanced_questions() -> None:
    boxes = {
        "1": [datasets.Box("dog", 0, 0, 1, 1)] * 2,
        "2": [datasets.Box("cup", 0, 0, 1, 1)],
        "3": [datasets.Box("cup", 0, 0, 1, 1), datasets.Box("dog", 0, 0, 1, 1)],
    }
    asked = question_sets.box_questions(boxes, random.Random(0))
    of_dogs = [item for item in asked if item.kind == "yes/no" and "dog" in item.text]
    assert Counter(item.answers for item in of_dogs if item.picture == "2") == {("no",): 1}
    assert {item.answers for item in of_dogs if item.picture != "2"} == {("yes",)}
    counted = {
        (item.picture, item.answers[0])
        for item in asked
        if item.kind == "number" and "dog" in item.text
    }
    assert counted == {("1", "2"), ("3", "1")}
    animals = [item for item in asked if item.kind == "object"]
    assert {item.picture for item in animals} == {"1", "3"}
    assert {item.answers for item in animals} == {("dog",)}


def test_questions_about_a_thing_in_captions() -> None:
    captions = {
        "0": ["Three zebras stand.", "three zebras", "Three zebras graze", "some zebras", "grass"],
        "1": ["A red fire hydrant.", "a red fire hydrant", "something red", "street", "A dog"],
        "2": ["A dog.", "one zebra there", "grass", "grass", "grass"],
    }
    rng = random.Random(0)
    asked = question_sets.thing_questions_from_captions("zebra", captions, rng)
    assert [(item.picture, item.answers) for item in asked if item.kind == "yes/no"] == [
        ("0", ("yes",)),
        ("1", ("no",)),  # of the third picture one of five says so: neither yes nor no
    ]
    assert {item.answers for item in asked if item.kind == "number"} == {("3",)}
    assert {item.answers for item in asked if item.kind == "object"} == {("zebra",)}
    asked = question_sets.thing_questions_from_captions("fire hydrant", captions, rng)
    assert {item.answers for item in asked if item.kind == "colour"} == {("red",)}
    assert {item.picture for item in asked if item.answers == ("no",)} < {"0", "2"}


@needs_data
@pytest.mark.slow
def test_no_dev_picture_is_used_for_training() -> None:
    rng = random.Random(0)
    for name, make in {
        "captions": lambda split: question_sets.caption_questions(DATA, split, rng),
        "coco": lambda split: question_sets.coco_questions(DATA, split, rng),
        "pets": lambda split: question_sets.pet_questions(split, rng),
        "scenes": lambda split: question_sets.scene_questions(split, rng),
        "rooms": lambda split: question_sets.room_questions(DATA, split, rng),
    }.items():
        train, dev = ({item.picture for item in make(split)} for split in ("train", "dev"))
        assert train, name
        assert dev, name
        assert not train & dev, name
    people = {item.picture for item in question_sets.people_coco_questions(DATA)}
    assert not people & {item.picture for item in question_sets.coco_questions(DATA, "train", rng)}


@needs_data
def test_scenes_are_outdoors_and_rooms_indoors() -> None:
    rng = random.Random(0)
    asked = question_sets.scene_questions("train", rng) + question_sets.room_questions(
        DATA, "train", rng
    )
    answers = {
        (item.picture.startswith("image"), item.answers)
        for item in asked
        if item.text in ("is this indoors or outdoors", "was this picture taken outside")
    }
    assert answers == {
        (True, ("indoors",)),
        (True, ("no",)),
        (False, ("outdoors",)),
        (False, ("yes",)),
    }


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("yes", "yes/no"),
        ("12", "number"),
        ("red and white", "colour"),
        ("light blue", "colour"),
        ("light", "other"),
        ("10:30", "other"),
        ("grey cat", "other"),
    ],
)
def test_kinds_of_answers(answer: str, kind: str) -> None:
    assert kind_of(answer) == kind


@pytest.fixture
def words() -> TrainingVocabulary:
    asked = [
        question_sets.Question("1", "", f"what is it {word}", ("dog", "bicycle")) for word in "ab"
    ]
    people = [
        datasets.AnsweredQuestion("", "Where?", (answer,), 9)
        for answer in ["bike", "dogs", "kites"] * 2
    ]
    people += [datasets.AnsweredQuestion("", "Where?", ("kite",), 9)] * 2
    people += [
        datasets.AnsweredQuestion("", "Where?", ("yes",), 9),
        datasets.AnsweredQuestion("", "Where?", ("rare",), 9),
    ]
    return vocabulary(asked, people, ["cup"], random.Random(0))


def test_synonyms_and_plurals_count_as_the_answer(words: TrainingVocabulary) -> None:
    assert words.groups["other"] == ["bicycle", "cup", "dog", "kite"]
    assert [words.canonical(word) for word in ("bike", "dogs", "kites")] == [
        "bicycle",
        "dog",
        "kite",
    ]


def test_several_right_answers_share_the_target(words: TrainingVocabulary) -> None:
    found = shares([("dogs", "cup"), ("rare",)], words)
    assert found.sum(1).tolist() == [1, 0]
    assert found[0, words.answers["dog"]] == found[0, words.answers["cup"]] == 0.5
