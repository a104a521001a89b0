"""What an embedded question answerer says of new pictures, and where its maps point.

python -m training.vqa ../shared/data --work ../scratch --question-only
python -m benchmarks.vqa ../shared/data ../scratch/lite0-vqa-question-only.safetensors
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image
from tqdm import tqdm

import gradcam_core
from benchmarks.captioning import pictures
from benchmarks.grounding import Case, report
from gradcam_core.models.vqa_lstm import VqaLstm, everyday_words, load_lite_vqa
from training.questions import KINDS, Question
from training.vqa import caption_questions, daquar_questions, pet_questions

SEED = 0
WHAT_IS_THIS = "What is this?"
WHAT_ANIMAL = "What animal is this?"
CAT_OR_DOG = (WHAT_ANIMAL, "what animal", "Is it a cat or a dog?", "dog or cat?", "Which pet is it")


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k, daquar, pets, imagenet")],
    question_only: Annotated[Path, typer.Argument(help="Weights of the model without pictures")],
    backbone: Annotated[int, typer.Option(help="0 or 2, of the EfficientNet-Lites")] = 0,
) -> None:
    """Print the accuracy on all sets, the collages' peaks and the maps' rank correlation."""
    model, blind = load_lite_vqa(backbone), load_lite_vqa(0, question_only)
    rng = random.Random(SEED)
    sets = (
        ("flickr8k", "questions from captions", caption_questions(data, "dev", rng)),
        ("daquar", "daquar, exact match", daquar_questions(data, "dev")),
        ("pets", "pets, all questions", pet_questions(data, "dev", rng)),
        ("pets", "pets, cat or dog", cat_or_dog(data)),
    )
    for folder, label, asked in sets:
        accuracy(model, blind, data / folder, label, asked)
    what_is_this(model, data / "imagenet")
    collages(data / "pets", model.name)
    cases = list(answers(model, data / "flickr8k", sets[0][2]))
    report("answers", model, cases)


def cat_or_dog(data: Path) -> list[Question]:
    """The dev cats and dogs, each asked in all the ways of `CAT_OR_DOG`."""
    found = {item.picture for item in pet_questions(data, "dev", random.Random(SEED))}
    return [
        Question(picture, "object", text, (picture.split("/")[0],))
        for picture in sorted(found)
        for text in CAT_OR_DOG
    ]


def accuracy(
    model: VqaLstm, blind: VqaLstm, folder: Path, label: str, asked: list[Question]
) -> None:
    """Print the share of right first answers by kind, beside the model that sees no picture.

    An answer is right if it is one of the question's; where people gave a list as their answer
    (DAQUAR), one word is not the whole of it and counts as wrong.
    """
    of_picture = defaultdict(list)
    for item in asked:
        of_picture[item.picture].append(item)
    nothing = torch.zeros(1, 1280, 7, 7)
    right, guessed = defaultdict(list), defaultdict(list)
    for name, picture in tqdm(pictures(folder, of_picture), label, total=len(of_picture)):
        features = model.encode(picture).features
        for item in of_picture[name]:
            accepted = item.answers if folder.name != "daquar" else (", ".join(item.answers),)
            for found, answerer, shown in ((right, model, features), (guessed, blind, nothing)):
                with torch.no_grad():
                    best = answerer.labels[answerer.logits(shown, item.text).argmax()]
                found[item.kind].append(best in accepted)
                found["all"].append(best in accepted)
    print(f"{label}, {len(of_picture)} pictures (without the picture):")
    for kind in ("all", *KINDS):
        if hits := right[kind]:
            guesses = guessed[kind]
            print(
                f"  {kind}: {sum(hits) / len(hits):.3f} ({sum(guesses) / len(guesses):.3f}), "
                f"{len(hits)} questions"
            )


def what_is_this(model: VqaLstm, folder: Path) -> None:
    """Print how often a photo of an ImageNet class is answered with its name or everyday word."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    everyday = {label: word for word, labels in everyday_words().items() for label in labels}
    accepted = {
        f"{wnid}.jpg": {
            everyday[i],
            *(name.lower() for name in info.index_to_description(i).split(", ")),
        }
        for i, wnid in enumerate(info.label_names())
    }
    hits = [
        model.predict(model.encode(picture), WHAT_IS_THIS, k=1)[0].text in accepted[name]
        for name, picture in tqdm(pictures(folder, accepted), "what is this")
    ]
    print(f"imagenet, '{WHAT_IS_THIS}': {sum(hits) / len(hits):.3f}, {len(hits)} pictures")


def collages(folder: Path, model: str) -> None:
    """Print how often the maps of "cat" and "dog" peak in their halves of a cat beside a dog."""
    names = [f"{animal}/{i:04}.jpg" for animal in ("cat", "dog") for i in range(0, 700, 5)]
    photos = dict(pictures(folder, names))
    cats, dogs = ([photos[n] for n in names if n.startswith(animal)] for animal in ("cat", "dog"))
    hits, both = {"cat": [], "dog": []}, []
    for i, (cat, dog) in enumerate(tqdm(list(zip(cats, dogs, strict=True)), "collages")):
        halves = ("cat", "dog") if i % 2 else ("dog", "cat")
        collage = Image.new("RGB", (448, 224))
        for place, animal in enumerate(halves):
            photo = {"cat": cat, "dog": dog}[animal]
            collage.paste(photo.resize((224, 224)), (224 * place, 0))
        for place, animal in enumerate(halves):
            found = gradcam_core.explain(
                collage, "vqa", question=WHAT_ANIMAL, target=animal, model=model
            )
            column = found.heatmap.argmax() % collage.width
            hits[animal].append(not found.no_evidence and column // 224 == place)
        both.append({answer.text for answer in found.predictions[:2]} == {"cat", "dog"})
    for animal, inside in hits.items():
        print(f"collages, '{animal}' peaks in its half: {sum(inside)} of {len(inside)}")
    print(f"collages, cat and dog are the two best answers: {sum(both)} of {len(both)}")


def answers(model: VqaLstm, folder: Path, asked: list[Question]) -> Iterator[Case]:
    """Give the model's own right answers to object questions about 200 photos, one for each."""
    first = {}
    for item in random.Random(SEED).sample(asked, len(asked)):
        if item.kind == "object":
            first.setdefault(item.picture, item)
    found = 0
    for name, picture in pictures(folder, first):
        encoded = model.encode(picture)
        item = first[name]
        best = model.predict(encoded, item.text, k=1)[0].text
        if best in item.answers:
            yield encoded, model.target(best, item.text), [0]
            found += 1
        if found == 200:
            return


if __name__ == "__main__":
    typer.run(main)
