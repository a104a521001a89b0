"""How good an embedded question answerer is on new pictures, and where its maps point.

python -m benchmarks.vqa ../shared/data --work ../scratch
python -m benchmarks.vqa ../shared/data --work ../scratch --model lite2-vqa

Beside each figure is that of the same network without the picture: with another picture of the
data set, and with none. The difference is what the picture adds.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from tqdm import tqdm

import gradcam_core
from benchmarks.grounding import Case, report
from gradcam_core.models.embedded.answerer import VqaLstm
from gradcam_core.models.embedded.coattention_network import CoattentionNetwork
from gradcam_core.models.embedded.question import split_question
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
RESAMPLES = 10_000  # of the bootstrap
INTERVAL = (2.5, 97.5)  # percentiles
SHOWN = ("own", "another", "none")  # pictures that the network sees with a question

# The probability of each first answer, and whether it is correct.
Answered = list[tuple[float, bool]]


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k, coco, daquar, pets, ...")],
    work: Annotated[Path, typer.Option(help="Folder for features, as of training.vqa")] = Path(
        "../scratch"
    ),
    model: Annotated[str, typer.Option(help="An embedded answerer's name")] = "lite0-vqa",
    occluded: Annotated[
        int,
        typer.Option(
            help="Number of answers whose maps are compared with occlusion; each takes 50 passes"
        ),
    ] = 200,
) -> None:
    """Print accuracy on dev pictures, calibration, and where maps point."""
    answerer = gradcam_core.load(model)
    assert isinstance(answerer, VqaLstm)
    cache = work / "features"
    sets = dev_questions(data)
    answered = {
        label: accuracy(answerer, data, cache, folder, label, questions)
        for label, (folder, questions) in sets.items()
    }
    accuracy(answerer, data, cache, "pets", "cat or dog", cat_or_dog())
    for split in ("dev", "train"):
        accuracy(answerer, data, cache, "imagenet", f"things, {split}", what_is_this(data, split))
    kinds(answerer, data, cache)
    reliability(answerer, answered)
    collages(answerer, data)
    _, captions = sets["Flickr8k's captions"]
    if occluded:
        report("answers", answerer, list(answers(answerer, data, captions, occluded)))


@torch.no_grad()
def first_answers(
    model: VqaLstm, data: Path, cache: Path, folder: str, questions: Sequence[Question], shown: str
) -> list[tuple[str, float]]:
    """Return the first answer to each question and its probability.

    Args:
        model: The answerer.
        data: The folder of all data sets.
        cache: The folder of the features.
        folder: The data set of the questions' pictures.
        questions: The questions.
        shown: One of `SHOWN`.
    """
    backbone = int(model.name.removeprefix("lite")[0])
    with_cells = isinstance(model.network, CoattentionNetwork)
    origin = source(data, cache, folder, list(questions), backbone, with_cells)
    rows = torch.tensor(origin.rows)
    if shown == "another":
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED))]
    found = []
    for first in range(0, len(questions), CHUNK):
        pictures = origin.vectors[rows[first : first + CHUNK]]
        if shown == "none":
            pictures = torch.zeros_like(pictures)
        ids = [model.parse(item.text).ids for item in questions[first : first + CHUNK]]
        logits, _ = model.network(pictures, ids, torch.arange(len(ids)))
        best = (logits / model.temperature).softmax(1).max(1)
        found += [
            (model.labels[i], p)
            for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
    return found


def accuracy(
    model: VqaLstm, data: Path, cache: Path, folder: str, label: str, questions: Sequence[Question]
) -> Answered:
    """Print the share of correct first answers by kind, and without the picture.

    An answer is correct if it is one of the question's. Where people gave a list (DAQUAR), a
    single word of it is wrong.
    """
    accepted = [
        item.answers if folder != "daquar" else (", ".join(item.answers),) for item in questions
    ]
    found = {shown: first_answers(model, data, cache, folder, questions, shown) for shown in SHOWN}
    correct = {
        shown: np.array([text in texts for (text, _), texts in zip(given, accepted, strict=True)])
        for shown, given in found.items()
    }
    low, high = interval(correct["own"], [item.picture for item in questions])
    pictures = len({item.picture for item in questions})
    print(f"{label}, {pictures} pictures, 95 % interval {low:.3f} to {high:.3f}:")
    kind_of_each = np.array([item.kind for item in questions])
    for kind in ("all", *KINDS):
        here = np.full(len(questions), True) if kind == "all" else kind_of_each == kind
        if here.any():
            own, another, none = (correct[shown][here].mean() for shown in SHOWN)
            print(f"  {kind}: {own:.3f} (another picture {another:.3f}, none {none:.3f}), ", end="")
            print(f"{here.sum()} questions")
    return [(p, bool(hit)) for (_, p), hit in zip(found["own"], correct["own"], strict=True)]


def interval(correct: np.ndarray, pictures: Sequence[str]) -> tuple[float, float]:
    """Return the interval of the share of correct answers, bootstrapped over pictures."""
    _, picture = np.unique(pictures, return_inverse=True)
    hits = np.bincount(picture, correct)
    counts = np.bincount(picture)
    drawn = np.random.default_rng(SEED).integers(len(counts), size=(RESAMPLES, len(counts)))
    low, high = np.percentile(hits[drawn].sum(1) / counts[drawn].sum(1), INTERVAL)
    return low, high


def cat_or_dog() -> list[Question]:
    """Return all questions of `CAT_OR_DOG` for each dev cat and dog."""
    return [
        Question(picture, "object", text, (animal,))
        for picture, animal in datasets.pets("dev").items()
        for text in CAT_OR_DOG
    ]


def what_is_this(data: Path, split: str) -> list[Question]:
    """Return "What is this?" for ImageNet photos; class names and everyday words are correct."""
    questions = question_sets.thing_questions(data, split, random.Random(SEED))
    return [item._replace(text=WHAT_IS_THIS) for item in questions]


def kinds(model: VqaLstm, data: Path, cache: Path) -> None:
    """Print how often people's questions get an answer of the right kind, on random dev photos."""
    rng = random.Random(SEED)
    names = rng.sample(sorted(datasets.flickr8k(data, "dev")), 50)
    questions = [
        Question(rng.choice(names), "", item.question, item.answers)
        for item in question_sets.people_questions_without_pictures(data, "dev")
    ]
    given = first_answers(model, data, cache, "flickr8k", questions, "own")
    found = defaultdict(list)
    for item, (text, _) in zip(questions, given, strict=True):
        first, second, *_ = *split_question(item.text), "", ""
        if item.answers[0] in ("yes", "no"):
            found["yes/no, answered with yes or no"].append(text in ("yes", "no"))
        elif (first, second) == ("how", "many"):
            found["how many, answered with a number"].append(kind_of(text) == "number")
        elif first == "what" and second in ("color", "colour"):
            found["what colour, answered with one"].append(kind_of(text) == "colour")
        found["exactly as people did, without their picture"].append(text in item.answers)
    for label, hits in found.items():
        print(f"people's questions, {label}: {np.mean(hits):.3f}, {len(hits)} questions")


def reliability(model: VqaLstm, answered: dict[str, Answered]) -> None:
    """Print how often answers of each probability are correct; all data sets count equally."""
    every = [(p, hit, 1 / len(found)) for found in answered.values() for p, hit in found]
    probability, correct, weight = (np.array(column, float) for column in zip(*every, strict=True))
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    error = 0.0
    print(f"reliability, temperature {model.temperature}, unsure below {model.unsure_below}:")
    for i in range(BINS):
        if (here := bins == i).any():
            means = [
                np.average(column[here], weights=weight[here]) for column in (probability, correct)
            ]
            share = weight[here].sum() / weight.sum()
            error += share * abs(means[0] - means[1])
            print(f"  probability {means[0]:.2f}: {means[1]:.2f} correct, {share:.2f} of answers")
    print(f"  expected calibration error: {error:.3f}")
    for label, here in (
        ("sure", probability >= model.unsure_below),
        ("unsure", probability < model.unsure_below),
    ):
        share = weight[here].sum() / weight.sum()
        hits = np.average(correct[here], weights=weight[here])
        print(f"  {label}: {share:.2f} of answers, {hits:.2f} correct")


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
    query = gradcam_core.Query("vqa", question=WHAT_ANIMAL, model=model.name)
    for i, (cat, dog) in enumerate(tqdm(list(zip(cats, dogs, strict=True)), "collages")):
        halves = {"cat": cat, "dog": dog} if i % 2 else {"dog": dog, "cat": cat}
        collage = Image.new("RGB", (448, 224))
        for place, photo in enumerate(halves.values()):
            collage.paste(photo.resize((224, 224)), (224 * place, 0))
        found = gradcam_core.Explainer().explain_targets(collage, query, list(halves))
        for place, explanation in enumerate(found):
            column = explanation.heatmap.argmax() % collage.width
            inside = not explanation.no_evidence and column // 224 == place
            hits[explanation.target].append(inside)
        both.append({answer.text for answer in found[0].predictions[:2]} == {"cat", "dog"})
    for animal, inside in hits.items():
        print(f"collages, '{animal}' peaks in its half: {sum(inside)} of {len(inside)}")
    print(f"collages, cat and dog are the two best answers: {sum(both)} of {len(both)}")


def answers(
    model: VqaLstm, data: Path, questions: Sequence[Question], number: int
) -> Iterator[Case]:
    """Yield the model's correct answers to object questions about photos, one for each photo."""
    first = {}
    for item in random.Random(SEED).sample(questions, len(questions)):
        if item.kind == "object":
            first.setdefault(item.picture, item)
    found = 0
    for name, photo in datasets.pictures(data, "flickr8k", first):
        item = first[name]
        head = model.bind(model.encode(photo), item.text)
        (best,) = head.predictions(1)
        if best.text in item.answers:
            yield head, head.target(best.text), [0]
            found += 1
        if found == number:
            return


if __name__ == "__main__":
    typer.run(main)
