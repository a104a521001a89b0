"""The temperature calibrates probabilities; below the threshold an answer is a guess."""

import pytest
import torch

from training.calibration import temperature, threshold


@pytest.mark.parametrize("sharpened", [0.7, 1.0, 2.0])
def test_temperature_undoes_a_scaling_of_the_logits(sharpened: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(4000, 5) * 2
    chosen = torch.multinomial(logits.softmax(1), 1)[:, 0]
    right = torch.nn.functional.one_hot(chosen, 5).bool()
    assert temperature([(logits * sharpened, right)]) == pytest.approx(sharpened, rel=0.06)


def test_temperature_gives_all_sets_the_same_weight() -> None:
    torch.manual_seed(0)
    sets = []
    for size, sharpened in ((8000, 1.0), (2000, 3.0)):
        logits = torch.randn(size, 5) * 2
        chosen = torch.multinomial(logits.softmax(1), 1)[:, 0]
        sets.append((logits * sharpened, torch.nn.functional.one_hot(chosen, 5).bool()))
    large, small = (temperature([item]) for item in sets)
    assert large < 1.7 < temperature(sets) < small  # of all questions together it would be 1.4


def test_questions_without_a_known_right_answer_do_not_count() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2000, 5) * 2
    right = torch.nn.functional.one_hot(torch.multinomial(logits.softmax(1), 1)[:, 0], 5).bool()
    unknown = torch.randn(500, 5) * 9
    more = torch.cat([logits, unknown]), torch.cat([right, torch.zeros(500, 5, dtype=bool)])
    assert temperature([more]) == temperature([(logits, right)])


def test_threshold_separates_mostly_right_from_mostly_wrong() -> None:
    torch.manual_seed(0)
    probability = torch.rand(20000)
    right = torch.rand(20000) < probability**2  # half are right at the root of a half
    assert threshold([(probability, right)]) == pytest.approx(0.5**0.5, abs=0.03)
