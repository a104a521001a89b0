"""Class names: those of ImageNet, and finding a label as people type it."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Sequence

# The three classes of ImageNet-1k whose first name another class has too.
_RENAMED = {134: "crane (bird)", 517: "crane (machine)", 639: "tank suit"}


def imagenet_classes() -> list[tuple[str, ...]]:
    """Return, for each class of ImageNet-1k, its shown name and its WordNet synonyms."""
    from timm.data import ImageNetInfo  # slow to import, and only needed once a model is

    info = ImageNetInfo("imagenet-1k")
    classes = []
    for index in range(info.num_classes()):
        names = info.index_to_description(index).split(", ")
        shown = _RENAMED.get(index, names[0])
        classes.append((shown, *(name for name in names if name != shown)))
    return classes


def distinct(classes: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Add its index to the shown name of every class whose name another class has too."""
    uses = Counter(shown for shown, *_ in classes)
    return [
        (shown if uses[shown] == 1 else f"{shown} ({index})", *synonyms)
        for index, (shown, *synonyms) in enumerate(classes)
    ]


def find_labels(text: str, names: Sequence[Sequence[str]], kind: str) -> tuple[int, ...]:
    """Return the indices of the labels that `text` fits best, in order.

    The best fit counts, and all that fit equally well are returned: a label exactly as shown;
    a name or synonym whatever its case and punctuation; whole words of a name; part of a word.

    Args:
        text: As typed.
        names: For each label, its shown name and then its synonyms.
        kind: What the labels are, for the message: "class", "answer".

    Raises:
        ValueError: Nothing fits; the message lists the nearest names.
    """
    shown = tuple(i for i, synonyms in enumerate(names) if synonyms[0] == text.strip())
    if shown:
        return shown
    typed = _normalise(text)
    if not typed:
        raise ValueError(f"The {kind} is empty: type a name, or leave it out.")
    normalised = [[_normalise(name) for name in synonyms] for synonyms in names]
    fits: tuple[Callable[[str], bool], ...] = (
        lambda name: name == typed,
        lambda name: f" {typed} " in f" {name} ",
        # Below three letters nearly every name would fit.
        lambda name: len(typed) >= 3 and typed in name,
    )
    for fit in fits:
        found = tuple(i for i, synonyms in enumerate(normalised) if any(map(fit, synonyms)))
        if found:
            return found
    shown_name = {name: names[i][0] for i, row in enumerate(normalised) for name in row}
    near = difflib.get_close_matches(typed, shown_name, n=5, cutoff=0.5)
    near = near or difflib.get_close_matches(typed, shown_name, n=3, cutoff=0.0)
    nearest = list(dict.fromkeys(shown_name[name] for name in near))
    raise ValueError(f"There is no {kind} '{_shortened(text)}'. The nearest: {', '.join(nearest)}.")


def _shortened(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 60 else f"{text[:60]}..."


def _normalise(text: str) -> str:
    """Lower case, words parted by one space, no punctuation."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold().replace("'", "")))
