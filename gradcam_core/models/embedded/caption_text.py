"""The words of captions: how a text is split into them, and written from them."""

import re
from collections.abc import Container, Sequence
from itertools import pairwise

# Beginnings of words that follow "an".
_VOWEL_SOUND = re.compile("(?!uni|use|euro|one)[aeiou]|hour")


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation.

    Examples:
        >>> split_words("A man's dog!")
        ['a', 'mans', 'dog']
    """
    return re.findall(r"[^\W_]+", text.lower().replace("'", "").replace("\u2019", ""))


def join_names(words: Sequence[str], names: Container[str]) -> list[str]:
    """Join neighbouring words that form a name of two words, from left to right.

    Examples:
        >>> join_names(["a", "hot", "dog"], {"hot dog"})
        ['a', 'hot dog']
    """
    joined: list[str] = []
    for word in words:
        if joined and f"{joined[-1]} {word}" in names:
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


def with_articles(words: Sequence[str]) -> list[str]:
    """Return the words with "a" or "an" as the next word requires.

    Examples:
        >>> with_articles(["a", "elephant"])
        ['an', 'elephant']
    """
    written = list(words)
    for i, (word, following) in enumerate(pairwise(words)):
        if word in {"a", "an"}:
            written[i] = "an" if _VOWEL_SOUND.match(following) else "a"
    return written
