"""Class names: those of ImageNet, and finding a label as people type it."""

import difflib
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

# Nouns above ImageNet's classes, with the indices of those below; training/hypernyms.py made it.
HYPERNYMS = Path(__file__).parent / "embedded" / "weights" / "imagenet-hypernyms.toml"

MAX_TYPED = 200  # characters; the longest name of ImageNet has 121 with all its synonyms

# The three classes of ImageNet-1k whose first name another class has too.
_RENAMED = {134: "crane (bird)", 517: "crane (machine)", 639: "tank suit"}

_ARTICLE = re.compile(r"^(an?|the|some) (?=.)")


@cache
def imagenet_classes() -> list[tuple[str, ...]]:
    """Return, for each class of ImageNet-1k, its shown name and its WordNet synonyms."""
    spec = find_spec("timm")  # its files, that is: to import it takes seconds
    assert spec is not None
    assert spec.origin is not None
    known = Path(spec.origin).parent / "data" / "_info"
    described = dict(
        line.split("\t")
        for line in (known / "imagenet_synset_to_lemma.txt").read_text("utf-8").splitlines()
    )
    classes = []
    for index, synset in enumerate((known / "imagenet_synsets.txt").read_text("utf-8").split()):
        names = described[synset].split(", ")
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


class UnknownLabelError(ValueError):
    """No label fits what was typed.

    Attributes:
        said: That, in a sentence.
        near: Labels that may be meant, the best fits first; maybe none.
    """

    def __init__(self, said: str, near: Sequence[str]) -> None:
        super().__init__(said, near)  # as it is made again when it comes from another process
        self.said = said
        self.near = list(near)

    def __str__(self) -> str:
        nearest = (
            f"The nearest: {', '.join(self.near)}." if self.near else "Nor is there one like it."
        )
        return f"{self.said} {nearest}"


class Labels:
    """The labels of a model, to be found as people type them.

    What is typed is what is meant. The best fit counts, in this order: a label exactly as shown;
    a name or synonym whatever its case, spacing and punctuation; for classes of ImageNet an
    everyday word or hypernym ("dog" for every breed); the last words of a name. A plural means its
    singular. A part of a word fits nothing: "cat" is no oystercatcher. Nor do a name's other words,
    which say what kind it is: a "tree" is no tree frog, and a "river" no river horse.
    """

    def __init__(self, names: Sequence[Sequence[str]], kind: str) -> None:
        """Take the names.

        Args:
            names: For each label, its shown name and then its synonyms.
            kind: What the labels are, for messages: "class", "answer".
        """
        self.shown = tuple(shown for shown, *_ in names)
        self.kind = kind
        self._names = names

    def find(self, text: str) -> tuple[int, ...]:
        """Return the indices of all labels that `text` fits equally well, in order; maybe none.

        Raises:
            ValueError: `text` is empty, or longer than `MAX_TYPED`.
        """
        typed = self._read(text)
        if not typed:
            if text.strip():
                raise ValueError(f"'{text.strip()}' has no word: type a name in letters.")
            raise ValueError(f"The {self.kind} is empty: type a name, or leave it out.")
        exactly = tuple(i for i, shown in enumerate(self.shown) if shown == text.strip())
        if exactly:
            return exactly
        for form in _forms(typed):
            found = self._named(form) or self._below(form)
            # "man" is no man-eater: words for people are known, and mean no class.
            found = found or (() if self._people(form) else self._ending(form))
            if found:
                return tuple(sorted(found))
        return ()

    def near(self, text: str, likelihood: Callable[[int], float], k: int) -> list[int]:
        """Return the labels that may be meant, the best fits first; maybe fewer than `k`.

        Args:
            text: As typed so far; by "" every label may be meant.
            likelihood: Of a label; of those that fit equally well, the likelier come first.
            k: At most so many.

        Raises:
            ValueError: `text` is longer than `MAX_TYPED`.
        """
        typed = self._read(text)
        if not typed:
            return sorted(range(len(self.shown)), key=likelihood, reverse=True)[:k]
        found: dict[int, None] = {}
        for fit in (self._named, self._below, self._people, self._with_words, self._beginning):
            for form in _forms(typed):
                found |= dict.fromkeys(sorted(fit(form), key=likelihood, reverse=True))
        # A word that is known is not misspelt: "sink" is no mink.
        found = found or dict.fromkeys(
            i
            for labels in self._spelt_like(typed)
            for i in sorted(labels, key=likelihood, reverse=True)
        )
        last = typed.split()[-1]
        if not found and last != typed:  # a black cat is a cat
            return self.near(last, likelihood, k)
        return list(found)[:k]

    def missing(self, text: str, likelihood: Callable[[int], float]) -> UnknownLabelError:
        """Say that no label fits `text`, and which come near it."""
        typed = text.strip() if len(text.strip()) <= 60 else f"{text.strip()[:60]}..."
        known = any(map(self._people, _forms(normalise(text))))
        people = " for people in general:" if known else ""
        near = [self.shown[i] for i in self.near(text, likelihood, 5)]
        english = "" if near else " Names are in English."
        return UnknownLabelError(f"There is no {self.kind}{people} '{typed}'.{english}", near)

    def _read(self, text: str) -> str:
        check_length(text, self.kind, MAX_TYPED)
        return normalise(text)

    @cached_property
    def _normalised(self) -> list[list[str]]:
        return [[normalise(name) for name in synonyms] for synonyms in self._names]

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        """Indices by name without spaces: a golf ball is a golfball."""
        found = defaultdict(list)
        for i, names in enumerate(self._normalised):
            for name in {name.replace(" ", "") for name in names}:
                found[name].append(i)
        return dict(found)

    @cached_property
    def _vocabulary(self) -> dict[str, Iterable[int]]:
        """Labels by all that is known: words of names, everyday words, names without spaces."""
        known: dict[str, Iterable[int]] = {}
        for i, names in enumerate(self._normalised):
            for word in set(" ".join(names).split()):
                known[word] = [*known.get(word, ()), i]
        return known | self._hypernyms["words"] | self._by_name

    @cached_property
    def _hypernyms(self) -> dict[str, dict[str, list[int]]]:
        """The tables of `HYPERNYMS` in this model's own indices: of words, and of "people"."""
        imagenet = defaultdict(list)
        for c, synonyms in enumerate(imagenet_classes()):
            imagenet[frozenset(map(normalise, synonyms))].append(c)
        own = defaultdict(list)
        for i, names in enumerate(self._normalised):
            # An ImageNet class is known by all its names, for other models have other orders.
            for c in imagenet.get(frozenset(names), ()):
                own[c].append(i)
        return {
            table: {word: [i for c in indices(ranges) for i in own[c]] for word, ranges in rows}
            for table, rows in _read_hypernyms().items()
        }

    def _named(self, typed: str) -> Iterable[int]:
        return self._by_name.get(typed.replace(" ", ""), ())

    def _below(self, typed: str) -> Iterable[int]:
        return self._hypernyms["words"].get(typed, ())

    def _people(self, typed: str) -> Iterable[int]:
        return self._hypernyms["people"].get(typed, ())

    def _ending(self, typed: str) -> Iterable[int]:
        return self._where(lambda name: f" {name}".endswith(f" {typed}"))

    def _with_words(self, typed: str) -> Iterable[int]:
        return self._where(lambda name: f" {typed} " in f" {name} ")

    def _beginning(self, typed: str) -> Iterable[int]:
        return self._where(lambda name: f" {typed}" in f" {name}")

    def _spelt_like(self, typed: str) -> Iterable[Iterable[int]]:
        """The labels of each known word that is spelt like `typed`, the likest word first."""
        # No word is so long, and comparing takes the product of both lengths.
        alike = difflib.get_close_matches(typed[:40], self._vocabulary, n=5, cutoff=0.75)
        return [self._vocabulary[word] for word in alike]

    def _where(self, fit: Callable[[str], bool]) -> Iterable[int]:
        return [i for i, names in enumerate(self._normalised) if any(map(fit, names))]


def check_length(text: str, kind: str, most: int) -> None:
    """Refuse a text before anything that takes longer than reading it is done with it.

    Raises:
        ValueError: It has more than `most` characters.
    """
    if len(text) > most:
        raise ValueError(f"The {kind} is too long: {len(text):,} characters, at most {most:,}.")


def normalise(text: str) -> str:
    """Lower case, words parted by one space, no punctuation."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold().replace("'", "")))


def indices(ranges: str) -> list[int]:
    """Read "7-9,80" as 7, 8, 9, 80."""
    found: list[int] = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _forms(typed: str) -> list[str]:
    """What is typed; then without its article and, of a plural, the singular."""
    bare = _ARTICLE.sub("", typed)
    singulars = [
        bare.removesuffix(ending) + other
        for ending, other in (("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""))
        if bare.endswith(ending) and len(bare) > len(ending) + 2
    ]
    return list(dict.fromkeys((typed, bare, *singulars)))


@cache
def _read_hypernyms() -> dict[str, list[tuple[str, str]]]:
    tables = tomllib.loads(HYPERNYMS.read_text("utf-8"))
    return {name: list(rows.items()) for name, rows in tables.items()}
