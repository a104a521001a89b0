"""The questions about the pictures of every data set, for training and evaluation.

Rules turn captions, boxes and labels into questions (training/questions.py); DAQUAR's questions are
people's own. People's questions about unavailable pictures teach which kind of answer a wording
asks for, and which answers are frequent.
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

# Objects that nobody overlooks: a room without an answer that names one does not have it.
UNMISSABLE = ("bed", "toilet", "bathtub", "stove", "refridgerator", "sink", "sofa", "television")
# Not seen in a room.
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
# Kind of scene -> its name, what is there, and what is not.
SCENES = {
    "buildings": ("city", ("building",), ("ocean", "forest", "elephant", "bed")),
    "forest": ("forest", ("tree", "forest"), ("ocean", "building", "person", "car", "bed")),
    "glacier": ("mountain", ("snow", "ice"), ("building", "car", "person", "dog", "bed")),
    "mountain": ("mountain", ("mountain",), ("bus", "person", "cat", "bed")),
    "sea": ("ocean", ("water", "ocean"), ("street", "bed", "dog", "horse")),
    "street": ("street", ("street", "building"), ("ocean", "mountain", "cat", "bed")),
}
AGREEING = 2  # how many of five people must mention something
DEV_STEP = 20  # every twentieth question without a picture is "dev"


def caption_questions(data: Path, split: str, rng: random.Random) -> list[Question]:
    """Return questions made from Flickr8k's captions, for the split "train" or "dev"."""
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
    """Return questions made from COCO's captions and boxes; photos people asked about are "dev"."""
    asked = {item.picture for item in datasets.coco_questions(data)}
    captions, boxes = (
        {name: texts for name, texts in table.items() if (name in asked) == (split == "dev")}
        for table in (datasets.coco_captions(data), datasets.coco_boxes(data))
    )
    return _from_captions(captions, rng) + box_questions(boxes, rng)


def described_questions(data: Path, rng: random.Random) -> list[Question]:
    """Return questions made from the captions of unavailable COCO pictures, named by their index.

    They include which of COCO's 80 things are there, how many, and of what colour. "What is this?"
    is not asked: the rules know few things, so the answer for a cup on a table would be "table".
    """
    groups = dict(enumerate(datasets.coco_sentences(data)))
    captions = {str(group): texts for group, texts in groups.items()}
    labels = {box.label for boxes in datasets.coco_boxes(data).values() for box in boxes}
    found = [item for item in _from_captions(captions, rng) if item.kind != "object"]
    for label in sorted(labels - {*NOUNS}):
        found += thing_questions_from_captions(label, captions, rng)
    return found


def thing_questions_from_captions(
    label: str, captions: Mapping[str, list[str]], rng: random.Random
) -> list[Question]:
    """Return questions on a thing's presence ("no" as often as "yes"), number and colour."""
    names = "|".join([label, *synonyms(label)])
    pattern = re.compile(rf"(?:([a-z]+) )?\b({names})\b")
    having, without, found = [], [], []
    for picture, texts in captions.items():
        mentions = [match for text in texts if (match := pattern.search(text.lower()))]
        if not mentions:
            without.append(picture)
        if len(mentions) < AGREEING:
            continue
        having.append(picture)
        before, agreed = Counter(match[1] for match in mentions).most_common(1)[0]
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
    """Return questions from boxes: is there one ("no" as often as "yes"), how many, what animal."""
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
    """Return DAQUAR's questions and answers for a split; answers without underscores."""
    return [
        Question(item.picture, daquar_kind(item), item.question, item.answers)
        for item in datasets.daquar(data, split)
    ]


def daquar_kind(item: datasets.AnsweredQuestion) -> str:
    """Return the kind of a DAQUAR question, from its words and its answer."""
    if item.answers[0].isdecimal():
        return "number"
    return "colour" if "colo" in item.question else "object"


def room_questions(data: Path, split: str, rng: random.Random) -> list[Question]:
    """Return questions about what DAQUAR's rooms contain, from people's answers to all questions.

    For things that nobody overlooks, "yes" and "no" are equally frequent.
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
    """Return questions about the cats and dogs of `pets`; every fifth picture is "dev"."""
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
    """Return a question about the colour of the thing in a photo."""
    template = rng.choice(("colour", "colour of it"))
    return Question(picture, "colour", ask(template, rng, s=thing), (colour,))


def scene_questions(split: str, rng: random.Random) -> list[Question]:
    """Return questions about where photos of scenes were taken, and what is there."""
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


def people_questions_without_pictures(data: Path, split: str) -> list[datasets.AnsweredQuestion]:
    """Return people's questions about unavailable pictures; every `DEV_STEP`-th is "dev"."""
    return [
        item
        for i, item in enumerate(datasets.questions_without_pictures(data))
        if (i % DEV_STEP == 0) == (split == "dev")
    ]


def people_coco_questions(data: Path) -> list[Question]:
    """Return people's questions about COCO's photos, all of them "dev"."""
    return [
        Question(item.picture, "", item.question, item.answers)
        for item in datasets.coco_questions(data)
    ]


def thing_questions(data: Path, split: str, rng: random.Random) -> list[Question]:
    """Ask what ImageNet's photos show; right are the everyday word and the names of the class."""
    info = ImageNetInfo("imagenet-1k")
    everyday = {label: word for word, labels in everyday_words().items() for label in labels}
    found = []
    for picture, label in datasets.imagenet(data, split).items():
        names = info.index_to_description(label).lower().split(", ")
        found.append(Question(picture, "object", ask("what", rng), (everyday[label], *names)))
    return found
