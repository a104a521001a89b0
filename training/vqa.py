"""Train the embedded question answerers: a head on the frozen EfficientNet-Lite0 or Lite2.

    python -m training.vqa ../shared/data --work ../scratch
    python -m training.vqa ../shared/data --work ../scratch --backbone 2
    python -m training.vqa ../shared/data --work ../scratch --question-only

The CNN is frozen, so pictures are read as pooled features (training/features.py) and a step
costs little more than the LSTM over the batch's different questions. Besides pictures with
people's answers, two kinds of made-up feature vectors are answered: means of a cat's and a
dog's (what pooling gives for the two side by side), and pictures pushed towards the weight
vector of an ImageNet class, so that all 1000 classes are answered, not only the few that the
photos show. People's questions about rooms are mostly asked of other rooms than theirs, and
answered by a teacher (training/rooms.py).
"""

import csv
import json
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from gradcam_core.models.lite import lite_classifier_layer
from gradcam_core.models.vqa_lstm import (
    UNKNOWN,
    WEIGHTS,
    VqaHead,
    everyday_words,
    read_question,
)
from training.features import features
from training.questions import Question, ask, questions, yes_no
from training.rooms import Teacher

SEED = 0
# Chosen on the dev pictures, as are the model's dropout and sizes.
EPOCHS = 20
STEPS = 150  # in an epoch
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.1
AVERAGE = 0.998  # decay of the running mean of the weights
NOISE = 0.1  # share of question words made unknown
WORDINGS = 3  # of each question made by rules
VIEWS = ("whole", "whole-flip")
OTHER_ROOM = 0.85  # share of the questions about rooms that are asked of any other
OWN_ANSWER = 0.5  # what people's answer about a room counts; the rest is the teacher's
# Rows of a batch by source.
SHARES = {"captions": 104, "daquar": 144, "pets": 40, "collage": 8, "imagenet": 40}
# What nobody overlooks in a room: if it was not named, it is not there.
UNMISSABLE = ("bed", "toilet", "bathtub", "stove", "refridgerator", "sink", "sofa", "television")
ANIMALS = range(398)  # of the ImageNet classes
FOODS = (*range(924, 970), 987, 988)
VEHICLES = ("car", "truck", "bus", "train", "boat", "ship", "bicycle", "motorcycle", "plane", "van")


def flickr8k_captions(data: Path, split: str) -> dict[str, list[str]]:
    """What people wrote about each picture of Flickr8k of a split ("train" or "dev")."""
    captions = defaultdict(list)
    with (data / "flickr8k" / "captions.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == split:
                captions[row["image"]].append(row["caption"])
    return captions


def caption_questions(data: Path, split: str, rng: random.Random) -> list[Question]:
    """Questions that rules make from Flickr8k's captions of a split ("train" or "dev")."""
    captions = flickr8k_captions(data, split)
    found = [item for picture, texts in captions.items() for item in questions(picture, texts, rng)]
    return found + yes_no(captions, rng)


def daquar_questions(data: Path, split: str) -> list[Question]:
    """DAQUAR's questions and answers of a split; answers as shown, without underscores."""
    found = []
    with (data / "daquar" / "questions.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == split:
                answers = tuple(row["answer"].replace("_", " ").split(", "))
                found.append(Question(row["image"], daquar_kind(row), row["question"], answers))
    return found


def room_questions(data: Path, split: str, rng: random.Random) -> list[Question]:
    """What is in DAQUAR's rooms, by what people named there in the answers to all questions.

    "Yes" and "no" are said of things that nobody overlooks, as often the one as the other.
    """
    named: dict[str, Counter] = defaultdict(Counter)
    for item in daquar_questions(data, split):
        if item.kind == "object":
            named[item.picture].update(item.answers)
    found = []
    for picture, things in named.items():
        found.append(Question(picture, "object", ask("room", rng), tuple(sorted(things))))
        here = [thing for thing in UNMISSABLE if thing in things]
        if here:
            absent = rng.choice([thing for thing in UNMISSABLE if thing not in here])
            for thing, answer in ((rng.choice(here), "yes"), (absent, "no")):
                found.append(Question(picture, "yes/no", ask("presence", rng, x=thing), (answer,)))
    return found


def daquar_kind(row: dict[str, str]) -> str:
    """The kind of one of DAQUAR's questions, told by its words and its answer."""
    if row["answer"].isdecimal():
        return "number"
    return "colour" if "colo" in row["question"] else "object"


def pet_questions(data: Path, split: str, rng: random.Random) -> list[Question]:
    """What the cats and dogs of `pets` are; every fifth picture is for "dev"."""
    found = []
    for animal, other in (("cat", "dog"), ("dog", "cat")):
        for number in range(700):
            if (number % 5 == 0) != (split == "dev"):
                continue
            picture = f"{animal}/{number:04}.jpg"
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


@dataclass
class Source:
    """Questions about one set of pictures, and the pictures' features."""

    questions: list[Question]
    vectors: Tensor  # (pictures, views, 1280)
    rows: list[int]  # of each question


@dataclass
class Vocabulary:
    """Words of questions and answers, each with its index."""

    words: dict[str, int]
    answers: dict[str, int]

    def encode(self, question: str) -> Tensor:
        """Indices (length,) int64 of a question's words; `UNKNOWN` for a new one."""
        return torch.tensor([self.words.get(word, UNKNOWN) for word in read_question(question)])


def source(data: Path, cache: Path, name: str, asked: list[Question], backbone: int) -> Source:
    """Join questions about the set `name` with the features of its pictures."""
    pictures = sorted({item.picture for item in asked})
    vectors = features(data / name / "images.tar", pictures, VIEWS, cache, backbone)
    row = {picture: i for i, picture in enumerate(pictures)}
    return Source(asked, torch.from_numpy(vectors), [row[item.picture] for item in asked])


def vocabulary(
    sources: Sequence[Source], everyday: Sequence[str], rng: random.Random
) -> Vocabulary:
    """Every word and every answer that comes at least twice, and every everyday word."""
    words, answers = Counter(), Counter()
    for origin in sources:
        for item in origin.questions:
            words.update(read_question(item.text))
            answers.update(item.answers)
    for word in everyday:
        words.update(read_question(word) * 2)
        words.update(read_question(ask("number", rng, x=word)) * 2)
        answers[word] += 2
    kept = sorted(word for word, count in words.items() if count > 1)
    known = sorted(answer for answer, count in answers.items() if count > 1)
    return Vocabulary(
        {"<unknown>": UNKNOWN} | {word: i for i, word in enumerate(kept, 1)},
        {answer: i for i, answer in enumerate(known)},
    )


def shares(answers: Sequence[Sequence[str]], words: Vocabulary) -> Tensor:
    """The share of each answer, (n, answers), all alike; zeros where none is known."""
    found = torch.zeros(len(answers), len(words.answers))
    for i, said in enumerate(answers):
        for answer in said:
            if answer in words.answers:
                found[i, words.answers[answer]] = 1
    return found / found.sum(1, keepdim=True).clamp(min=1)


def room_teacher(data: Path, rooms: Source, words: Vocabulary, blind: bool) -> Teacher:
    """The teacher for DAQUAR's questions, which come first among those of `rooms`."""
    asked = daquar_questions(data, "train")
    texts = [" ".join((item.text, *item.answers)) for item in asked]
    for captions in flickr8k_captions(data, "train").values():
        texts += captions
    return Teacher(
        [item.text for item in asked],
        rooms.vectors.float().mean(1)[rooms.rows[: len(asked)]],
        shares([item.answers for item in asked], words),
        texts,
        blind,
    )


class Batches:
    """Draws batches: pooled features, different questions, which is whose, answers as shares."""

    def __init__(
        self,
        sources: dict[str, Source],
        words: Vocabulary,
        teacher: Teacher,
        classifier: nn.Linear,
        blind: bool,
    ) -> None:
        """Get ready.

        Args:
            sources: Of questions about pictures: "captions", "daquar", "pets".
            words: Of questions and answers.
            teacher: Fitted to the first questions of "daquar".
            classifier: 1280 -> 1000, the backbone's own.
            blind: Show zeros instead of features: what can be answered without a picture?
        """
        self.sources = sources
        self.words = words
        self.teacher = teacher
        self.rng = random.Random(SEED)
        self.blind = blind
        self.everyday = everyday_words()
        self.word_of = {c: word for word, classes in self.everyday.items() for c in classes}
        self.classifier = classifier
        weights = classifier.weight.detach()
        self.directions = F.normalize(weights - weights.mean(0), dim=1)
        pets = sources["pets"]
        self.cats, self.dogs = (
            [
                row
                for item, row in zip(pets.questions, pets.rows, strict=True)
                if name in item.picture
            ]
            for name in ("cat/", "dog/")
        )
        kinds = Counter(item.kind for item in sources["captions"].questions)
        # Made questions are plentiful: rare kinds (colour, place) come up more than their number.
        self.weights = {
            name: list(
                accumulate(
                    kinds[item.kind] ** -0.5 if name == "captions" else 1.0
                    for item in origin.questions
                )
            )
            for name, origin in sources.items()
        }

    def draw(self) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        """Make one batch.

        Returns:
            What `VqaHead.forward` takes, and the share of each answer, (n, answers).
        """
        vectors, asked, taught = [], [], {}
        for name, origin in self.sources.items():
            population = range(len(origin.questions))
            for i in self.rng.choices(population, cum_weights=self.weights[name], k=SHARES[name]):
                row, answers = origin.rows[i], origin.questions[i].answers
                if name == "daquar" and i < len(self.teacher.alike):
                    taught[len(asked)] = i
                    if self.rng.random() < OTHER_ROOM:
                        row, answers = self.rng.randrange(len(origin.vectors)), ()
                vectors.append(self._vector(name, row))
                asked.append((origin.questions[i].text, answers))
        for _ in range(SHARES["collage"]):
            cat, dog = self.rng.choice(self.cats), self.rng.choice(self.dogs)
            vectors.append((self._vector("pets", cat) + self._vector("pets", dog)) / 2)
            asked.append(self._ask_collage())
        for _ in range(SHARES["imagenet"]):
            label = self.rng.randrange(len(self.word_of))
            vectors.append(self._pushed(label))
            asked.append(self._ask_class(label))
        pooled = torch.stack(vectors)
        targets = shares([answers for _, answers in asked], self.words)
        places = list(taught)
        lesson = self.teacher(torch.tensor(list(taught.values())), pooled[places])
        own = OWN_ANSWER * targets[places].sum(1, keepdim=True)
        targets[places] = lesson.lerp(targets[places], own)
        if self.blind:
            pooled = torch.zeros_like(pooled)
        texts = list(dict.fromkeys(text for text, _ in asked))
        place = {text: i for i, text in enumerate(texts)}
        which = torch.tensor([place[text] for text, _ in asked])
        return pooled, [self._noisy(self.words.encode(text)) for text in texts], which, targets

    def _vector(self, name: str, row: int) -> Tensor:
        return self.sources[name].vectors[row, self.rng.randrange(len(VIEWS))].float()

    def _noisy(self, question: Tensor) -> Tensor:
        """Make some words unknown: people use words that no training question has."""
        lost = torch.tensor([self.rng.random() < NOISE for _ in question])
        return question.masked_fill(lost, UNKNOWN)

    def _ask_collage(self) -> tuple[str, tuple[str, ...]]:
        # Not what it shows: shares of one half each would teach "cat" to rise with the dog.
        if self.rng.random() < 0.5:
            return ask("number", self.rng, x="animal"), ("2",)
        return ask("presence", self.rng, x=self.rng.choice(("cat", "dog"))), ("yes",)

    def _pushed(self, label: int) -> Tensor:
        """A picture's features moved as far towards a class as that class's photos are."""
        name = self.rng.choice(("captions", "daquar"))
        base = self._vector(name, self.rng.randrange(len(self.sources[name].vectors)))
        faded, push = self.rng.uniform(0.4, 1), self.rng.uniform(0.3, 0.6)
        return (base * faded + push * base.norm() * self.directions[label]).relu()

    def _ask_class(self, label: int) -> tuple[str, tuple[str, ...]]:
        word = self.word_of[label]
        if self.rng.random() < 0.25:
            return self._ask_unanswerable()
        kinds = ["what", "what", "presence", "presence"]
        if label in ANIMALS:
            kinds += ["animal", "animal"]
        elif label in FOODS:
            kinds += ["food", "food"]
        elif word in VEHICLES:
            kinds += ["vehicle", "vehicle"]
        kind = self.rng.choice(kinds)
        if kind != "presence":
            return ask(kind, self.rng), (word,)
        if self.rng.random() < 0.1:
            answer = "yes" if label in ANIMALS else "no"
            return ask("presence", self.rng, x="animal"), (answer,)
        if self.rng.random() < 0.5:
            return ask("presence", self.rng, x=word), ("yes",)
        other = self.rng.choice([other for other in self.everyday if other != word])
        return ask("presence", self.rng, x=other), ("no",)

    def _ask_unanswerable(self) -> tuple[str, tuple[str, ...]]:
        """A question of another picture: an object's name is no answer to where, how many, ..."""
        origin = self.sources["captions"]
        while True:
            item = self.rng.choice(origin.questions)
            if item.kind in ("place", "colour", "action", "number"):
                return item.text, item.answers


def train(batches: Batches, words: Vocabulary, checkpoint: Path) -> VqaHead:
    """Train a head; a run that was broken off goes on from `checkpoint`.

    Returns:
        The head with the running mean of its weights, in eval mode.
    """
    torch.manual_seed(SEED)
    head = VqaHead(list(words.words), list(words.answers), batches.everyday, batches.classifier)
    mean = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
    optimiser = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=EPOCHS * STEPS, pct_start=0.1
    )
    parts = {"head": head, "mean": mean, "optimiser": optimiser, "schedule": schedule}
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first = saved.pop("epoch")
        for name, state in saved.items():
            parts[name].load_state_dict(state)
    for epoch in range(first, EPOCHS):
        # Seeded by the epoch, so that a resumed run draws what an unbroken one would have.
        torch.manual_seed(SEED + epoch)
        batches.rng.seed(SEED + epoch)
        head.train()
        losses = []
        with tqdm(range(STEPS), desc=f"epoch {epoch + 1}/{EPOCHS}", unit="batch") as bar:
            for _ in bar:
                pooled, asked, which, targets = batches.draw()
                loss = F.cross_entropy(head(pooled, asked, which), targets)
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(head.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                mean.update_parameters(head)
                losses.append(loss.item())
                bar.set_postfix(loss=f"{sum(losses[-50:]) / len(losses[-50:]):.3f}")
        state = {name: part.state_dict() for name, part in parts.items()}
        part = checkpoint.with_suffix(".part")
        torch.save({**state, "epoch": epoch + 1}, part)
        part.replace(checkpoint)
    return mean.module.eval()


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k, daquar and pets")],
    work: Annotated[Path, typer.Option(help="Folder for features and checkpoints")] = Path(
        "../scratch"
    ),
    backbone: Annotated[int, typer.Option(help="0 or 2, of the EfficientNet-Lites")] = 0,
    question_only: Annotated[
        bool, typer.Option(help="Train the baseline without pictures instead, kept in WORK")
    ] = False,
) -> None:
    """Train on the train pictures; write the head's weights and its words and answers.

    A run that was broken off goes on after its last whole epoch.
    """
    rng = random.Random(SEED)
    asked = {
        "captions": (
            "flickr8k",
            [item for _ in range(WORDINGS) for item in caption_questions(data, "train", rng)],
        ),
        "daquar": (
            "daquar",
            daquar_questions(data, "train") + room_questions(data, "train", rng),
        ),
        "pets": (
            "pets",
            [item for _ in range(WORDINGS) for item in pet_questions(data, "train", rng)],
        ),
    }
    cache = work / "features"
    sources = {
        name: source(data, cache, folder, items, backbone)
        for name, (folder, items) in asked.items()
    }
    words = vocabulary(list(sources.values()), list(everyday_words()), rng)
    name = f"lite{backbone}-vqa{'-question-only' if question_only else ''}"
    checkpoint = work / f"{name}.pt"
    teacher = room_teacher(data, sources["daquar"], words, question_only)
    batches = Batches(sources, words, teacher, lite_classifier_layer(backbone), question_only)
    head = train(batches, words, checkpoint)
    target = (work if question_only else WEIGHTS) / f"{name}.safetensors"
    save_file({key: tensor.half() for key, tensor in head.state_dict().items()}, target)
    vocabulary_file = target.with_suffix(".json")
    shown = {"words": list(words.words), "answers": list(words.answers)}
    vocabulary_file.write_text(json.dumps(shown, indent=0), encoding="utf-8")
    checkpoint.unlink()
    print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB) and {vocabulary_file.name}")


if __name__ == "__main__":
    typer.run(main)
