"""What an embedded question answerer says of new pictures, and where its maps point.

python -m benchmarks.vqa ../shared/data --work ../scratch
python -m benchmarks.vqa ../shared/data --work ../scratch --model lite2-vqa

Beside each figure stands that of the same head without the picture: shown another of the set, and
shown none. What the picture adds is the difference.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from gradcam_core.models.embedded.coattention import CoattentionHead
from gradcam_core.models.embedded.vqa_lstm import VqaLstm, read_question
from PIL import Image
from tqdm import tqdm

import gradcam_core
from benchmarks.grounding import Case, report
from training import datasets, question_sets
from training.answers import kind_of
from training.batches import source
from training.calibration import dev_questions
from training.questions import KINDS, Question
from training.vqa import CHUNK

SEED = 0
WHAT_IS_THIS = "What is this?"
WHAT_ANIMAL = "What animal is this?"
CAT_OR_DOG = (WHAT_ANIMAL, "what animal", "Is it a cat or a dog?", "dog or cat?", "Which pet is it")
BINS = 10
RESAMPLED = 10_000  # times, for an interval
INTERVAL = (2.5, 97.5)  # percentiles
SHOWN = ("own", "another", "none")  # pictures that a question is asked of

# Of each first answer: its probability, and whether it is right.
Said = list[tuple[float, bool]]


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k, coco, daquar, pets, ...")],
    work: Annotated[Path, typer.Option(help="Folder for features, as training.vqa has it")] = Path(
        "../scratch"
    ),
    model: Annotated[str, typer.Option(help="An embedded answerer's name")] = "lite0-vqa",
    occluded: Annotated[
        int, typer.Option(help="Answers whose maps are compared with occlusion: 50 pictures each")
    ] = 200,
) -> None:
    """Print what is right on dev pictures, how far probabilities hold, and where maps point."""
    answerer = gradcam_core.load(model)
    assert isinstance(answerer, VqaLstm)
    cache = work / "features"
    sets = dev_questions(data)
    said = {
        label: accuracy(answerer, data, cache, folder, label, asked)
        for label, (folder, asked) in sets.items()
    }
    accuracy(answerer, data, cache, "pets", "cat or dog", cat_or_dog())
    for split in ("dev", "train"):
        accuracy(answerer, data, cache, "imagenet", f"things, {split}", what_is_this(data, split))
    kinds(answerer, data, cache)
    reliability(answerer, said)
    collages(answerer, data)
    _, captions = sets["Flickr8k's captions"]
    if occluded:
        report("answers", answerer, list(answers(answerer, data, captions, occluded)))


@torch.no_grad()
def first_answers(
    model: VqaLstm, data: Path, cache: Path, folder: str, asked: Sequence[Question], shown: str
) -> list[tuple[str, float]]:
    """The first answer to each question and its probability.

    Args:
        model: Whose head is asked.
        data: The folder of all sets.
        cache: The folder of the features.
        folder: The set whose pictures are asked about.
        asked: The questions.
        shown: One of `SHOWN`.
    """
    backbone = int(model.name.removeprefix("lite")[0])
    with_cells = isinstance(model.head, CoattentionHead)
    origin = source(data, cache, folder, list(asked), backbone, with_cells)
    rows = torch.tensor(origin.rows)
    if shown == "another":
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED))]
    found = []
    for first in range(0, len(asked), CHUNK):
        looked = origin.vectors[rows[first : first + CHUNK]]
        if shown == "none":
            looked = torch.zeros_like(looked)
        questions = [model.encode_question(item.text) for item in asked[first : first + CHUNK]]
        logits, _ = model.head(looked, questions, torch.arange(len(questions)))
        best = (logits / model.temperature).softmax(1).max(1)
        found += [
            (model.labels[i], p)
            for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
    return found


def accuracy(
    model: VqaLstm, data: Path, cache: Path, folder: str, label: str, asked: Sequence[Question]
) -> Said:
    """Print the share of right first answers by kind, and without the picture.

    An answer is right if it is one of the question's; where people gave a list as their answer
    (DAQUAR), one word is not the whole of it and counts as wrong.
    """
    accepted = [
        item.answers if folder != "daquar" else (", ".join(item.answers),) for item in asked
    ]
    found = {shown: first_answers(model, data, cache, folder, asked, shown) for shown in SHOWN}
    right = {
        shown: np.array([text in texts for (text, _), texts in zip(said, accepted, strict=True)])
        for shown, said in found.items()
    }
    low, high = interval(right["own"], [item.picture for item in asked])
    pictures = len({item.picture for item in asked})
    print(f"{label}, {pictures} pictures; 95 % of resampled pictures give {low:.3f} to {high:.3f}:")
    of_kind = np.array([item.kind for item in asked])
    for kind in ("all", *KINDS):
        here = np.full(len(asked), True) if kind == "all" else of_kind == kind
        if here.any():
            own, another, none = (right[shown][here].mean() for shown in SHOWN)
            print(f"  {kind}: {own:.3f} (another picture {another:.3f}, none {none:.3f}), ", end="")
            print(f"{here.sum()} questions")
    return [(p, bool(hit)) for (_, p), hit in zip(found["own"], right["own"], strict=True)]


def interval(right: np.ndarray, pictures: Sequence[str]) -> tuple[float, float]:
    """Where the share of right answers lies if other pictures had been drawn (bootstrap)."""
    _, of_picture = np.unique(pictures, return_inverse=True)
    hits = np.bincount(of_picture, right)
    counts = np.bincount(of_picture)
    drawn = np.random.default_rng(SEED).integers(len(counts), size=(RESAMPLED, len(counts)))
    low, high = np.percentile(hits[drawn].sum(1) / counts[drawn].sum(1), INTERVAL)
    return low, high


def cat_or_dog() -> list[Question]:
    """The dev cats and dogs, each asked in all the ways of `CAT_OR_DOG`."""
    return [
        Question(picture, "object", text, (animal,))
        for picture, animal in datasets.pets("dev").items()
        for text in CAT_OR_DOG
    ]


def what_is_this(data: Path, split: str) -> list[Question]:
    """What the photos of ImageNet classes show: a name of the class or its everyday word."""
    asked = question_sets.thing_questions(data, split, random.Random(SEED))
    return [item._replace(text=WHAT_IS_THIS) for item in asked]


def kinds(model: VqaLstm, data: Path, cache: Path) -> None:
    """Print how often people's questions get an answer of the right kind, of any dev photo."""
    rng = random.Random(SEED)
    names = rng.sample(sorted(datasets.flickr8k(data, "dev")), 50)
    asked = [
        Question(rng.choice(names), "", item.question, item.answers)
        for item in question_sets.people_questions_without_pictures(data, "dev")
    ]
    said = first_answers(model, data, cache, "flickr8k", asked, "own")
    found = defaultdict(list)
    for item, (text, _) in zip(asked, said, strict=True):
        first, second, *_ = *read_question(item.text), "", ""
        if item.answers[0] in ("yes", "no"):
            found["yes/no, answered with yes or no"].append(text in ("yes", "no"))
        elif (first, second) == ("how", "many"):
            found["how many, answered with a number"].append(kind_of(text) == "number")
        elif first == "what" and second in ("color", "colour"):
            found["what colour, answered with one"].append(kind_of(text) == "colour")
        found["exactly as people did, without their picture"].append(text in item.answers)
    for label, hits in found.items():
        print(f"people's questions, {label}: {np.mean(hits):.3f}, {len(hits)} questions")


def reliability(model: VqaLstm, said: dict[str, Said]) -> None:
    """Print how often answers of each probability are right, all sets counting alike."""
    every = [(p, right, 1 / len(found)) for found in said.values() for p, right in found]
    probability, right, weight = (np.array(column, float) for column in zip(*every, strict=True))
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    gap = 0.0
    print(f"reliability, temperature {model.temperature}, unsure below {model.unsure_below}:")
    for i in range(BINS):
        if (here := place == i).any():
            means = [
                np.average(column[here], weights=weight[here]) for column in (probability, right)
            ]
            share = weight[here].sum() / weight.sum()
            gap += share * abs(means[0] - means[1])
            print(f"  {means[0]:.2f} said, {means[1]:.2f} right, {share:.2f} of the answers")
    print(f"  expected calibration error: {gap:.3f}")
    for label, here in (
        ("sure", probability >= model.unsure_below),
        ("unsure", probability < model.unsure_below),
    ):
        share = weight[here].sum() / weight.sum()
        hits = np.average(right[here], weights=weight[here])
        print(f"  {label}: {share:.2f} of the answers, {hits:.2f} right")


def collages(model: VqaLstm, data: Path) -> None:
    """Print how often the maps of "cat" and "dog" peak in their halves of a cat beside a dog."""
    animals = datasets.pets("dev")
    photos = dict(datasets.pictures(data, "pets", animals))
    cats, dogs = (
        [photos[name] for name, animal in animals.items() if animal == wanted]
        for wanted in ("cat", "dog")
    )
    hits: dict[str, list[bool]] = {"cat": [], "dog": []}
    both = []
    for i, (cat, dog) in enumerate(tqdm(list(zip(cats, dogs, strict=True)), "collages")):
        halves = ("cat", "dog") if i % 2 else ("dog", "cat")
        collage = Image.new("RGB", (448, 224))
        for place, animal in enumerate(halves):
            photo = {"cat": cat, "dog": dog}[animal]
            collage.paste(photo.resize((224, 224)), (224 * place, 0))
        for place, animal in enumerate(halves):
            found = gradcam_core.explain(
                collage, "vqa", question=WHAT_ANIMAL, target=animal, model=model.name
            )
            column = found.heatmap.argmax() % collage.width
            hits[animal].append(not found.no_evidence and column // 224 == place)
        both.append({answer.text for answer in found.predictions[:2]} == {"cat", "dog"})
    for animal, inside in hits.items():
        print(f"collages, '{animal}' peaks in its half: {sum(inside)} of {len(inside)}")
    print(f"collages, cat and dog are the two best answers: {sum(both)} of {len(both)}")


def answers(model: VqaLstm, data: Path, asked: Sequence[Question], number: int) -> Iterator[Case]:
    """Give the model's own right answers to object questions about photos, one for each."""
    first = {}
    for item in random.Random(SEED).sample(asked, len(asked)):
        if item.kind == "object":
            first.setdefault(item.picture, item)
    found = 0
    for name, photo in datasets.pictures(data, "flickr8k", first):
        encoded = model.encode(photo)
        item = first[name]
        (best,) = model.predict(encoded, item.text, k=1)
        if best.text in item.answers:
            yield encoded, model.target(best.text, item.text), [0]
            found += 1
        if found == number:
            return


if __name__ == "__main__":
    typer.run(main)
