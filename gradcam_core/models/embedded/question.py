"""A question about a picture, as the embedded answerers read it."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gradcam_core.models.labels import check_length

MAX_WORDS = 40
MAX_CHARACTERS = 1000
UNKNOWN = 0  # index that stands for every unknown word


class Question(NamedTuple):
    """A parsed question.

    Attributes:
        ids: (length,) int64, the indices of its words; `UNKNOWN` for an unknown one.
        unknown_words: The unknown words in order, each once.
    """

    ids: Tensor
    unknown_words: list[str]


def split_question(question: str | None) -> list[str]:
    """Split a question into the words that an answerer reads: lower case, no punctuation.

    Raises:
        ValueError: There is no question, or it has more than `MAX_WORDS` words or
            `MAX_CHARACTERS` characters.

    Examples:
        >>> split_question("What's this?")
        ['what', 'is', 'this']
    """
    check_length(question or "", "question", MAX_CHARACTERS)
    text = (question or "").casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words = re.findall(r"[^\W_]+", re.sub(r"'s\b", " is", text))
    if not words:
        raise ValueError("Ask a question about the picture, such as 'What animal is this?'.")
    if len(words) > MAX_WORDS:
        raise ValueError(
            f"The question has {len(words)} words; the model reads at most {MAX_WORDS}."
        )
    return words


def parse_question(question: str | None, indices: Mapping[str, int]) -> Question:
    """Parse a question.

    Args:
        question: In English.
        indices: The index of each known word.

    Raises:
        ValueError: See `split_question`.
    """
    words = split_question(question)
    ids = torch.tensor([indices.get(word, UNKNOWN) for word in words])
    return Question(ids, [word for word in dict.fromkeys(words) if word not in indices])
