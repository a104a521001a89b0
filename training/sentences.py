"""Captions for pictures without any, from what is known about them: a thing, a room, a scene.

captions.toml has the patterns for kinds of things, and places with the phrases that indicate them
("signs"). The picture's attributes tell where a thing is.
"""

import random
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from gradcam_core.models.embedded.caption_text import split_words

TABLES = tomllib.loads(Path(__file__).with_name("captions.toml").read_text(encoding="utf-8"))
SPELLING: Mapping[str, str] = TABLES["spelling"]
CAPTIONS = 5  # per picture
COLOURED = 3  # captions with a colour, if one is seen
LIKELY = 0.2  # least probability of a sign for what it indicates to be mentioned
ROOM_THING = 15  # rooms in which a thing must be named to be mentioned


def _listed(text: str) -> list[str]:
    return [word.replace("_", " ") for word in text.split()]


_PLAIN = frozenset(_listed(TABLES["plain"]))
_KIND = {word: kind for kind, row in TABLES["kinds"].items() for word in _listed(row["words"])}


def signs() -> list[str]:
    """Return all phrases that indicate places, people and colours."""
    listed = [place["signs"] for place in TABLES["places"].values()]
    listed += [*TABLES["people"].values(), *TABLES["tints"].values()]
    return sorted(set(chain.from_iterable(listed)))


def pattern_words() -> Iterable[list[str]]:
    """Yield the words of all patterns and places."""
    for kind in TABLES["kinds"].values():
        for pattern in [*kind["placed"], *kind["alone"], *kind["held"]]:
            yield split_words(re.sub(r"{.*?}", " ", pattern))
    for place in TABLES["places"].values():
        yield from map(split_words, place["phrases"])
    for written in TABLES["scenes"].values():
        yield from map(split_words, written)
    yield from map(split_words, chain(TABLES["phrases"].values(), TABLES["people"]))
    yield from map(split_words, chain.from_iterable(TABLES["tints"].values()))


def surroundings(word: str, rng: random.Random) -> list[str]:
    """Return a random sign of a place where a thing may be, and of a colour that it may have."""
    kind = TABLES["kinds"][_KIND.get(word, "thing")]
    colours = [c for c in TABLES["tints"].get(kind["colours"], []) if " " not in c]
    chosen = [TABLES["places"][rng.choice(kind["places"])]["signs"][0]]
    return chosen + ([rng.choice(colours)] if colours else [])


def with_article(noun: str) -> str:
    """Return a noun with "a" or "an" if it takes one."""
    if noun in TABLES["phrases"]:
        return TABLES["phrases"][noun].format(noun)
    if noun in _PLAIN or (noun.endswith("s") and not noun.endswith("ss")):
        return noun
    vowel = noun[0] in "aeiou" and not noun.startswith("uni")
    return f"an {noun}" if vowel else f"a {noun}"


def of_thing(
    word: str, likely: Mapping[str, float], rng: random.Random, colour: str | None = None
) -> list[list[str]]:
    """Return five captions that name a thing, with a likely place, people and colour.

    Args:
        word: The thing's everyday word.
        likely: The probability, 0..1, that people use each of `signs` for the picture.
        rng: Chooses the patterns.
        colour: Of the thing's pixels, if it is clear.
    """
    kind = TABLES["kinds"][_KIND.get(word, "thing")]
    found = _likeliest({p: TABLES["places"][p]["signs"] for p in kind["places"]}, likely)[:2]
    who = _likeliest(TABLES["people"], likely)[:1] if kind["held"] else []
    alone = rng.sample(kind["alone"], len(kind["alone"]))
    sentences = [alone[i % len(alone)] for i in range(CAPTIONS)]
    for i, pattern in zip(range(4), rng.sample(kind["placed"], len(kind["placed"])), strict=False):
        if found:
            place = rng.choice(TABLES["places"][found[i // 3 % len(found)]]["phrases"])
            sentences[i] = pattern.replace("{in}", place)
    if who:  # people are more important than a second place
        sentences[2] = rng.choice(kind["held"]).replace("{who}", who[0])
        sentences[3] = rng.choice(kind["held"]).replace("{who}", who[0])
    noun = " ".join(split_words(word))
    shown = [with_article(noun)] * CAPTIONS
    if noun not in TABLES["phrases"] and (tint := _colour(kind["colours"], likely, colour)):
        shown[:COLOURED] = [with_article(f"{tint} {noun}")] * COLOURED
    return [
        split_words(sentence.format(x=thing, n=noun))
        for sentence, thing in zip(sentences, shown, strict=True)
    ]


def _likeliest(signs: Mapping[str, Sequence[str]], likely: Mapping[str, float]) -> list[str]:
    """Return what is likely according to its signs, the likeliest first."""
    scores = {name: max(likely[sign] for sign in listed) for name, listed in signs.items()}
    return sorted((name for name in scores if scores[name] > LIKELY), key=lambda n: -scores[n])


def _colour(kind: str, likely: Mapping[str, float], pixels: str | None) -> str | None:
    """Return the colour to mention: that of the pixels, else a likely one, else None."""
    if not kind:
        return None
    colours = TABLES["tints"][kind]
    if pixels in colours:
        return pixels
    return next(iter(_likeliest({colour: [colour] for colour in colours}, likely)), None)


def of_scene(kind: str) -> list[list[str]]:
    """Return the captions for one kind of scene."""
    return [split_words(sentence) for sentence in TABLES["scenes"][kind]]


_ROOM_SENTENCES = (
    "{room} with {a} and {b}",
    "{a} and {b} in {room}",
    "there is {a} in {room}",
    "{room} with {b} and {a}",
    "{room} with {a}",
)
_COLOURS = frozenset(_listed(TABLES["colours"]))


def things_named(answers: Iterable[tuple[str, Sequence[str]]]) -> dict[str, Counter[str]]:
    """Return picture -> how often people's answers about it name each thing."""
    things: dict[str, Counter[str]] = {}
    for picture, given in answers:
        named = [answer for answer in given if not answer.isdecimal() and answer not in _COLOURS]
        things.setdefault(picture, Counter()).update(named)
    return {name: found for name, found in things.items() if found}


def room(things: Mapping[str, int]) -> str:
    """Return the kind of room that contains some things."""
    rooms = TABLES["rooms"]
    hits = {kind: sum(things.get(sign, 0) for sign in signs) for kind, signs in rooms.items()}
    best = max(hits, key=hits.get)
    return best if hits[best] else "room"


def of_rooms(named: Mapping[str, Counter[str]]) -> dict[str, list[list[str]]]:
    """Return five captions for each room, with its kind and the things that people named there."""
    frequency = Counter(thing for things in named.values() for thing in things)
    found = {}
    for picture, things in named.items():
        kind = with_article(room(things))
        names = [
            with_article(SPELLING.get(thing, thing))
            for thing in sorted(things, key=lambda thing: -frequency[thing])
            if frequency[thing] >= ROOM_THING
        ]
        if names:
            pairs = [(names[i % len(names)], names[(i + 1) % len(names)]) for i in range(CAPTIONS)]
            found[picture] = [
                split_words((s if a != b else "{room} with {a}").format(room=kind, a=a, b=b))
                for s, (a, b) in zip(_ROOM_SENTENCES, pairs, strict=True)
            ]
    return found
