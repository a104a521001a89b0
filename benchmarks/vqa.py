"""What an embedded question answerer says of new pictures, and where its maps point.

python -m benchmarks.vqa ../shared/data
python -m benchmarks.vqa ../shared/data --model lite2-vqa
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
from gradcam_core.models.vqa_lstm import VqaLstm, load_lite_vqa, read_question
from training import datasets, lessons
from training.calibration import dev_questions
from training.questions import KINDS, Question
from training.vqa import kind_of

SEED = 0
WHAT_IS_THIS = "What is this?"
WHAT_ANIMAL = "What animal is this?"
CAT_OR_DOG = (WHAT_ANIMAL, "what animal", "Is it a cat or a dog?", "dog or cat?", "Which pet is it")
BINS = 10

# Of each first answer: its probability, and whether it is right.
Said = list[tuple[float, bool]]


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k, coco, daquar, pets, ...")],
    model: Annotated[str, typer.Option(help="An embedded answerer's name")] = "lite0-vqa",
    question_only: Annotated[
        Path | None, typer.Option(help="Weights of the model without pictures, to compare")
    ] = None,
    occluded: Annotated[
        int, typer.Option(help="Answers whose maps are compared with occlusion: 50 pictures each")
    ] = 200,
) -> None:
    """Print what is right on dev pictures, how far probabilities hold, and where maps point."""
    answerer = gradcam_core.load(model)
    blind = load_lite_vqa(0, question_only) if question_only else None
    sets = dev_questions(data)
    said = {
        label: accuracy(answerer, blind, data, folder, label, asked)
        for label, (folder, asked) in sets.items()
    }
    accuracy(answerer, blind, data, "pets", "cat or dog", cat_or_dog())
    what_is_this(answerer, data)
    kinds(answerer, data)
    reliability(answerer, said)
    collages(answerer, data)
    _, captions = sets["Flickr8k's captions"]
    if occluded:
        report("answers", answerer, list(answers(answerer, data, captions, occluded)))


def accuracy(
    model: VqaLstm,
    blind: VqaLstm | None,
    data: Path,
    folder: str,
    label: str,
    asked: Sequence[Question],
) -> Said:
    """Print the share of right first answers by kind, beside the model that sees no picture.

    An answer is right if it is one of the question's; where people gave a list as their answer
    (DAQUAR), one word is not the whole of it and counts as wrong.
    """
    of_picture = defaultdict(list)
    for item in asked:
        of_picture[item.picture].append(item)
    nothing = torch.zeros(1, 1280, 7, 7)
    right, guessed, said = defaultdict(list), defaultdict(list), []
    photos = datasets.pictures(data, folder, of_picture)
    for name, photo in tqdm(photos, label, total=len(of_picture)):
        encoded = model.encode(photo)
        for item in of_picture[name]:
            accepted = item.answers if folder != "daquar" else (", ".join(item.answers),)
            (best,) = model.predict(encoded, item.text, k=1)
            said.append((best.probability, best.text in accepted))
            for kind in (item.kind, "all"):
                right[kind].append(best.text in accepted)
            if blind:
                with torch.no_grad():
                    guess = blind.labels[blind.logits(nothing, item.text).argmax()]
                for kind in (item.kind, "all"):
                    guessed[kind].append(guess in accepted)
    print(f"{label}, {len(of_picture)} pictures:")
    for kind in ("all", *KINDS):
        if hits := right[kind]:
            without = f" (without the picture: {np.mean(guessed[kind]):.3f})" if blind else ""
            print(f"  {kind}: {np.mean(hits):.3f}{without}, {len(hits)} questions")
    return said


def cat_or_dog() -> list[Question]:
    """The dev cats and dogs, each asked in all the ways of `CAT_OR_DOG`."""
    return [
        Question(picture, "object", text, (animal,))
        for picture, animal in datasets.pets("dev").items()
        for text in CAT_OR_DOG
    ]


def what_is_this(model: VqaLstm, data: Path) -> None:
    """Print how often a photo of an ImageNet class is answered with its name or everyday word."""
    for split in ("dev", "train"):
        asked = lessons.thing_questions(data, split, random.Random(SEED))
        accepted = {item.picture: item.answers for item in asked}
        hits = [
            model.predict(model.encode(photo), WHAT_IS_THIS, k=1)[0].text in accepted[name]
            for name, photo in tqdm(datasets.pictures(data, "imagenet", accepted), "what is this")
        ]
        print(f"imagenet {split}, '{WHAT_IS_THIS}': {np.mean(hits):.3f}, {len(hits)} pictures")


def kinds(model: VqaLstm, data: Path) -> None:
    """Print how often people's questions get an answer of the right kind, of any dev photo."""
    rng = random.Random(SEED)
    names = rng.sample(sorted(datasets.flickr8k(data, "dev")), 50)
    encoded = [model.encode(photo) for _, photo in datasets.pictures(data, "flickr8k", names)]
    found = defaultdict(list)
    for item in tqdm(lessons.people_questions(data, "dev"), "kinds"):
        (best,) = model.predict(rng.choice(encoded), item.question, k=1)
        first, second, *_ = *read_question(item.question), "", ""
        if item.answers[0] in ("yes", "no"):
            found["yes/no, answered with yes or no"].append(best.text in ("yes", "no"))
        elif (first, second) == ("how", "many"):
            found["how many, answered with a number"].append(kind_of(best.text) == "number")
        elif first == "what" and second in ("color", "colour"):
            found["what colour, answered with one"].append(kind_of(best.text) == "colour")
        found["exactly as people did, without their picture"].append(best.text in item.answers)
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
