"""Everyday words for the classes of ImageNet, and other words for the same thing."""

import json

from gradcam_core.models.embedded import WEIGHTS
from gradcam_core.models.labels import indices

_SYNONYMS = (
    ("gray", "grey"),
    ("sofa", "couch"),
    ("bicycle", "bike", "cycle"),
    ("motorcycle", "motorbike"),
    ("television", "tv"),
    ("refridgerator", "refrigerator", "fridge"),
    ("phone", "telephone", "mobile"),
    ("plane", "airplane", "aeroplane"),
    ("person", "people", "human"),
    ("child", "children", "kid"),
    ("man", "men", "guy"),
    ("woman", "women", "lady"),
    *zip(
        "0123456789",
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
        strict=True,
    ),
)


def everyday_words() -> dict[str, list[int]]:
    """Return each everyday word with its ImageNet classes; every class has exactly one word.

    Examples:
        >>> everyday_words()["toucan"]
        [96]
    """
    table = json.loads((WEIGHTS / "lite0-vqa-everyday.json").read_text(encoding="utf-8"))
    return {word: indices(ranges) for word, ranges in table.items()}


def synonyms(word: str) -> list[str]:
    """Return other words for `word`, its plural forms, and the singular of a plural.

    Examples:
        >>> synonyms("sofa")
        ['couch', 'sofas', 'sofaes']
    """
    found = [other for group in _SYNONYMS if word in group for other in group if other != word]
    if word.isalpha() or " " in word:
        found += [f"{word}s", f"{word}es"]
    if len(word) > 3 and word.endswith("s"):
        found.append(word[:-1])
    return found
