"""Calibration of an answerer's probabilities, measured on dev pictures.

Logits are divided by the temperature, so that answers with a probability of 0.7 are right 7 times
in 10 (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
"""

import random
from pathlib import Path

import torch
from torch import Tensor

from training import question_sets
from training.questions import Question

SEED = 0
MOST = 3000  # questions per set
TEMPERATURES = [0.5 * 1.03**i for i in range(71)]  # up to 4


def dev_questions(data: Path) -> dict[str, tuple[str, list[Question]]]:
    """Return label -> a data set's folder, and questions about its dev pictures."""
    rng = random.Random(SEED)
    asked = {
        "people's, on COCO photos": ("coco", question_sets.people_coco_questions(data)),
        "COCO's boxes and captions": ("coco", question_sets.coco_questions(data, "dev", rng)),
        "Flickr8k's captions": ("flickr8k", question_sets.caption_questions(data, "dev", rng)),
        "DAQUAR": ("daquar", question_sets.daquar_questions(data, "dev")),
        "pets": ("pets", question_sets.pet_questions("dev", rng)),
        "places": ("scenes", question_sets.scene_questions("dev", rng)),
        "things": ("imagenet", question_sets.thing_questions(data, "dev", rng)),
    }
    return {
        label: (folder, rng.sample(items, min(MOST, len(items))))
        for label, (folder, items) in asked.items()
    }


def temperature(sets: list[tuple[Tensor, Tensor]]) -> float:
    """Return the temperature that maximizes the likelihood of right answers, averaged over sets.

    Args:
        sets: For each set the logits (n, answers), and which answers are right, (n, answers) bool.
    """
    return min(TEMPERATURES, key=lambda t: sum(_negative_log_likelihood(*item, t) for item in sets))


def _negative_log_likelihood(logits: Tensor, right: Tensor, temperature: float) -> float:
    log_probability = (logits / temperature).log_softmax(1)
    # Leave out questions with no right answer in the vocabulary.
    answerable = right.any(1)
    of_right = log_probability[answerable].masked_fill(~right[answerable], -torch.inf)
    return -of_right.logsumexp(1).mean().item()


def threshold(sets: list[tuple[Tensor, Tensor]]) -> float:
    """Return the probability below which an answer is more often wrong than right.

    Args:
        sets: For each set the best answers' probabilities (n,), and whether they are right, (n,)
            bool.
    """
    probabilities = torch.cat([probability for probability, _ in sets])
    gain = torch.cat([(right.float() * 2 - 1) / len(right) for _, right in sets])
    order = probabilities.argsort(descending=True)
    kept = gain[order].cumsum(0)
    return probabilities[order][kept.argmax()].item()
