"""Which described pictures may show what a question is about."""

from training.datasets import AnsweredQuestion
from training.described_pictures import MOST_PICTURES, likely_pictures

CAPTIONS = [
    *([["a", "dog", "runs"], ["some", "grass"]] for _ in range(60)),
    [["two", "toothbrushes", "in", "a", "glass"], ["a", "sink"]],
    [["a", "fire hydrant", "on", "a", "street"]],
]


def test_questions_find_pictures_that_may_show_their_subject() -> None:
    asked = [
        AnsweredQuestion("", "How many toothbrushes are in the glass?", ("2",)),
        AnsweredQuestion("", "What color is the hydrant?", ("red",)),
        AnsweredQuestion("", "What is that?", ("toothbrushes",)),
    ]
    assert likely_pictures(asked, CAPTIONS) == [[60], [61], [60]]


def test_unknown_and_common_words_find_nothing() -> None:
    asked = [
        AnsweredQuestion("", "Is this a zebra?", ("yes",)),
        AnsweredQuestion("", "Is it a dog?", ("yes",)),
    ]
    assert likely_pictures(asked, CAPTIONS) == [[], []]


def test_the_subject_of_a_no_is_ignored() -> None:
    asked = [AnsweredQuestion("", "Is there a hydrant?", (answer,)) for answer in ("yes", "no")]
    assert likely_pictures(asked, CAPTIONS) == [[61], []]


def test_the_number_of_pictures_is_limited() -> None:
    captions = [[["toothbrush", "glass", "sink"]]] * 20 + [[["dog"]]] * 500
    (found,) = likely_pictures([AnsweredQuestion("", "toothbrush glass sink?", ("yes",))], captions)
    assert len(found) == MOST_PICTURES
    assert max(found) < 20
