"""What the embedded question answerers learn from: questions about the pictures of every set.

Captions, boxes and labels become questions by rules (training/questions.py); DAQUAR's are
people's own. Questions that people asked of pictures that are not there teach which kind of answer
a wording asks for, and what is mostly answered: they are shown no picture, any picture, or one
pushed towards the ImageNet classes that question and answer name.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from timm.data import ImageNetInfo

from gradcam_core.models.embedded.everyday import everyday_words, synonyms
from training import datasets
from training.questions import (
    ANIMALS,
    COLOURS,
    INDOORS,
    NOUNS,
    NUMBERS,
    OUTDOORS,
    Question,
    agreed_nouns,
    ask,
    questions,
    yes_no,
)

# What nobody overlooks in a room: if it was not named, it is not there.
UNMISSABLE = ("bed", "toilet", "bathtub", "stove", "refridgerator", "sink", "sofa", "television")
# Not seen in a room, or beside a cat or dog.
ELSEWHERE = (
    "person",
    "horse",
    "car",
    "boat",
    "bus",
    "train",
    "elephant",
    "cow",
    "sheep",
    "mountain",
)
# What each kind of place is called, what is there, and what is not.
SCENES = {
    "buildings": ("city", ("building",), ("ocean", "forest", "elephant", "bed")),
    "forest": ("forest", ("tree", "forest"), ("ocean", "building", "person", "car", "bed")),
    "glacier": ("mountain", ("snow", "ice"), ("building", "car", "person", "dog", "bed")),
    "mountain": ("mountain", ("mountain",), ("bus", "person", "cat", "bed")),
    "sea": ("ocean", ("water", "ocean"), ("street", "bed", "dog", "horse")),
    "street": ("street", ("street", "building"), ("ocean", "mountain", "cat", "bed")),
}
AGREEING = 2  # so many of five people must say it
ASIDE = 20  # every so many of the questions without pictures is kept for "dev"


def caption_questions(data: Path, split: str, rng: random.Random) -> list[Question]:
    """Questions that rules make from Flickr8k's captions of a split ("train" or "dev")."""
    return _from_captions(datasets.flickr8k(data, split), rng)


def _from_captions(captions: Mapping[str, list[str]], rng: random.Random) -> list[Question]:
    found = [item for picture, texts in captions.items() for item in questions(picture, texts, rng)]
    for picture, texts in captions.items():
        places = agreed_nouns(texts)
        out, within = bool(places & OUTDOORS), bool(places & INDOORS)
        if out != within:
            found.append(_outdoors(picture, out, rng))
    return found + yes_no(captions, rng)


def _outdoors(picture: str, out: bool, rng: random.Random) -> Question:
    template = rng.choice(("outdoors?", "indoors?", "outdoors or indoors", "outside or inside"))
    if template.endswith("?"):
        answer = "yes" if out == (template == "outdoors?") else "no"
        return Question(picture, "yes/no", ask(template, rng), (answer,))
    answer = template.split(" or ")[0 if out else 1]
    return Question(picture, "place", ask(template, rng), (answer,))


def coco_questions(data: Path, split: str, rng: random.Random) -> list[Question]:
    """Questions from captions and boxes of COCO's photos; "dev" are those people asked about."""
    asked = {item.picture for item in datasets.coco_questions(data)}
    captions, boxes = (
        {name: texts for name, texts in table.items() if (name in asked) == (split == "dev")}
        for table in (datasets.coco_captions(data), datasets.coco_boxes(data))
    )
    return _from_captions(captions, rng) + box_questions(boxes, rng)


def described_questions(data: Path, rng: random.Random) -> list[Question]:
    """Questions from captions of COCO's pictures that are not there, their groups as names.

    Besides what the rules ask of any captions: which of the things are there that COCO has boxes
    of, how many, and what colour they have. What "this" is they are not asked: the rules know
    few of the things, and an imagined cup of which they know the table would be called that.
    """
    groups = dict(enumerate(datasets.coco_sentences(data)))
    captions = {str(group): texts for group, texts in groups.items()}
    labels = {box.label for boxes in datasets.coco_boxes(data).values() for box in boxes}
    found = [item for item in _from_captions(captions, rng) if item.kind != "object"]
    for label in sorted(labels - {*NOUNS}):
        found += thing_lessons(label, captions, rng)
    return found


def thing_lessons(
    label: str, captions: Mapping[str, list[str]], rng: random.Random
) -> list[Question]:
    """Whether a thing is on described pictures ("no" as often as "yes"), how many, its colour."""
    names = "|".join([label, *synonyms(label)])
    pattern = re.compile(rf"(?:([a-z]+) )?\b({names})\b")
    having, without, found = [], [], []
    for picture, texts in captions.items():
        said = [match for text in texts if (match := pattern.search(text.lower()))]
        if not said:
            without.append(picture)
        if len(said) < AGREEING:
            continue
        having.append(picture)
        before, agreed = Counter(match[1] for match in said).most_common(1)[0]
        if agreed >= AGREEING and before in NUMBERS:
            text = ask("number", rng, x=label)
            found.append(Question(picture, "number", text, (NUMBERS[before],)))
        if agreed >= AGREEING and before in COLOURS:
            found.append(colour_question(picture, label, before, rng))
        if label in COCO_ANIMALS:
            found.append(Question(picture, "object", ask("animal", rng), (label,)))
    for answer, pictures in (("yes", having), ("no", without)):
        found += [
            Question(picture, "yes/no", ask("presence", rng, x=label), (answer,))
            for picture in rng.sample(pictures, min(len(having), len(pictures)))
        ]
    return found


def box_questions(
    boxes: Mapping[str, Iterable[datasets.Box]], rng: random.Random
) -> list[Question]:
    """Is there one, how many, what animal: "no" of each thing as often as "yes"."""
    counts = {name: Counter(box.label for box in found) for name, found in boxes.items()}
    having = Counter(label for found in counts.values() for label in found)
    found = []
    for label, number in sorted(having.items()):
        without = [name for name in sorted(counts) if label not in counts[name]]
        having_it = [name for name in sorted(counts) if label in counts[name]]
        for answer, names in (("yes", having_it), ("no", without)):
            found += [
                Question(name, "yes/no", ask("presence", rng, x=label), (answer,))
                for name in rng.sample(names, min(number, len(names)))
            ]
        for name in having_it:
            many = str(counts[name][label])
            found.append(Question(name, "number", ask("number", rng, x=label), (many,)))
    for name, things in sorted(counts.items()):
        if animals := tuple(sorted(thing for thing in things if thing in COCO_ANIMALS)):
            found.append(Question(name, "object", ask("animal", rng), animals))
    return found


COCO_ANIMALS = {*ANIMALS, "elephant", "bear", "zebra", "giraffe"}


def daquar_questions(data: Path, split: str) -> list[Question]:
    """DAQUAR's questions and answers of a split; answers as shown, without underscores."""
    return [
        Question(item.picture, daquar_kind(item), item.question, item.answers)
        for item in datasets.daquar(data, split)
    ]


def daquar_kind(item: datasets.Asked) -> str:
    """The kind of one of DAQUAR's questions, told by its words and its answer."""
    if item.answers[0].isdecimal():
        return "number"
    return "colour" if "colo" in item.question else "object"


def room_questions(data: Path, split: str, rng: random.Random) -> list[Question]:
    """What is in DAQUAR's rooms, by what people named there in the answers to all questions.

    "Yes" and "no" are said of things that nobody overlooks, as often the one as the other.
    """
    named: dict[str, Counter[str]] = defaultdict(Counter)
    for item in daquar_questions(data, split):
        if item.kind == "object":
            named[item.picture].update(item.answers)
    found = []
    for picture, things in named.items():
        found.append(Question(picture, "object", ask("room", rng), tuple(sorted(things))))
        found.append(_outdoors(picture, False, rng))
        found.append(_absent(picture, ELSEWHERE, rng))
        here = [thing for thing in UNMISSABLE if thing in things]
        if here:
            absent = [thing for thing in UNMISSABLE if thing not in here]
            found.append(_present(picture, here, rng))
            found.append(_absent(picture, absent, rng))
    return found


def _present(picture: str, things: Iterable[str], rng: random.Random) -> Question:
    text = ask("presence", rng, x=rng.choice([*things]))
    return Question(picture, "yes/no", text, ("yes",))


def _absent(picture: str, things: Iterable[str], rng: random.Random) -> Question:
    text = ask("presence", rng, x=rng.choice([*things]))
    return Question(picture, "yes/no", text, ("no",))


def pet_questions(split: str, rng: random.Random) -> list[Question]:
    """What the cats and dogs of `pets` are; every fifth picture is for "dev"."""
    found = []
    for picture, animal in datasets.pets(split).items():
        other = "dog" if animal == "cat" else "cat"
        first, second = rng.sample([animal, other], 2)
        for kind, text, answer in (
            ("object", ask("animal", rng), animal),
            ("object", ask("what", rng), animal),
            ("object", ask("which", rng, x=first, y=second), animal),
            ("number", ask("number", rng, x=rng.choice((animal, "animal"))), "1"),
            ("yes/no", ask("presence", rng, x=animal), "yes"),
            ("yes/no", ask("presence", rng, x=other), "no"),
        ):
            found.append(Question(picture, kind, text, (answer,)))
    return found


def colour_question(picture: str, thing: str, colour: str, rng: random.Random) -> Question:
    """What colour the thing on a photo has."""
    template = rng.choice(("colour", "colour of it"))
    return Question(picture, "colour", ask(template, rng, s=thing), (colour,))


def scene_questions(split: str, rng: random.Random) -> list[Question]:
    """Where the photos of places were taken, and what is there."""
    found = []
    for picture, scene in datasets.scenes(split).items():
        place, there, not_there = SCENES[scene]
        found += [
            Question(picture, "place", ask("place", rng, s=rng.choice([*NOUNS])), (place,)),
            _present(picture, there, rng),
            _absent(picture, not_there, rng),
            _outdoors(picture, True, rng),
        ]
    return found


def people_questions(data: Path, split: str) -> list[datasets.Asked]:
    """People's questions without their pictures; every `ASIDE`-th is for "dev"."""
    return [
        item
        for i, item in enumerate(datasets.questions_without_pictures(data))
        if (i % ASIDE == 0) == (split == "dev")
    ]


def asked_by_people(data: Path) -> list[Question]:
    """People's questions about COCO's photos, all of them "dev"."""
    return [
        Question(item.picture, "", item.question, item.answers)
        for item in datasets.coco_questions(data)
    ]


def thing_questions(data: Path, split: str, rng: random.Random) -> list[Question]:
    """What the thing on ImageNet's photos is: its everyday word or a name of its class."""
    info = ImageNetInfo("imagenet-1k")
    everyday = {label: word for word, labels in everyday_words().items() for label in labels}
    found = []
    for picture, label in datasets.imagenet(data, split).items():
        names = info.index_to_description(label).lower().split(", ")
        found.append(Question(picture, "object", ask("what", rng), (everyday[label], *names)))
    return found
