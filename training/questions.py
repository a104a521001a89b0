"""Questions and answers made from the captions of a picture by rules.

The kinds are those of COCO-QA (Ren et al., "Exploring Models and Data for Image Question
Answering", NeurIPS 2015): object, number, colour and place; plus actions, and yes/no questions
with balanced answers. COCO-QA uses single captions. Here at least two of a picture's five captions
must agree. The answer is "no" only if no caption has the word, a hyponym, a hypernym, or a hint.
"""

import random
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

KINDS = ("yes/no", "number", "colour", "object", "action", "place")


class Question(NamedTuple):
    """A question about a picture; each of `answers` is right."""

    picture: str
    kind: str
    text: str
    answers: tuple[str, ...]


_FILE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def _table(name: str) -> dict[str, list[str]]:
    """Return a table of the file: name -> the words that it stands for."""
    return {key: words.split() for key, words in _FILE[name].items()}


PEOPLE = _table("people")
ANIMALS = _table("animals")
THINGS = _table("things")
PLACES = _table("places")
NOUNS = PEOPLE | ANIMALS | THINGS | PLACES
HINTS = _table("hints")
COLOURS = _table("colours")
SPORTS = _table("sports")
ACTIONS = _table("actions")
HOLDING = _table("holding")
TEMPLATES: dict[str, list[str]] = _FILE["ask"]
ALIKE = [set(colours.split()) for colours in _FILE["sets"]["alike"]]
EXCLUSIVE, VEHICLES, CLOTHES = (
    tuple(_FILE["sets"][name].split()) for name in ("exclusive", "vehicles", "clothes")
)
MASS, OUTDOORS, INDOORS = (
    frozenset(_FILE["sets"][name].split()) for name in ("mass", "outdoors", "indoors")
)
NUMBERS = {
    word: str(n)
    for n, word in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight"], 1)
} | {str(n): str(n) for n in range(1, 9)}
GENERAL = {"person": [*PEOPLE], "child": ["boy", "girl", "baby", "child"], "animal": [*ANIMALS]}

_PLURALS = _FILE["plurals"] | {noun: noun for noun in MASS}
_NOUN_OF = {word: noun for noun, words in NOUNS.items() for word in words}
_ACTION_OF = {word: action for action, words in ACTIONS.items() for word in words}
_COLOUR_OF = {word: colour for colour, words in COLOURS.items() for word in words}
_HOLD_OF = {word: verb for verb, words in HOLDING.items() for word in words}
_ACTORS = PEOPLE | ANIMALS


def _plural(noun: str) -> str:
    if re.search(r"(s|x|ch|sh)$", noun):
        return noun + "es"
    return noun[:-1] + "ies" if re.search(r"[^aeiou]y$", noun) else noun + "s"


def ask(template: str, rng: random.Random, **parts: str) -> str:
    """Return a question from one of the templates, with random wording.

    Args:
        template: A key of `TEMPLATES`.
        rng: Makes the choices.
        parts: Values for the template; `a` and `xs` are derived from `x`, `b` from `y`.

    Returns:
        Lower case, without a question mark, because the answerers ignore both.
    """
    x, y = parts.get("x", ""), parts.get("y", "")
    derived = {"a": _article(x), "b": _article(y), "xs": _PLURALS.get(x) or _plural(x)}
    return reword(rng.choice(TEMPLATES[template]).format(**derived | parts), rng)


def _article(noun: str) -> str:
    return "some" if noun in MASS else "an" if noun[:1] in tuple("aeiou") else "a"


_REWORDINGS = (
    (r"\bcolor\b", ("color", "colour")),
    (r"\b(picture|photo)\b", ("picture", "photo", "image", "pic", "photograph")),
    (r"^(what|who|where) is\b", (r"\1 is", r"\1 is", r"\1s", r"\1's")),
    (r"\bperson\b", ("person", "human")),
    (r"\bbicycle\b", ("bicycle", "bike")),
    (r"\bsofa\b", ("sofa", "couch")),
    (r"\bgray\b", ("gray", "grey")),
    (r"\brefridgerator\b", ("refridgerator", "refrigerator", "fridge")),
    (r"\b(the|a) (?=\w+$)", (r"\1 ", r"\1 ", r"\1 ", "")),
    (r"$", ("",) * 30 + (" please", " here")),
    (r"^", ("",) * 60 + ("so ", "please tell me ", "hey ", "ok ")),
)


def reword(text: str, rng: random.Random) -> str:
    """Vary the wording of a question: spelling, omitted articles, politeness."""
    for pattern, choices in _REWORDINGS:
        text = re.sub(pattern, rng.choice(choices), text)
    return text


class _Caption(NamedTuple):
    words: list[str]
    nouns: dict[str, int]  # canonical noun -> position of its first mention


def _read(caption: str) -> _Caption:
    words = re.findall(r"[a-z0-9]+", caption.lower().replace("t-shirt", "shirt"))
    nouns = {}
    for position, word in enumerate(words):
        if word in _NOUN_OF:
            nouns.setdefault(_NOUN_OF[word], position)
    return _Caption(words, nouns)


def questions(picture: str, captions: Sequence[str], rng: random.Random) -> list[Question]:
    """Return the questions, except yes/no, whose answer is in at least two captions.

    Args:
        picture: Its name, for the result.
        captions: In English.
        rng: Chooses the wording.

    Returns:
        Up to a dozen questions of different kinds.
    """
    read = [_read(caption) for caption in captions]
    found = [
        *_numbers(read, rng), *_colours(read, rng), *_objects(read, rng), *_actions(read, rng),
        *_places(read, rng),
    ]  # fmt: skip
    return [Question(picture, *item) for item in found]


def _agreed(counter: Mapping[str, int], least: int = 2) -> tuple[str, ...]:
    return tuple(sorted(key for key, count in counter.items() if count >= least))


_Item = tuple[str, str, tuple[str, ...]]  # kind, text, answers
_Key = tuple[str, str, str]  # template, subject, word


def _mentions(read: Sequence[_Caption]) -> Counter:
    return Counter(noun for caption in read for noun in caption.nouns)


def _subject(caption: _Caption) -> str | None:
    """Return the person or animal named first, usually the subject of an English caption."""
    actors = {noun: place for noun, place in caption.nouns.items() if noun in _ACTORS}
    return min(actors, key=actors.get, default=None)


def agreed_nouns(captions: Sequence[str]) -> set[str]:
    """Return the things, people and places that at least two captions of a picture name."""
    return {*_agreed(_mentions([_read(caption) for caption in captions]))}


def _numbers(read: Sequence[_Caption], rng: random.Random) -> list[_Item]:
    counts: dict[str, Counter] = defaultdict(Counter)
    for caption in read:
        stated = {}
        for i, word in enumerate(caption.words):
            number = NUMBERS.get(word) or ("1" if word in ("a", "an") else None)
            if number is None:
                continue
            for near in caption.words[i + 1 : i + 5]:
                noun = _NOUN_OF.get(near)
                if noun in ("bicycle", "motorcycle", *_ACTORS) and near not in (
                    "crowd",
                    "team",
                    "couple",
                    "family",
                    "group",
                ):
                    stated[noun] = int(number)
                    break
                if noun or near in ("of", "in", "with", "and"):
                    break
        for noun, number in stated.items():
            counts[noun][str(number)] += 1
        people = sum(number for noun, number in stated.items() if noun in PEOPLE)
        if people and "person" not in stated:
            counts["person"][str(people)] += 1
    items = []
    for noun, numbers in counts.items():
        (best, agreed), *rest = numbers.most_common()
        # "a man" may not be alone, so the answer 1 needs three captions and no other count.
        if agreed >= (3 if best == "1" else 2) and not rest and (best != "1" or rng.random() < 0.4):
            items.append(("number", ask("number", rng, x=noun), (best,)))
    return items[:2]


def _coloured(read: Sequence[_Caption]) -> dict[str, Counter]:
    """Count the captions that give a thing a colour: `red shirt`, `black and white dog`."""
    colours: dict[str, Counter] = defaultdict(Counter)
    for caption in read:
        stated = set()
        for i, word in enumerate(caption.words):
            for near in caption.words[i + 1 : i + 5] if word in _COLOUR_OF else ():
                if near in _NOUN_OF:
                    if _NOUN_OF[near] not in PEOPLE and _NOUN_OF[near] not in PLACES:
                        stated.add((_NOUN_OF[near], _COLOUR_OF[word]))
                    break
                if near in ("in", "on", "with", "is", "of", "a", "the", "are"):
                    break
        for noun, colour in sorted(stated):
            colours[noun][colour] += 1
    return colours


def _colours(read: Sequence[_Caption], rng: random.Random) -> list[_Item]:
    items = []
    for noun, colours in _coloured(read).items():
        if agreed := _agreed(colours):
            items.append(("colour", ask("colour", rng, s=noun), agreed))
    return items


def _objects(read: Sequence[_Caption], rng: random.Random) -> list[_Item]:
    mentions = _mentions(read)
    agreed = _agreed(mentions)
    people = tuple(noun for noun in agreed if noun in PEOPLE)
    animals = tuple(noun for noun in agreed if noun in ANIMALS)
    subjects = _agreed(Counter(filter(None, map(_subject, read))))
    things = {noun: n for noun, n in mentions.items() if noun in THINGS}
    asked = {
        "who": people,
        "what": subjects or _agreed(things, 3),
        "animal": animals,
        "vehicle": tuple(noun for noun in agreed if noun in VEHICLES),
        "sport": _agreed(_sports(read)),
    }
    items = [("object", ask(name, rng), answers) for name, answers in asked.items() if answers]
    for (verb, subject), nouns in _held(read, mentions).items():
        text = ask("mouth" if verb == "mouth" else "held", rng, s=subject, v=verb)
        items.append(("object", text, tuple(sorted(nouns))))
    for caption in read:
        items += _renamed(caption, people, animals, rng)
    return items


def _held(read: Sequence[_Caption], mentions: Mapping[str, int]) -> dict[tuple[str, str], set[str]]:
    """Return what somebody holds, wears, rides or has in the mouth: (verb, subject) -> things."""
    held: dict[tuple[str, str], set[str]] = defaultdict(set)
    for caption in read:
        subject = _subject(caption)
        if subject is None:
            continue
        if "mouth" in caption.words and subject in ANIMALS:
            things = [noun for noun in caption.nouns if noun in THINGS and mentions[noun] > 1]
            if things:
                held["mouth", subject].add(things[0])
        for i, word in enumerate(caption.words):
            verb = _HOLD_OF.get(word)
            after = caption.words[i + 1 : i + 6] if verb else ()
            nouns = (_NOUN_OF[near] for near in after if near in _NOUN_OF)
            noun = next((noun for noun in nouns if noun != subject), None)
            if noun and mentions[noun] > 1 and (verb != "wearing" or noun in CLOTHES):
                held[verb, subject].add(noun)
    return held


def _renamed(
    caption: _Caption, people: tuple[str, ...], animals: tuple[str, ...], rng: random.Random
) -> list[_Item]:
    """Replace the subject of a caption, as in COCO-QA: "what is running through the snow"."""
    subject = _subject(caption)
    answers = people if subject in people else animals if subject in animals else ()
    words = caption.words[caption.nouns[subject] + 1 :] if answers else []
    if "is" in words[:1] and len(words) > 2 and rng.random() < 0.5:
        who = rng.choice(("what", "who")) if answers == people else "what"
        return [("object", reword(" ".join([who, *words[:7]]), rng), answers)]
    return []


def _sports(read: Sequence[_Caption]) -> Counter:
    return Counter(
        sport
        for caption in read
        for sport, words in SPORTS.items()
        if set(words) & set(caption.words)
    )


def _acting(read: Sequence[_Caption]) -> dict[str, Counter]:
    """Count the captions with each action, for people and for animals."""
    acts: dict[str, Counter] = {"person": Counter(), "animal": Counter()}
    for caption in read:
        subject = _subject(caption)
        if subject is None:
            continue
        group = "person" if subject in PEOPLE else "animal"
        for word in caption.words[caption.nouns[subject] + 1 :]:
            if word in _ACTION_OF:
                acts[group][_ACTION_OF[word]] += 1
                break
    return acts


def _actions(read: Sequence[_Caption], rng: random.Random) -> list[_Item]:
    subjects = Counter(filter(None, map(_subject, read)))
    items = []
    for group, acts in _acting(read).items():
        members = PEOPLE if group == "person" else ANIMALS
        nouns = [noun for noun in subjects if noun in members]
        if agreed := _agreed(acts):
            items.append(("action", ask("action", rng, s=rng.choice(nouns)), agreed))
    return items


def _places(read: Sequence[_Caption], rng: random.Random) -> list[_Item]:
    mentions = _mentions(read)
    places = tuple(noun for noun in _agreed(mentions) if noun in PLACES)
    subjects = list(filter(None, map(_subject, read)))
    if not places or not subjects:
        return []
    return [("place", ask("place", rng, s=rng.choice(subjects)), places)]


def yes_no(
    captions: Mapping[str, Sequence[str]], rng: random.Random, each: int = 3
) -> list[Question]:
    """Return yes/no questions; for every word "yes" and "no" are equally frequent.

    Args:
        captions: The captions of each picture.
        rng: Chooses questions and wording.
        each: Largest number of questions with "yes" per picture.

    Returns:
        Balanced questions: without the picture only half of them can be answered.
    """
    yes: dict[_Key, list[str]] = defaultdict(list)
    no: dict[_Key, list[str]] = defaultdict(list)
    for picture, texts in captions.items():
        sure, never = _certain([_read(text) for text in texts])
        for key in rng.sample(sorted(sure), min(each, len(sure))):
            yes[key].append(picture)
        for key in never:
            no[key].append(picture)
    found = []
    for key in sorted(yes):
        template, subject, word = key
        n = min(len(yes[key]), len(no[key]))
        for answer, pictures in (("yes", yes[key]), ("no", no[key])):
            for picture in rng.sample(pictures, n):
                worn = word in CLOTHES and rng.random() < 0.5
                text = ask("worn?" if worn else template, rng, x=word, s=subject)
                found.append(Question(picture, "yes/no", text, (answer,)))
    return found


def _certain(read: Sequence[_Caption]) -> tuple[set[_Key], set[_Key]]:
    """Return what at least two captions state, and what no caption states or hints at."""
    written = {word for caption in read for word in caption.words}
    parts = (_present(read, written), _active(read, written), _tinted(read, written))
    return set().union(*(yes for yes, _ in parts)), set().union(*(no for _, no in parts))


def _present(read: Sequence[_Caption], written: set[str]) -> tuple[set[_Key], set[_Key]]:
    mentions = _mentions(read)
    some_person = "person" in mentions
    for general, kinds in GENERAL.items():
        mentions[general] = sum(any(kind in caption.nouns for kind in kinds) for caption in read)
    yes = {("presence", "", noun) for noun in _agreed(mentions)}
    no = set()
    for noun in [*NOUNS, "animal"]:
        # A "person" may be a man and a "child" a boy, so no answer is certain.
        if noun in PEOPLE and some_person:
            continue
        related = {noun, *GENERAL.get(noun, ())} | ({"child"} & {*_hypernyms(noun)})
        hinted = written & set(HINTS.get(noun, ()))
        if not hinted and not any(mentions[name] for name in related):
            no.add(("presence", "", noun))
    return yes, no


def _hypernyms(noun: str) -> list[str]:
    return [general for general, kinds in GENERAL.items() if noun in kinds]


def _active(read: Sequence[_Caption], written: set[str]) -> tuple[set[_Key], set[_Key]]:
    mentions = _mentions(read)
    yes, no = set(), set()
    for group, acts in _acting(read).items():
        members = PEOPLE if group == "person" else ANIMALS
        subject = max((noun for noun in mentions if noun in members), key=mentions.get, default="")
        if agreed := set(_agreed(acts)) & set(EXCLUSIVE):
            yes |= {("doing?", subject, action) for action in agreed}
            unsaid = [action for action in EXCLUSIVE if not written & set(ACTIONS[action])]
            no |= {("doing?", subject, action) for action in unsaid}
    return yes, no


def _tinted(read: Sequence[_Caption], written: set[str]) -> tuple[set[_Key], set[_Key]]:
    yes, no = set(), set()
    for noun, colours in _coloured(read).items():
        if agreed := _agreed(colours):
            yes |= {("coloured?", noun, colour) for colour in agreed}
            near = set().union(*(alike for alike in ALIKE if alike & set(colours)))
            unsaid = [
                colour
                for colour, words in COLOURS.items()
                if colour not in near and not written & set(words)
            ]
            no |= {("coloured?", noun, colour) for colour in unsaid}
    return yes, no
