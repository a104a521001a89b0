"""Write the table of everyday words and hypernyms of ImageNet's classes.

    python -m training.hypernyms /usr/share/wordnet

The folder has the files of WordNet 3.0 (Debian: `wordnet-base`). Every noun above a class ("dog"
above "boxer") stands for the classes below it. Added to these are the everyday words that the
answerers were trained with, and `_SYNONYMS`. Words for nearly everything ("object") are left out.
Words for people have a table of their own, used for suggestions only: ImageNet has just three
kinds of people.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from timm.data import ImageNetInfo

from gradcam_core.models.embedded.everyday import everyday_words
from gradcam_core.models.labels import HYPERNYMS, normalise

_TOO_MANY = 400  # classes; "artifact" has 522, "animal" 398
_PERSON = "00007846"
_SYNONYMS = {"kitten": "house cat", "kitty": "house cat", "puppy": "dog", "doggy": "dog"}
_SYNONYMS |= {"cow": "ox", "tv": "television", "telly": "television"}
_SYNONYMS |= {"helicopter": "aircraft"}
_PEOPLE = [
    *("person", "people", "human", "humans", "man", "men", "woman", "women", "guy", "lady"),
    *("boy", "girl", "child", "children", "kid", "baby", "face"),
]

_HEAD = """\
# Nouns above the classes of ImageNet-1k, each with the indices of those below it; "dog" is above
# "boxer". Written by training/hypernyms.py from WordNet's hypernyms and the everyday words of
# lite0-vqa. labels.py reads it.
#
# WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.
#
# Permission to use, copy, modify and distribute this software and database and its documentation
# for any purpose and without fee or royalty is hereby granted, provided that you agree to comply
# with the following copyright notice and statements, including the disclaimer, and that the same
# appear on ALL copies of the software, database and documentation, including modifications that
# you make for internal use or for distribution.
#
# THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS
# OR WARRANTIES, EXPRESS OR IMPLIED. BY WAY OF EXAMPLE, BUT NOT LIMITATION, PRINCETON UNIVERSITY
# MAKES NO REPRESENTATIONS OR WARRANTIES OF MERCHANTABILITY OR FITNESS FOR ANY PARTICULAR PURPOSE OR
# THAT THE USE OF THE LICENSED SOFTWARE, DATABASE OR DOCUMENTATION WILL NOT INFRINGE ANY THIRD PARTY
# PATENTS, COPYRIGHTS, TRADEMARKS OR OTHER RIGHTS.
#
# The name of Princeton University or Princeton may not be used in advertising or publicity
# pertaining to distribution of the software and/or database. Title to copyright in this software,
# database and any associated documentation shall at all times remain with Princeton University and
# LICENSEE agrees to preserve same.

"""


def _nouns(wordnet: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Return noun id -> its words and the ids of its hypernyms; see wndb(5WN)."""
    nouns = {}
    for line in (wordnet / "data.noun").read_text("utf-8").splitlines():
        if line.startswith(" "):  # the licence, at the top
            continue
        fields = line.split(" | ")[0].split()
        count = int(fields[3], 16)
        words = fields[4 : 4 + 2 * count : 2]
        pointers = iter(fields[5 + 2 * count :])
        above = [
            other for kind, other, _, _ in zip(*[pointers] * 4, strict=False) if kind in ("@", "@i")
        ]
        nouns[fields[0]] = words, above
    return nouns


def _ancestors(noun: str, nouns: dict[str, tuple[list[str], list[str]]]) -> Iterator[str]:
    for parent in nouns[noun][1]:
        yield parent
        yield from _ancestors(parent, nouns)


def _ranges(indices: Iterable[int]) -> str:
    """Write indices as ranges: "7-24,80"."""
    runs = [
        [index for _, index in run]
        for _, run in groupby(enumerate(sorted(indices)), lambda pair: pair[1] - pair[0])
    ]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _toml(name: str, table: Mapping[str, Iterable[int]]) -> str:
    rows = (f'"{word}" = "{_ranges(table[word])}"\n' for word in sorted(table))
    return f"[{name}]\n{''.join(rows)}"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wordnet", type=Path, help="folder with data.noun")
    nouns = _nouns(parser.parse_args().wordnet)
    below: defaultdict[str, set[int]] = defaultdict(set)
    for index, wnid in enumerate(ImageNetInfo("imagenet-1k").label_names()):
        for noun in {*_ancestors(wnid[1:], nouns)}:
            below[noun].add(index)
    table: defaultdict[str, set[int]] = defaultdict(set)
    for noun, indices in below.items():
        if len(indices) < _TOO_MANY and noun != _PERSON:
            for word in nouns[noun][0]:
                table[normalise(word)] |= indices
    for word, everyday in everyday_words().items():
        table[normalise(word)].update(everyday)
    for word, other in _SYNONYMS.items():
        table[word] |= table[other]
    people = dict.fromkeys(_PEOPLE, below[_PERSON])
    HYPERNYMS.write_text(_HEAD + _toml("words", table) + "\n" + _toml("people", people), "utf-8")


if __name__ == "__main__":
    main()
