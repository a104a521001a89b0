"""Which described pictures people's questions are asked of."""

from training.datasets import AnsweredQuestion
from training.described_pictures import MOST_PICTURES, likely_pictures

CAPTIONS = [
    *([["a", "dog", "runs"], ["some", "grass"]] for _ in range(60)),
    [["two", "toothbrushes", "in", "a", "glass"], ["a", "sink"]],
    [["a", "fire hydrant", "on", "a", "street"]],
]


def test_a_question_is_asked_of_what_may_show_it() -> None:
    asked = [
        AnsweredQuestion("", "How many toothbrushes are in the glass?", ("2",)),
        AnsweredQuestion("", "What color is the hydrant?", ("red",)),
        AnsweredQuestion("", "What is that?", ("toothbrushes",)),
    ]
    assert likely_pictures(asked, CAPTIONS) == [[60], [61], [60]]


def test_nothing_is_found_for_what_nobody_or_everybody_says() -> None:
    asked = [
        AnsweredQuestion("", "Is this a zebra?", ("yes",)),
        AnsweredQuestion("", "Is it a dog?", ("yes",)),
    ]
    assert likely_pictures(asked, CAPTIONS) == [[], []]


def test_what_is_denied_is_not_looked_for() -> None:
    asked = [AnsweredQuestion("", "Is there a hydrant?", (answer,)) for answer in ("yes", "no")]
    assert likely_pictures(asked, CAPTIONS) == [[61], []]


def test_there_are_at_most_so_many() -> None:
    captions = [[["toothbrush", "glass", "sink"]]] * 20 + [[["dog"]]] * 500
    (found,) = likely_pictures([AnsweredQuestion("", "toothbrush glass sink?", ("yes",))], captions)
    assert len(found) == MOST_PICTURES
    assert max(found) < 20
