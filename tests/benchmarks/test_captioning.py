"""The words that the captioning benchmark counts as an object or its name."""

import pytest

pytest.importorskip("pycocoevalcap")
from benchmarks.captioning import is_named, names, things


def test_the_longest_name_counts() -> None:
    assert things("A hot dog on a plate") == {"hot dog"}
    assert things("a dog and two teddy bears") == {"dog", "teddy bear"}
    assert things("men ride bikes past knives") == {"person", "bicycle", "knife"}
    assert things("a street in the snow") == set()


def test_any_name_of_an_object_counts() -> None:
    accepted = names(967)
    assert "espresso" in accepted
    assert is_named("a cup of coffee", accepted)
    assert is_named("two cups", accepted)
    assert not is_named("a cupboard", accepted)
    assert is_named("some butterflies", ["butterfly"])
    assert not is_named("a dog", accepted)
