"""What an embedded captioner says of pictures that it was not trained on.

    python -m benchmarks.captioning ../shared/data
    python -m benchmarks.captioning ../shared/data --show 60

All on dev parts: Flickr8k's split, ImageNet photos of classes of which no photo trained it, every
second of COCO's photos, every fifth cat and dog. Of all: higher is better.
"""

import math
import random
import tomllib
from bisect import bisect
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, TypeVar

import torch
import typer
from gradcam_core.models.embedded.show_and_tell import split_words
from gradcam_core.models.embedded.vqa_lstm import everyday_words
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from timm.data import ImageNetInfo
from tqdm import tqdm

import gradcam_core
from gradcam_core.models.embedded.lite import lite_classifier_layer
from training import datasets, sentences

T = TypeVar("T")

SEED = 0
SURE = 0.6  # probability of a class
_TABLE = tomllib.loads(Path(__file__).with_name("coco_things.toml").read_text(encoding="utf-8"))
_LIKELY = (0, 0.1, 0.2, 0.4, 0.6, 0.8)  # probabilities of words, from each to the next
_DOGS = frozenset(["dog", "dogs", "puppy", "puppies"])
_CANINES = range(151, 281)  # ImageNet's dogs, wolves and foxes


def main(
    data: Annotated[Path, typer.Argument(help="Folder of all data sets")],
    model: Annotated[str, typer.Option(help="A captioner's name")] = "lite0-caption",
    show: Annotated[int, typer.Option(help="Print so many captions of ImageNet photos")] = 0,
    photos: Annotated[int, typer.Option(help="At most so many photos of any other set")] = 1000,
) -> None:
    """Print every figure of the captioner's card."""
    for line in imagenet(data, model, show):
        print(line)
    for line in coco(data, model):
        print(line)
    for line in flickr8k(data, model, photos):
        print(line)
    for line in pets_and_rooms(data, model, photos):
        print(line)
    for line in words_believed(data, model):
        print(line)


# --- naming -------------------------------------------------------------------------------------


def names(label: int) -> list[str]:
    """What a thing of an ImageNet class may be called: its everyday word, and all its names."""
    everyday = [word for word, labels in everyday_words().items() if label in labels]
    described = ImageNetInfo("imagenet-1k").index_to_description(label).split(", ")
    return [" ".join(split_words(name)) for name in (*everyday, *described)]


def is_named(caption: str, called: Iterable[str]) -> bool:
    """Whether a caption has one of some names, or its plural."""
    said = f" {caption} "
    return any(f" {form} " in said for name in called for form in _forms(name))


def _forms(noun: str) -> list[str]:
    forms = [noun, f"{noun}s", f"{noun}es"]
    if noun.endswith("y"):
        forms.append(f"{noun[:-1]}ies")
    if noun.endswith(("f", "fe")):
        forms.append(f"{noun.removesuffix('e')[:-1]}ves")
    return forms


def imagenet(data: Path, name: str, show: int = 0) -> list[str]:
    """Whether captions name what an ImageNet photo shows."""
    model = gradcam_core.load(name, "captioning")
    labels = datasets.imagenet(data, "dev")
    classifier = lite_classifier_layer(2 if "2" in name else 0)
    said, sure, named, guessed = {}, {}, {}, {}
    photos = datasets.pictures(data, "imagenet", labels)
    for file, photo in tqdm(photos, "imagenet", total=len(labels)):
        encoded = model.encode(photo)
        (caption,) = model.predict(encoded, k=1)
        said[file], guessed[file] = caption.text, model.is_guess(encoded, caption)
        with torch.no_grad():
            best = classifier(encoded.features.mean((2, 3)).cpu()).softmax(1)[0].max(0)
        sure[file] = best.indices.item() == labels[file] and best.values.item() > SURE
        named[file] = is_named(said[file], names(labels[file]))
    for file in random.Random(SEED).sample(sorted(said), show):
        shown = ImageNetInfo("imagenet-1k").index_to_description(labels[file]).split(",")[0]
        print(f"{shown}: {said[file]}")
    others = [file for file, label in labels.items() if label not in _CANINES]
    no_dog = [not _DOGS & set(said[file].replace("hot dog", "").split()) for file in others]
    return [
        f"imagenet, {len(named)} photos of classes of which none trained it:",
        _share("the thing is named", named.values()),
        _share("where the classifier is sure and right", [named[f] for f in named if sure[f]]),
        _share("of captions called a guess", [named[f] for f in named if guessed[f]]),
        _share("of the other captions", [named[f] for f in named if not guessed[f]]),
        _share("no dog, wolf or fox there, and no dog said", no_dog),
        f"  different captions: {len(set(said.values())) / len(said):.3f} of {len(said)}",
    ]


def _share(label: str, hits: Collection[bool]) -> str:
    return f"  {label}: {sum(hits) / max(len(hits), 1):.3f} of {len(hits)}"


# --- people's sentences -------------------------------------------------------------------------


@cache
def _kinds() -> dict[str, str]:
    """Word or words -> the thing of COCO's 80 that they mean."""
    return {
        form: kind
        for kind, listed in _TABLE.items()
        for word in listed.split()
        for form in _forms(word.replace("_", " "))
    }


def things(caption: str) -> set[str]:
    """Which of COCO's 80 kinds of things a caption speaks of; the longest name counts."""
    words, found, i = split_words(caption), set(), 0
    while i < len(words):
        size = 2 if " ".join(words[i : i + 2]) in _kinds() else 1
        kind = _kinds().get(" ".join(words[i : i + size]))
        found |= {kind} if kind else set()
        i += size
    return found


def coco(data: Path, name: str) -> list[str]:
    """CIDEr and CHAIR (Rohrbach et al. 2018): things said that neither people nor boxes have."""
    written = datasets.coco_captions(data, "dev")
    boxes = datasets.coco_boxes(data)
    said = captions(data, "coco", name, list(written))
    scores = metrics(said.values(), written.values())
    true, mistaken, spoken = [], 0, 0
    for photo, caption in said.items():
        there = set().union(*map(things, written[photo]))
        there |= {box.label for box in boxes.get(photo, [])}
        wrong = things(caption) - there
        true.append(not wrong)
        mistaken += len(wrong)
        spoken += len(things(caption))
    return [
        f"coco, {len(said)} photos: CIDEr {scores['CIDEr']:.3f}, BLEU-4 {scores['BLEU-4']:.3f}",
        _share("captions without a thing that is not there (CHAIR-s)", true),
        f"  things said that are there (CHAIR-i): {1 - mistaken / max(spoken, 1):.3f} of {spoken}",
    ]


def flickr8k(data: Path, name: str, photos: int) -> list[str]:
    """BLEU and CIDEr against people's five captions."""
    written = _some(datasets.flickr8k(data, "dev"), photos)
    said = captions(data, "flickr8k", name, list(written))
    scores = metrics(said.values(), written.values())
    listed = ", ".join(f"{label} {score:.3f}" for label, score in scores.items())
    return [f"flickr8k, {len(said)} photos: {listed}"]


def pets_and_rooms(data: Path, name: str, photos: int) -> list[str]:
    """How often cats and dogs are called so, and something in a room that people named there."""
    pets = _some(datasets.pets("dev"), photos)
    said = captions(data, "pets", name, list(pets))
    lines = [
        _share(f"pets, called a {kind}", [kind in said[p].split() for p in pets if pets[p] == kind])
        for kind in ("cat", "dog")
    ]
    asked = [(item.picture, item.answers) for item in datasets.daquar(data, "dev")]
    rooms = _some(sentences.things_named(asked), photos)
    said = captions(data, "daquar", name, list(rooms))
    named = [
        is_named(said[room], [sentences.SPELLING.get(thing, thing) for thing in found])
        for room, found in rooms.items()
    ]
    return [*lines, _share("daquar, a thing that people named there is said", named)]


def words_believed(data: Path, name: str) -> list[str]:
    """How far the probability of a word can be believed: whether one of five people used it too."""
    written = datasets.coco_captions(data, "dev")
    used: list[list[bool]] = [[] for _ in _LIKELY]
    for file, photo in tqdm(datasets.pictures(data, "coco", set(written)), "words"):
        people = set().union(*map(split_words, written[file]))
        for word in gradcam_core.explain(photo, "captioning", model=name).words:
            likely = bisect(_LIKELY, math.exp(word.log_prob)) - 1
            used[likely].append(set(split_words(word.text)) <= people)
    return [
        "words said of coco's photos, and used by one of five people:",
        *(_share(f"probability from {low}", hits) for low, hits in zip(_LIKELY, used, strict=True)),
    ]


def _some(table: Mapping[str, T], n: int) -> dict[str, T]:
    names = random.Random(SEED).sample(list(table), min(n, len(table)))
    return {name: table[name] for name in names}


def captions(data: Path, source: str, model: str, files: Sequence[str]) -> dict[str, str]:
    """A model's best caption of some pictures of a set, in the order given."""
    captioner = gradcam_core.load(model, "captioning")
    photos = datasets.pictures(data, source, set(files))
    said = {
        file: captioner.predict(captioner.encode(photo), k=1)[0].text
        for file, photo in tqdm(photos, source, total=len(files))
    }
    return {file: said[file] for file in files}


def metrics(said: Iterable[str], people: Iterable[Sequence[str]]) -> Mapping[str, float]:
    """BLEU-1 to 4 and CIDEr of sentences against those of people, lower-case, no punctuation."""
    ours = {i: [text] for i, text in enumerate(said)}
    theirs = {i: [" ".join(split_words(t)) for t in texts] for i, texts in enumerate(people)}
    bleu, _ = Bleu(4).compute_score(theirs, ours, verbose=0)
    cider, _ = Cider().compute_score(theirs, ours)
    return {f"BLEU-{n}": score for n, score in enumerate(bleu, 1)} | {"CIDEr": float(cider)}


if __name__ == "__main__":
    typer.run(main)
