"""Class names: those of ImageNet, and finding the label that a typed text means."""

import difflib
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

# Hypernyms of ImageNet classes -> indices of the classes below; from training/hypernyms.py.
HYPERNYMS = Path(__file__).parent / "embedded" / "weights" / "imagenet-hypernyms.toml"

MAX_TYPED = 200  # characters; the longest ImageNet entry, with all its synonyms, has 121

# The three classes of ImageNet-1k that share their first name with another class.
_RENAMED = {134: "crane (bird)", 517: "crane (machine)", 639: "tank suit"}

_ARTICLE = re.compile(r"^(an?|the|some) (?=.)")


@cache
def imagenet_classes() -> list[tuple[str, ...]]:
    """Return, for each class of ImageNet-1k, its shown name and its WordNet synonyms."""
    spec = find_spec("timm")  # only its data files: importing it takes seconds
    assert spec is not None
    assert spec.origin is not None
    data = Path(spec.origin).parent / "data" / "_info"
    described = dict(
        line.split("\t")
        for line in (data / "imagenet_synset_to_lemma.txt").read_text("utf-8").splitlines()
    )
    classes = []
    for index, synset in enumerate((data / "imagenet_synsets.txt").read_text("utf-8").split()):
        names = described[synset].split(", ")
        shown = _RENAMED.get(index, names[0])
        classes.append((shown, *(name for name in names if name != shown)))
    return classes


@cache
def hypernyms() -> dict[str, dict[str, str]]:
    """Return the tables "words" and "people" of `HYPERNYMS`: word -> ranges, see `indices`."""
    return tomllib.loads(HYPERNYMS.read_text("utf-8"))


def distinct(classes: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Add the index to the shown name of every class that shares it with another class."""
    uses = Counter(shown for shown, *_ in classes)
    return [
        (shown if uses[shown] == 1 else f"{shown} ({index})", *synonyms)
        for index, (shown, *synonyms) in enumerate(classes)
    ]


class UnknownLabelError(ValueError):
    """No label matches a typed text.

    Attributes:
        message: What is wrong, without the suggestions.
        suggestions: Labels that may be meant, best first; may be empty.

    Examples:
        >>> try:
        ...     explain("cat.jpg", target="tabbi")
        ... except UnknownLabelError as error:
        ...     print(error.suggestions)
        ['tabby']
    """

    def __init__(self, message: str, suggestions: Sequence[str]) -> None:
        super().__init__(message, suggestions)  # both, so that it can be pickled
        self.message = message
        self.suggestions = list(suggestions)

    def __str__(self) -> str:
        if not self.suggestions:
            return f"{self.message} There is no close match."
        return f"{self.message} Close matches: {', '.join(self.suggestions)}."


class Labels:
    """The labels of a model, and the search for the one that a typed text means.

    The first of these that matches counts: a label exactly as shown; a name or synonym, ignoring
    case, spaces and punctuation; for ImageNet classes an everyday word or hypernym ("dog" for every
    breed); the last words of a name. Plurals are also tried as singulars. Parts of words do not
    match ("cat" is not an oystercatcher), nor do the other words of a name, which only modify it
    ("tree" is not a tree frog, "river" not a river horse).

    Args:
        names: For each label, its shown name and then its synonyms.
        kind: What the labels are called in messages: "class", "answer".
    """

    def __init__(self, names: Sequence[Sequence[str]], kind: str) -> None:
        self.shown = tuple(shown for shown, *_ in names)
        self.kind = kind
        self._names = names

    def find(self, text: str) -> tuple[int, ...]:
        """Return the indices of all labels that match `text` equally well; may be empty.

        Raises:
            ValueError: `text` is empty, or longer than `MAX_TYPED`.
        """
        typed = self._normalise(text)
        if not typed:
            if text.strip():
                raise ValueError(f"'{text.strip()}' contains no word: please type a name.")
            raise ValueError(f"The {self.kind} is empty: type a name, or leave it out.")
        exact = tuple(i for i, shown in enumerate(self.shown) if shown == text.strip())
        if exact:
            return exact
        for form in _forms(typed):
            found = self._with_name(form) or self._below(form)
            # A word for people, such as "man", means no class, even if a name ends with it.
            found = found or (() if self._people(form) else self._ending_with(form))
            if found:
                return tuple(sorted(found))
        return ()

    def suggest(self, text: str, likelihood: Callable[[int], float], k: int) -> list[int]:
        """Return the indices of up to `k` labels that may be meant, best first.

        Args:
            text: What is typed so far; "" matches every label.
            likelihood: Index of a label -> its rank among equally good matches, higher first.
            k: Maximum number of labels.

        Raises:
            ValueError: `text` is longer than `MAX_TYPED`.
        """
        typed = self._normalise(text)
        if not typed:
            return sorted(range(len(self.shown)), key=likelihood, reverse=True)[:k]
        found: dict[int, None] = {}
        for match in (
            self._with_name,
            self._below,
            self._people,
            self._with_words,
            self._with_start_of_word,
        ):
            for form in _forms(typed):
                found |= dict.fromkeys(sorted(match(form), key=likelihood, reverse=True))
        # A known word is not a spelling mistake: "sink" does not mean mink.
        found = found or dict.fromkeys(
            i
            for labels in self._similar(typed)
            for i in sorted(labels, key=likelihood, reverse=True)
        )
        last = typed.split()[-1]
        if not found and last != typed:  # "black cat": suggest cats
            return self.suggest(last, likelihood, k)
        return list(found)[:k]

    def unknown(self, text: str, likelihood: Callable[[int], float]) -> UnknownLabelError:
        """Return the error for a `text` that matches no label; see `suggest`."""
        typed = text.strip() if len(text.strip()) <= 60 else f"{text.strip()[:60]}..."
        person = any(map(self._people, _forms(normalise(text))))
        people = " for people in general:" if person else ""
        suggestions = [self.shown[i] for i in self.suggest(text, likelihood, 5)]
        english = "" if suggestions else " Names are in English."
        message = f"There is no {self.kind}{people} '{typed}'.{english}"
        return UnknownLabelError(message, suggestions)

    def _normalise(self, text: str) -> str:
        check_length(text, self.kind, MAX_TYPED)
        return normalise(text)

    @cached_property
    def _normalised(self) -> list[list[str]]:
        return [[normalise(name) for name in synonyms] for synonyms in self._names]

    @cached_property
    def _positions(self) -> dict[str, list[int]]:
        """Indices of labels by name without spaces, so that "golfball" finds the golf ball."""
        found = defaultdict(list)
        for i, names in enumerate(self._normalised):
            for name in {name.replace(" ", "") for name in names}:
                found[name].append(i)
        return dict(found)

    @cached_property
    def _vocabulary(self) -> dict[str, Iterable[int]]:
        """Labels by every known word: words of names, everyday words, names without spaces."""
        known: dict[str, Iterable[int]] = {}
        for i, names in enumerate(self._normalised):
            for word in set(" ".join(names).split()):
                known[word] = [*known.get(word, ()), i]
        return known | self._hypernyms["words"] | self._positions

    @cached_property
    def _hypernyms(self) -> dict[str, dict[str, list[int]]]:
        """The tables "words" and "people" of `HYPERNYMS`, with this model's own indices."""
        imagenet = defaultdict(list)
        for c, synonyms in enumerate(imagenet_classes()):
            imagenet[frozenset(map(normalise, synonyms))].append(c)
        own = defaultdict(list)
        for i, names in enumerate(self._normalised):
            # By all its names, because models have the classes in different orders.
            for c in imagenet.get(frozenset(names), ()):
                own[c].append(i)
        return {
            table: {
                word: [i for c in indices(ranges) for i in own[c]] for word, ranges in rows.items()
            }
            for table, rows in hypernyms().items()
        }

    def _with_name(self, typed: str) -> Iterable[int]:
        return self._positions.get(typed.replace(" ", ""), ())

    def _below(self, typed: str) -> Iterable[int]:
        return self._hypernyms["words"].get(typed, ())

    def _people(self, typed: str) -> Iterable[int]:
        return self._hypernyms["people"].get(typed, ())

    def _ending_with(self, typed: str) -> Iterable[int]:
        return self._where(lambda name: f" {name}".endswith(f" {typed}"))

    def _with_words(self, typed: str) -> Iterable[int]:
        return self._where(lambda name: f" {typed} " in f" {name} ")

    def _with_start_of_word(self, typed: str) -> Iterable[int]:
        return self._where(lambda name: f" {typed}" in f" {name}")

    def _similar(self, typed: str) -> Iterable[Iterable[int]]:
        """The labels of each known word with a similar spelling, the most similar first."""
        # Cut off, because the time for comparing grows with the product of both lengths.
        similar = difflib.get_close_matches(typed[:40], self._vocabulary, n=5, cutoff=0.75)
        return [self._vocabulary[word] for word in similar]

    def _where(self, matches: Callable[[str], bool]) -> Iterable[int]:
        return [i for i, names in enumerate(self._normalised) if any(map(matches, names))]


def check_length(text: str, kind: str, limit: int) -> None:
    """Raise a ValueError for a text longer than `limit` characters, before costly work on it."""
    if len(text) > limit:
        raise ValueError(f"The {kind} is too long: {len(text):,} characters, at most {limit:,}.")


def normalise(text: str) -> str:
    """Return the text in lower case, with one space between words and no punctuation."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold().replace("'", "")))


def indices(ranges: str) -> list[int]:
    """Return the numbers that ranges such as "7-9,80" contain: 7, 8, 9, 80."""
    found: list[int] = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _forms(typed: str) -> list[str]:
    """Return a text, the same without its article, and if it is a plural its singular."""
    bare = _ARTICLE.sub("", typed)
    singulars = [
        bare.removesuffix(ending) + other
        for ending, other in (("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""))
        if bare.endswith(ending) and len(bare) > len(ending) + 2
    ]
    return list(dict.fromkeys((typed, bare, *singulars)))
