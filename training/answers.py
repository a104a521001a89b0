"""The vocabulary of the answerers: words of questions, and answers by kind."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradcam_core.models.embedded.answerer import Vocabulary
from gradcam_core.models.embedded.everyday import synonyms
from gradcam_core.models.embedded.question import UNKNOWN, parse_question, split_question
from training import datasets
from training.questions import COLOURS, Question, ask

# An answer to people's questions without a picture is kept if this many have it.
ENOUGH = 4


@dataclass
class TrainingVocabulary:
    """Words of questions, and answers by kind, each with its index."""

    words: dict[str, int]
    groups: dict[str, list[str]]
    canonical_answers: dict[str, str]  # synonym or plural -> the answer
    temperature: float = 1.0
    unsure_below: float = 0.0

    def __post_init__(self) -> None:
        self.answers = {
            answer: i for i, answer in enumerate(a for group in self.groups.values() for a in group)
        }
        self.kinds = [i for i, group in enumerate(self.groups.values()) for _ in group]

    def encode(self, question: str) -> Tensor:
        """Return the indices (length,) int64 of a question's words; `UNKNOWN` for a new one."""
        return parse_question(question, self.words).ids

    def canonical(self, answer: str) -> str:
        """Return the answer that an answer counts as."""
        return self.canonical_answers.get(answer, answer)


def vocabulary(
    asked: Iterable[Question],
    people: Iterable[datasets.AnsweredQuestion],
    everyday: Sequence[str],
    rng: random.Random,
) -> TrainingVocabulary:
    """Collect every word and answer that occurs at least twice, and every everyday word.

    For people's questions without pictures, an answer must occur `ENOUGH` times. Synonyms and
    plurals of an answer count as that answer.
    """
    words, answers, without_picture = Counter(), Counter(), Counter()
    for item in asked:
        words.update(split_question(item.text))
        answers.update(item.answers)
    for item in people:
        words.update(split_question(item.question))
        without_picture.update(item.answers)
    for word in everyday:
        words.update(split_question(word) * 2)
        words.update(split_question(ask("number", rng, x=word)) * 2)
        answers[word] += 2
    known = {answer for answer, count in answers.items() if count > 1}
    same = {other: answer for answer in sorted(known) for other in synonyms(answer)}
    same |= {answer + "s": answer for answer in without_picture if answer + "s" in without_picture}
    same = {other: answer for other, answer in same.items() if other not in known}
    for answer, count in without_picture.items():
        answers[same.get(answer, answer)] += count
    known |= {answer for answer in answers if answers[answer] >= ENOUGH and answer not in same}
    groups: dict[str, list[str]] = {"yes/no": [], "number": [], "colour": [], "other": []}
    for answer in sorted(known):
        groups[kind_of(answer)].append(answer)
    kept = sorted(word for word, count in words.items() if count > 1)
    indices = {"<unknown>": UNKNOWN} | {word: i for i, word in enumerate(kept, 1)}
    return TrainingVocabulary(indices, groups, same)


_HUES = {shade for shades in COLOURS.values() for shade in shades} | {"gold", "maroon", "clear"}


def kind_of(answer: str) -> str:
    """Return the kind of an answer: "yes/no", "number", "colour" or "other"."""
    if answer in ("yes", "no"):
        return "yes/no"
    if answer.isdecimal():
        return "number"
    words = {*answer.split()} - {"and", "light", "dark"}
    return "colour" if words and words <= _HUES else "other"


def shares(answers: Sequence[Sequence[str]], words: TrainingVocabulary) -> Tensor:
    """Return target distributions (n, answers), uniform over each row's known answers.

    A row without a known answer is zero.
    """
    found = torch.zeros(len(answers), len(words.answers))
    for row, given in zip(found, answers, strict=True):
        for answer in given:
            if (known := words.canonical(answer)) in words.answers:
                row[words.answers[known]] = 1
    return found / found.sum(1, keepdim=True).clamp(min=1)


def training_vocabulary(known: Vocabulary, canonical_answers: dict[str, str]) -> TrainingVocabulary:
    """Return the vocabulary of a trained network for further training."""
    indices = {word: i for i, word in enumerate(known.words)}
    groups = {kind: list(answers) for kind, answers in known.answers.items()}
    return TrainingVocabulary(indices, groups, canonical_answers)
