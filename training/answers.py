"""The words of questions and the answers that a head knows, by kind."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradcam_core.models.embedded.answerer import Vocabulary as NetworkVocabulary
from gradcam_core.models.embedded.everyday import synonyms
from gradcam_core.models.embedded.question import UNKNOWN, split_question
from training import datasets
from training.questions import COLOURS, Question, ask

ENOUGH = 4  # so many people's questions without a picture must have an answer


@dataclass
class Vocabulary:
    """Words of questions, and answers by kind, each with its index."""

    words: dict[str, int]
    groups: dict[str, list[str]]
    same: dict[str, str]  # other words for answers
    temperature: float = 1.0
    unsure_below: float = 0.0

    def __post_init__(self) -> None:
        self.answers = {
            answer: i for i, answer in enumerate(a for group in self.groups.values() for a in group)
        }
        self.kinds = [i for i, group in enumerate(self.groups.values()) for _ in group]

    def encode(self, question: str) -> Tensor:
        """Indices (length,) int64 of a question's words; `UNKNOWN` for a new one."""
        return torch.tensor([self.words.get(word, UNKNOWN) for word in split_question(question)])

    def canonical(self, answer: str) -> str:
        """The answer that stands for this one, too."""
        return self.same.get(answer, answer)


def vocabulary(
    asked: Iterable[Question],
    people: Iterable[datasets.Asked],
    everyday: Sequence[str],
    rng: random.Random,
) -> Vocabulary:
    """Every word and every answer that comes at least twice, and every everyday word.

    Of people's answers to questions without pictures, those that `ENOUGH` gave; another word for
    an answer, or its plural, counts as the answer.
    """
    words, answers, without = Counter(), Counter(), Counter()
    for item in asked:
        words.update(split_question(item.text))
        answers.update(item.answers)
    for item in people:
        words.update(split_question(item.question))
        without.update(item.answers)
    for word in everyday:
        words.update(split_question(word) * 2)
        words.update(split_question(ask("number", rng, x=word)) * 2)
        answers[word] += 2
    known = {answer for answer, count in answers.items() if count > 1}
    same = {other: answer for answer in sorted(known) for other in synonyms(answer)}
    same |= {answer + "s": answer for answer in without if answer + "s" in without}
    same = {other: answer for other, answer in same.items() if other not in known}
    for answer, count in without.items():
        answers[same.get(answer, answer)] += count
    known |= {answer for answer in answers if answers[answer] >= ENOUGH and answer not in same}
    groups: dict[str, list[str]] = {"yes/no": [], "number": [], "colour": [], "other": []}
    for answer in sorted(known):
        groups[kind_of(answer)].append(answer)
    kept = sorted(word for word, count in words.items() if count > 1)
    indices = {"<unknown>": UNKNOWN} | {word: i for i, word in enumerate(kept, 1)}
    return Vocabulary(indices, groups, same)


_HUES = {shade for shades in COLOURS.values() for shade in shades} | {"gold", "maroon", "clear"}


def kind_of(answer: str) -> str:
    """Which of the head's kinds an answer is."""
    if answer in ("yes", "no"):
        return "yes/no"
    if answer.isdecimal():
        return "number"
    words = {*answer.split()} - {"and", "light", "dark"}
    return "colour" if words and words <= _HUES else "other"


def shares(answers: Sequence[Sequence[str]], words: Vocabulary) -> Tensor:
    """The share of each answer, (n, answers), all alike; zeros where none is known."""
    found = torch.zeros(len(answers), len(words.answers))
    for i, said in enumerate(answers):
        for answer in said:
            if (known := words.canonical(answer)) in words.answers:
                found[i, words.answers[known]] = 1
    return found / found.sum(1, keepdim=True).clamp(min=1)


def known_words(known: NetworkVocabulary, same: dict[str, str]) -> Vocabulary:
    """The words and answers that a head has; `same` are other words for answers."""
    indices = {word: i for i, word in enumerate(known.words)}
    groups = {kind: list(answers) for kind, answers in known.answers.items()}
    return Vocabulary(indices, groups, same)
