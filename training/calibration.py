"""How far an answerer's probabilities can be believed, measured on dev pictures.

The temperature is the one number that logits are divided by so that answers given with a
probability of 0.7 are right 7 times in 10 (Guo et al., "On Calibration of Modern Neural Networks",
ICML 2017).
"""

import random
from pathlib import Path

import torch
from torch import Tensor

from training import lessons
from training.questions import Question

SEED = 0
MOST = 3000  # questions of a set
TEMPERATURES = [0.5 * 1.03**i for i in range(71)]  # up to 4


def dev_questions(data: Path) -> dict[str, tuple[str, list[Question]]]:
    """Label -> a set of pictures, and questions about those that no training has seen."""
    rng = random.Random(SEED)
    asked = {
        "people's, on COCO photos": ("coco", lessons.asked_by_people(data)),
        "COCO's boxes and captions": ("coco", lessons.coco_questions(data, "dev", rng)),
        "Flickr8k's captions": ("flickr8k", lessons.caption_questions(data, "dev", rng)),
        "DAQUAR": ("daquar", lessons.daquar_questions(data, "dev")),
        "pets": ("pets", lessons.pet_questions("dev", rng)),
        "places": ("scenes", lessons.scene_questions("dev", rng)),
        "things": ("imagenet", lessons.thing_questions(data, "dev", rng)),
    }
    return {
        label: (folder, rng.sample(items, min(MOST, len(items))))
        for label, (folder, items) in asked.items()
    }


def temperature(sets: list[tuple[Tensor, Tensor]]) -> float:
    """The temperature at which the right answers are likeliest, all sets counting alike.

    Args:
        sets: The logits (n, answers) of a set, and its right answers, (n, answers) bool.
    """
    return min(TEMPERATURES, key=lambda t: sum(_surprise(*item, t) for item in sets))


def _surprise(logits: Tensor, right: Tensor, temperature: float) -> float:
    log_probability = (logits / temperature).log_softmax(1)
    # What cannot be answered by any of the answers says nothing about the temperature.
    sayable = right.any(1)
    of_right = log_probability[sayable].masked_fill(~right[sayable], -torch.inf)
    return -of_right.logsumexp(1).mean().item()


def threshold(sets: list[tuple[Tensor, Tensor]]) -> float:
    """The probability below which an answer is more often wrong than right.

    Args:
        sets: The first answer's probability (n,) in a set, and whether it is right, (n,) bool.
    """
    said = torch.cat([probability for probability, _ in sets])
    gain = torch.cat([(right.float() * 2 - 1) / len(right) for _, right in sets])
    order = said.argsort(descending=True)
    kept = gain[order].cumsum(0)
    return said[order][kept.argmax()].item()
