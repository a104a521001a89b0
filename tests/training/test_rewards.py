"""The reward of self-critical training equals CIDEr-D."""

import pytest

from gradcam_core.models.embedded.caption_text import split_words
from training.rewards import Consensus

cider = pytest.importorskip("pycocoevalcap.cider.cider")

PEOPLE = [
    ["a dog runs through the grass", "a brown dog is running in a field"],
    ["two men play a game", "men playing football on grass", "a game of football"],
    ["a cup of coffee on a table", "coffee in a white cup"],
]
SAID = ["a dog is running through the grass grass", "two dogs", "a white cup of coffee on a table"]


def test_the_reward_is_cider_d() -> None:
    reward = Consensus([[split_words(text) for text in group] for group in PEOPLE])
    _, expected = cider.Cider().compute_score(
        dict(enumerate(PEOPLE)), {i: [text] for i, text in enumerate(SAID)}
    )
    found = [reward(split_words(text), i) for i, text in enumerate(SAID)]
    assert found == pytest.approx(expected.tolist(), abs=1e-6)
    assert found[0] > 0 < found[2]
