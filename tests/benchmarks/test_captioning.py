"""What the captioner's figures count as a thing, and as its name."""

import pytest

pytest.importorskip("pycocoevalcap")
from benchmarks.captioning import is_named, names, things


def test_the_longest_name_counts() -> None:
    assert things("A hot dog on a plate") == {"hot dog"}
    assert things("a dog and two teddy bears") == {"dog", "teddy bear"}
    assert things("men ride bikes past knives") == {"person", "bicycle", "knife"}
    assert things("a street in the snow") == set()


def test_a_thing_may_go_by_any_of_its_names() -> None:
    called = names(967)
    assert "espresso" in called
    assert is_named("a cup of coffee", called)
    assert is_named("two cups", called)
    assert not is_named("a cupboard", called)
    assert is_named("some butterflies", ["butterfly"])
    assert not is_named("a dog", called)
