"""Which described pictures people's questions are asked of."""

from training.datasets import Asked
from training.unseen import NEAR, shown_in

CAPTIONS = [
    *([["a", "dog", "runs"], ["some", "grass"]] for _ in range(60)),
    [["two", "toothbrushes", "in", "a", "glass"], ["a", "sink"]],
    [["a", "fire hydrant", "on", "a", "street"]],
]


def test_a_question_is_asked_of_what_may_show_it() -> None:
    asked = [
        Asked("", "How many toothbrushes are in the glass?", ("2",)),
        Asked("", "What color is the hydrant?", ("red",)),
        Asked("", "What is that?", ("toothbrushes",)),
    ]
    assert shown_in(asked, CAPTIONS) == [[60], [61], [60]]


def test_nothing_is_found_for_what_nobody_or_everybody_says() -> None:
    asked = [Asked("", "Is this a zebra?", ("yes",)), Asked("", "Is it a dog?", ("yes",))]
    assert shown_in(asked, CAPTIONS) == [[], []]


def test_what_is_denied_is_not_looked_for() -> None:
    asked = [Asked("", "Is there a hydrant?", (answer,)) for answer in ("yes", "no")]
    assert shown_in(asked, CAPTIONS) == [[61], []]


def test_there_are_at_most_so_many() -> None:
    captions = [[["toothbrush", "glass", "sink"]]] * 20 + [[["dog"]]] * 500
    (found,) = shown_in([Asked("", "toothbrush glass sink?", ("yes",))], captions)
    assert len(found) == NEAR
    assert max(found) < 20
