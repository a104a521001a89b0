"""How good an embedded captioner's captions are, for pictures that it was not trained on.

    python -m benchmarks.captioning ../shared/data
    python -m benchmarks.captioning ../shared/data --show 60

All pictures are from dev splits: that of Flickr8k, ImageNet photos of classes without a training
photo, every second COCO photo, every fifth cat and dog. For all figures, higher is better.
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
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from timm.data import ImageNetInfo
from tqdm import tqdm

import gradcam_core
from gradcam_core.models.embedded.caption_text import split_words
from gradcam_core.models.embedded.everyday import everyday_words
from gradcam_core.models.embedded.lite import lite_classifier_layer
from training import datasets, sentences

T = TypeVar("T")

SEED = 0
SURE = 0.6  # probability of a class from which the classifier is sure
_TABLE = tomllib.loads(Path(__file__).with_name("coco_things.toml").read_text(encoding="utf-8"))
_BINS = (0, 0.1, 0.2, 0.4, 0.6, 0.8)  # lower limits, of the probability of a word
_DOGS = frozenset(["dog", "dogs", "puppy", "puppies"])
_CANINES = range(151, 281)  # ImageNet's dogs, wolves and foxes


def main(
    data: Annotated[Path, typer.Argument(help="Folder of all data sets")],
    model: Annotated[str, typer.Option(help="A captioner's name")] = "lite0-caption",
    show: Annotated[int, typer.Option(help="Number of captions of ImageNet photos to print")] = 0,
    photos: Annotated[int, typer.Option(help="Largest number of photos of each other set")] = 1000,
) -> None:
    """Print every figure of the captioner's model card."""
    for lines in (
        imagenet(data, model, show),
        coco(data, model),
        flickr8k(data, model, photos),
        pets_and_rooms(data, model, photos),
        word_calibration(data, model),
    ):
        print(*lines, sep="\n")


def names(label: int) -> list[str]:
    """Return what an object of an ImageNet class may be called: everyday word and class names."""
    everyday = [word for word, labels in everyday_words().items() if label in labels]
    described = ImageNetInfo("imagenet-1k").index_to_description(label).split(", ")
    return [" ".join(split_words(name)) for name in (*everyday, *described)]


def is_named(caption: str, accepted: Iterable[str]) -> bool:
    """Return whether a caption contains one of the accepted names, or its plural."""
    padded = f" {caption} "
    return any(f" {form} " in padded for name in accepted for form in _forms(name))


def _forms(noun: str) -> list[str]:
    forms = [noun, f"{noun}s", f"{noun}es"]
    if noun.endswith("y"):
        forms.append(f"{noun[:-1]}ies")
    if noun.endswith(("f", "fe")):
        forms.append(f"{noun.removesuffix('e')[:-1]}ves")
    return forms


def imagenet(data: Path, name: str, show: int = 0) -> list[str]:
    """Return how often captions name what an ImageNet photo shows."""
    model = gradcam_core.load(name, "captioning")
    labels = datasets.imagenet(data, "dev")
    classifier = lite_classifier_layer(2 if "2" in name else 0)
    written, sure, named, guessed = {}, {}, {}, {}
    photos = datasets.pictures(data, "imagenet", labels)
    for file, photo in tqdm(photos, "imagenet", total=len(labels)):
        head = model.bind(model.encode(photo))
        (caption,) = head.predictions(1)
        written[file], guessed[file] = caption.text, head.is_guess(caption)
        with torch.no_grad():
            pooled = head.encoded.head_input.mean((2, 3)).cpu()
            best = classifier(pooled).softmax(1)[0].max(0)
        sure[file] = best.indices.item() == labels[file] and best.values.item() > SURE
        named[file] = is_named(caption.text, names(labels[file]))
    for file in random.Random(SEED).sample(sorted(written), show):
        shown = ImageNetInfo("imagenet-1k").index_to_description(labels[file]).split(",")[0]
        print(f"{shown}: {written[file]}")
    others = [file for file, label in labels.items() if label not in _CANINES]
    no_dog = [not _DOGS & set(written[file].replace("hot dog", "").split()) for file in others]
    return [
        f"imagenet, {len(named)} photos of classes without a training photo:",
        _share("captions that name the object", named.values()),
        _share(
            "of photos that the classifier surely recognizes", [named[f] for f in named if sure[f]]
        ),
        _share("of captions that are a guess", [named[f] for f in named if guessed[f]]),
        _share("of the other captions", [named[f] for f in named if not guessed[f]]),
        _share("captions without a dog, of photos without dog, wolf, or fox", no_dog),
        f"  different captions: {len(set(written.values())) / len(written):.3f} of {len(written)}",
    ]


def _share(label: str, hits: Collection[bool]) -> str:
    return f"  {label}: {sum(hits) / max(len(hits), 1):.3f} of {len(hits)}"


@cache
def _kinds() -> dict[str, str]:
    """Return one or two words -> the COCO category, of 80, that they mean."""
    return {
        form: kind
        for kind, listed in _TABLE.items()
        for word in listed.split()
        for form in _forms(word.replace("_", " "))
    }


def things(caption: str) -> set[str]:
    """Return the COCO categories, of 80, that a caption mentions; the longest name counts."""
    words, found, i = split_words(caption), set(), 0
    while i < len(words):
        size = 2 if " ".join(words[i : i + 2]) in _kinds() else 1
        kind = _kinds().get(" ".join(words[i : i + size]))
        found |= {kind} if kind else set()
        i += size
    return found


def coco(data: Path, name: str) -> list[str]:
    """Return CIDEr, and how many mentioned objects are in the photo.

    CHAIR (Rohrbach et al. 2018): an object is in the photo if a person's caption or box has it.
    """
    references = datasets.coco_captions(data, "dev")
    boxes = datasets.coco_boxes(data)
    written = captions(data, "coco", name, list(references))
    scores = metrics(written.values(), references.values())
    correct, wrong, mentioned = [], 0, 0
    for photo, caption in written.items():
        present = set().union(*map(things, references[photo]))
        present |= {box.label for box in boxes.get(photo, [])}
        absent = things(caption) - present
        correct.append(not absent)
        wrong += len(absent)
        mentioned += len(things(caption))
    share = 1 - wrong / max(mentioned, 1)
    return [
        f"coco, {len(written)} photos: CIDEr {scores['CIDEr']:.3f}, BLEU-4 {scores['BLEU-4']:.3f}",
        _share("captions without a wrong object (CHAIR-s)", correct),
        f"  mentioned objects that are in the photo (CHAIR-i): {share:.3f} of {mentioned}",
    ]


def flickr8k(data: Path, name: str, photos: int) -> list[str]:
    """Return BLEU and CIDEr against people's five captions."""
    references = _sample(datasets.flickr8k(data, "dev"), photos)
    written = captions(data, "flickr8k", name, list(references))
    scores = metrics(written.values(), references.values())
    listed = ", ".join(f"{label} {score:.3f}" for label, score in scores.items())
    return [f"flickr8k, {len(written)} photos: {listed}"]


def pets_and_rooms(data: Path, name: str, photos: int) -> list[str]:
    """Return how often captions name cats and dogs, and an object that people named in a room."""
    pets = _sample(datasets.pets("dev"), photos)
    written = captions(data, "pets", name, list(pets))
    lines = [
        _share(
            f"pets, captions of a {kind} that say so",
            [kind in written[pet].split() for pet in pets if pets[pet] == kind],
        )
        for kind in ("cat", "dog")
    ]
    answers = [(item.picture, item.answers) for item in datasets.daquar(data, "dev")]
    rooms = _sample(sentences.things_named(answers), photos)
    written = captions(data, "daquar", name, list(rooms))
    named = [
        is_named(written[room], [sentences.SPELLING.get(thing, thing) for thing in found])
        for room, found in rooms.items()
    ]
    return [*lines, _share("daquar, captions with an object that people named there", named)]


def word_calibration(data: Path, name: str) -> list[str]:
    """Return for words of each probability how often one of five people used the word too."""
    references = datasets.coco_captions(data, "dev")
    used: list[list[bool]] = [[] for _ in _BINS]
    for file, photo in tqdm(datasets.pictures(data, "coco", set(references)), "words"):
        people = set().union(*map(split_words, references[file]))
        for word in gradcam_core.explain(photo, "captioning", model=name).words:
            place = bisect(_BINS, math.exp(word.log_prob)) - 1
            used[place].append(set(split_words(word.text)) <= people)
    return [
        "words in captions of coco's photos that one of five people used too:",
        *(_share(f"probability from {low}", hits) for low, hits in zip(_BINS, used, strict=True)),
    ]


def _sample(table: Mapping[str, T], n: int) -> dict[str, T]:
    names = random.Random(SEED).sample(list(table), min(n, len(table)))
    return {name: table[name] for name in names}


def captions(data: Path, source: str, model: str, files: Sequence[str]) -> dict[str, str]:
    """Return a model's best caption of each picture of a data set, in the order of `files`."""
    captioner = gradcam_core.load(model, "captioning")
    photos = datasets.pictures(data, source, set(files))
    written = {
        file: captioner.bind(captioner.encode(photo)).predictions(1)[0].text
        for file, photo in tqdm(photos, source, total=len(files))
    }
    return {file: written[file] for file in files}


def metrics(written: Iterable[str], people: Iterable[Sequence[str]]) -> Mapping[str, float]:
    """Return BLEU-1 to 4 and CIDEr of captions, lower-case and without punctuation."""
    ours = {i: [text] for i, text in enumerate(written)}
    theirs = {i: [" ".join(split_words(t)) for t in texts] for i, texts in enumerate(people)}
    bleu, _ = Bleu(4).compute_score(theirs, ours, verbose=0)
    cider, _ = Cider().compute_score(theirs, ours)
    return {f"BLEU-{n}": score for n, score in enumerate(bleu, 1)} | {"CIDEr": float(cider)}


if __name__ == "__main__":
    typer.run(main)
