"""Train the embedded question answerers: a head on the frozen EfficientNet-Lite0 or Lite2.

    python -m training.vqa ../shared/data --work ../scratch
    python -m training.vqa ../shared/data --work ../scratch --backbone 2
    python -m training.vqa ../shared/data --work ../scratch --question-only

The CNN is frozen, so pictures are read as pooled features (training/features.py) and a step
costs little more than the LSTM over the batch's different questions. Besides pictures with
people's answers, made-up feature vectors are answered: means of a cat's and a dog's (what pooling
gives for the two side by side), and pictures pushed towards the weight vector of an ImageNet
class, so that all 1000 classes are answered, not only the few that the photos show. People's
questions about rooms are mostly asked of other rooms than theirs, and answered by a teacher
(training/rooms.py); what they asked about pictures that are not there is asked without a picture,
or of any.
"""

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated, NamedTuple

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
    also_typed,
    everyday_words,
    read_question,
)
from training import datasets, lessons
from training.calibration import dev_questions, temperature, threshold
from training.colours import colours
from training.features import features
from training.questions import COLOURS, Question, ask
from training.rooms import Teacher

SEED = 0
# Chosen on the dev pictures, as are the model's dropout and sizes.
ROUNDS = (14, 12, 16)  # epochs of each; in each the learning rate rises and falls once
STEPS = 100  # in an epoch
LEARNING_RATE = 3e-3  # the highest
RISE = 0.1  # share of a round
WEIGHT_DECAY = 0.1
AVERAGE = 0.998  # decay of the running mean of the weights
NOISE = 0.1  # share of question words made unknown
WORDINGS = 3  # of each question made by rules
VIEW = "whole"
ROOMS = 4  # that a question about a room is asked of
OTHER_ROOM = 0.85  # share of the questions about rooms that are asked of any other
OWN_ANSWER = 0.5  # what people's answer about a room counts; the rest is the teacher's
KIND_WEIGHT = 0.5  # of the loss of the kind of answer
COLOURED = 0.5  # how many of the photos of things that have a colour are asked for it
CHUNK = 256  # questions at once, to calibrate
ENOUGH = 4  # so many people's questions without a picture must have an answer
# Rows of a batch by source.
SHARES = {
    "captions": 96,
    "daquar": 128,
    "pets": 24,
    "coco": 28,
    "scenes": 16,
    "collage": 8,
    "imagenet": 16,
    "classes": 36,
    "people": 96,
}
# How many of people's questions without pictures are asked of one with the things that they name,
# where they name some; the others are asked of any.
FITTING = 0.7
ANIMALS = range(398)  # of the ImageNet classes
FOODS = (*range(924, 970), 987, 988)
VEHICLES = ("car", "truck", "bus", "train", "boat", "ship", "bicycle", "motorcycle", "plane", "van")


class Row(NamedTuple):
    """What one row of a batch asks: of which picture, what, and the right answers."""

    picture: Tensor
    text: str
    answers: tuple[str, ...]


@dataclass
class Source:
    """Questions about one set of pictures, and the pictures' features."""

    questions: list[Question]
    vectors: Tensor  # (pictures, 1280)
    rows: list[int]  # of each question
    weights: list[float] | None = None  # cumulated, of the questions

    def any(self, rng: random.Random) -> Tensor:
        """Any picture."""
        return rng.choice(self.vectors)

    def choose(self, rng: random.Random, number: int) -> list[int]:
        """Draw questions."""
        return rng.choices(range(len(self.questions)), cum_weights=self.weights, k=number)


@dataclass
class Vocabulary:
    """Words of questions, and answers by kind, each with its index."""

    words: dict[str, int]
    groups: dict[str, list[str]]
    same: dict[str, str]  # other words for answers
    temperature: float = 1.0
    unsure_below: float = 0.0

    def __post_init__(self) -> None:
        self.answers = {
            answer: i for i, answer in enumerate(a for group in self.groups.values() for a in group)
        }
        self.kinds = [i for i, group in enumerate(self.groups.values()) for _ in group]

    def encode(self, question: str) -> Tensor:
        """Indices (length,) int64 of a question's words; `UNKNOWN` for a new one."""
        return torch.tensor([self.words.get(word, UNKNOWN) for word in read_question(question)])

    def canonical(self, answer: str) -> str:
        """The answer that stands for this one, too."""
        return self.same.get(answer, answer)


def source(data: Path, cache: Path, name: str, asked: list[Question], backbone: int) -> Source:
    """Join questions about the set `name` with the features of its pictures."""
    pictures = sorted({item.picture for item in asked})
    vectors = features(data / name / "images.tar", pictures, [VIEW], cache, backbone)[:, 0]
    row = {picture: i for i, picture in enumerate(pictures)}
    return Source(asked, torch.from_numpy(vectors).float(), [row[item.picture] for item in asked])


def vocabulary(
    asked: Iterable[Question],
    people: Iterable[datasets.Asked],
    everyday: Sequence[str],
    rng: random.Random,
) -> Vocabulary:
    """Every word and every answer that comes at least twice, and every everyday word.

    Of people's answers to questions without pictures, those that `ENOUGH` gave; another word for
    an answer, or its plural, counts as the answer.
    """
    words, answers, without = Counter(), Counter(), Counter()
    for item in asked:
        words.update(read_question(item.text))
        answers.update(item.answers)
    for item in people:
        words.update(read_question(item.question))
        without.update(item.answers)
    for word in everyday:
        words.update(read_question(word) * 2)
        words.update(read_question(ask("number", rng, x=word)) * 2)
        answers[word] += 2
    known = {answer for answer, count in answers.items() if count > 1}
    same = {other: answer for answer in sorted(known) for other in also_typed(answer)}
    same |= {answer + "s": answer for answer in without if answer + "s" in without}
    same = {other: answer for other, answer in same.items() if other not in known}
    for answer, count in without.items():
        answers[same.get(answer, answer)] += count
    known |= {answer for answer in answers if answers[answer] >= ENOUGH and answer not in same}
    groups: dict[str, list[str]] = {"yes/no": [], "number": [], "colour": [], "other": []}
    for answer in sorted(known):
        groups[kind_of(answer)].append(answer)
    kept = sorted(word for word, count in words.items() if count > 1)
    indices = {"<unknown>": UNKNOWN} | {word: i for i, word in enumerate(kept, 1)}
    return Vocabulary(indices, groups, same)


_HUES = {shade for shades in COLOURS.values() for shade in shades} | {"gold", "maroon", "clear"}


def kind_of(answer: str) -> str:
    """Which of the head's kinds an answer is."""
    if answer in ("yes", "no"):
        return "yes/no"
    if answer.isdecimal():
        return "number"
    words = {*answer.split()} - {"and", "light", "dark"}
    return "colour" if words and words <= _HUES else "other"


def shares(answers: Sequence[Sequence[str]], words: Vocabulary) -> Tensor:
    """The share of each answer, (n, answers), all alike; zeros where none is known."""
    found = torch.zeros(len(answers), len(words.answers))
    for i, said in enumerate(answers):
        for answer in said:
            if (known := words.canonical(answer)) in words.answers:
                found[i, words.answers[known]] = 1
    return found / found.sum(1, keepdim=True).clamp(min=1)


def room_teacher(data: Path, rooms: Source, words: Vocabulary, blind: bool) -> Teacher:
    """The teacher for DAQUAR's questions, which come first among those of `rooms`."""
    asked = lessons.daquar_questions(data, "train")
    texts = [" ".join((item.text, *item.answers)) for item in asked]
    for captions in datasets.flickr8k(data, "train").values():
        texts += captions
    return Teacher(
        [item.text for item in asked],
        rooms.vectors,
        rooms.rows[: len(asked)],
        shares([item.answers for item in asked], words),
        texts,
        blind,
    )


class Batches:
    """Draws batches: pooled features, different questions, which is whose, answers as shares."""

    def __init__(
        self,
        sources: dict[str, Source],
        photos: Source,
        labels: Sequence[int],
        people: Sequence[datasets.Asked],
        words: Vocabulary,
        teacher: Teacher,
        classifier: nn.Linear,
        blind: bool,
    ) -> None:
        """Get ready.

        Args:
            sources: Of questions about pictures: "captions", "daquar", "pets", "coco", "scenes".
            photos: Of ImageNet classes; what is asked is made up here, but for colours.
            labels: The class of each of those photos.
            people: Questions without pictures.
            words: Of questions and answers.
            teacher: Fitted to the first questions of "daquar".
            classifier: 1280 -> 1000, the backbone's own.
            blind: Show zeros instead of features: what can be answered without a picture?
        """
        self.sources = sources
        self.photos = photos
        self.labels = labels
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
        # Made questions are plentiful: a kind comes up as the root of its number, so that rare
        # ones (colour, place) do more often, and so does an answer within its kind (a cat's).
        asked = sources["captions"].questions
        common = Counter((item.kind, item.answers[0]) for item in asked)
        kinds: dict[str, list[int]] = defaultdict(list)
        for (kind, _), number in common.items():
            kinds[kind].append(number)
        share = {
            kind: sum(numbers) ** 0.5 / sum(number**0.5 for number in numbers)
            for kind, numbers in kinds.items()
        }
        sources["captions"].weights = [
            *accumulate(
                share[item.kind] * common[item.kind, item.answers[0]] ** -0.5 for item in asked
            )
        ]
        self.people = [item for item in people if words.canonical(item.answers[0]) in words.answers]
        # Where fewer of ten agree, the answer says less.
        self.agreeing = [*accumulate(item.agreeing**0.5 for item in self.people)]
        everyday = {other: word for word in self.everyday for other in (*also_typed(word), word)}
        self.naming = [
            [
                everyday[word]
                for word in dict.fromkeys([*read_question(item.question), item.answers[0]])
                if word in everyday and item.answers[0] != "no"
            ]
            for item in self.people
        ]
        self.makers: dict[str, Callable[[], Row]] = {
            "collage": self._collage,
            "imagenet": self._photo,
            "classes": self._class,
        }

    def draw(self) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        """Make one batch.

        Returns:
            What `VqaHead.forward` takes, and the share of each answer, (n, answers).
        """
        rows, taught, rooms = [], {}, []
        for name, origin in self.sources.items():
            # Reading is what takes time, so a question about a room is asked of several.
            times = ROOMS if name == "daquar" else 1
            for i in origin.choose(self.rng, SHARES[name] // times) * times:
                row, item = origin.rows[i], origin.questions[i]
                answers = item.answers
                if name == "daquar" and i < len(self.teacher.alike):
                    taught[len(rows)] = i
                    if self.rng.random() < OTHER_ROOM:
                        row, answers = self.rng.randrange(len(origin.vectors)), ()
                    rooms.append(row)
                rows.append(Row(origin.vectors[row], item.text, answers))
        for name, make in self.makers.items():
            rows += [make() for _ in range(SHARES[name])]
        rows += self._people(SHARES["people"])
        looked = torch.stack([row.picture for row in rows])
        targets = shares([row.answers for row in rows], self.words)
        places = list(taught)
        lesson = self.teacher(torch.tensor([*taught.values()]), torch.tensor(rooms))
        own = OWN_ANSWER * targets[places].sum(1, keepdim=True)
        targets[places] = lesson.lerp(targets[places], own)
        if self.blind:
            looked = torch.zeros_like(looked)
        texts = list(dict.fromkeys(row.text for row in rows))
        place = {text: i for i, text in enumerate(texts)}
        which = torch.tensor([place[row.text] for row in rows])
        return looked, [self._noisy(self.words.encode(text)) for text in texts], which, targets

    def _noisy(self, question: Tensor) -> Tensor:
        """Make some words unknown: people use words that no training question has."""
        lost = torch.tensor([self.rng.random() < NOISE for _ in question])
        return question.masked_fill(lost, UNKNOWN)

    def _collage(self) -> Row:
        pets = self.sources["pets"]
        cat, dog = self.rng.choice(self.cats), self.rng.choice(self.dogs)
        both = (pets.vectors[cat] + pets.vectors[dog]) / 2
        # Not what it shows: shares of one half each would teach "cat" to rise with the dog.
        if self.rng.random() < 0.5:
            return Row(both, ask("number", self.rng, x="animal"), ("2",))
        text = ask("presence", self.rng, x=self.rng.choice(("cat", "dog")))
        return Row(both, text, ("yes",))

    def _photo(self) -> Row:
        i = self.rng.randrange(len(self.labels))
        label, colour = self.labels[i], self.photos.questions[i].answers
        if colour and self.rng.random() < COLOURED:
            asked = lessons.colour_question("", self.word_of[label], *colour, self.rng)
            return Row(self.photos.vectors[i], asked.text, asked.answers)
        return Row(self.photos.vectors[i], *self._ask_class(label))

    def _class(self) -> Row:
        # A word first: of the classes every eighth is a dog.
        label = self.rng.choice(self.everyday[self.rng.choice([*self.everyday])])
        return Row(self._pushed([label]), *self._ask_class(label))

    def _people(self, number: int) -> list[Row]:
        """People's questions, without a picture or about one that may fit."""
        rows = []
        for i in self.rng.choices(range(len(self.people)), cum_weights=self.agreeing, k=number):
            item, named = self.people[i], self.naming[i]
            if named and self.rng.random() < FITTING:
                picture = self._pushed([self.rng.choice(self.everyday[word]) for word in named])
            else:
                picture = self._any_picture()
            if self.rng.random() < 0.5:
                picture = torch.zeros_like(picture)
            rows.append(Row(picture, item.question, item.answers))
        return rows

    def _any_picture(self) -> Tensor:
        name = self.rng.choice([*self.sources])
        return self.sources[name].any(self.rng)

    def _pushed(self, labels: Sequence[int]) -> Tensor:
        """A picture's features moved as far towards classes as photos of theirs are."""
        base = self.sources[self.rng.choice(("captions", "daquar", "coco"))].any(self.rng)
        push = sum(self.rng.uniform(0.3, 0.6) * self.directions[label] for label in labels)
        push = push * base.norm() / len(labels) ** 0.5
        return (base * self.rng.uniform(0.4, 1) + push).relu()

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


def loss(
    head: VqaHead, batch: tuple[Tensor, list[Tensor], Tensor, Tensor], kinds: Tensor
) -> Tensor:
    """Cross entropy of the answers, and of their kinds, which only the question tells."""
    looked, asked, which, targets = batch
    logits, kind = head(looked, asked, which)
    of_kind = targets.new_zeros(len(targets), kind.shape[1]).index_add(1, kinds, targets)
    return F.cross_entropy(logits, targets) - KIND_WEIGHT * (of_kind * kind).sum(1).mean()


def rate(step: int) -> float:
    """The learning rate of a step, as a share of the highest."""
    for epochs in ROUNDS:
        if step < epochs * STEPS:
            break
        step -= epochs * STEPS
    done = step / (epochs * STEPS)
    return done / RISE if done < RISE else (1 + math.cos(math.pi * (done - RISE) / (1 - RISE))) / 2


def train(head: VqaHead, batches: Batches, words: Vocabulary, checkpoint: Path) -> VqaHead:
    """Train a head; a run that was broken off goes on from `checkpoint`.

    Returns:
        The head with the running mean of its weights, in eval mode.
    """
    kinds = torch.tensor(words.kinds)
    mean = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
    learned = [weight for weight in head.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    parts = {"head": head, "mean": mean, "optimiser": optimiser, "schedule": schedule}
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first = saved.pop("epoch")
        for name, state in saved.items():
            parts[name].load_state_dict(state)
    for epoch in range(first, sum(ROUNDS)):
        # Seeded by the epoch, so that a resumed run draws what an unbroken one would have.
        torch.manual_seed(SEED + epoch)
        batches.rng.seed(SEED + epoch)
        head.train()
        losses = []
        with tqdm(range(STEPS), desc=f"epoch {epoch + 1}/{sum(ROUNDS)}", unit="batch") as bar:
            for _ in bar:
                found = loss(head, batches.draw(), kinds)
                optimiser.zero_grad()
                found.backward()
                nn.utils.clip_grad_norm_(head.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                mean.update_parameters(head)
                losses.append(found.item())
                bar.set_postfix(loss=f"{sum(losses[-50:]) / len(losses[-50:]):.3f}")
        state = {name: part.state_dict() for name, part in parts.items()}
        part = checkpoint.with_suffix(".part")
        torch.save({**state, "epoch": epoch + 1}, part)
        part.replace(checkpoint)
    return mean.module.eval()


@torch.no_grad()
def calibrate(head: VqaHead, words: Vocabulary, data: Path, cache: Path, backbone: int) -> None:
    """Measure on dev pictures how far the head can be believed; note it in `words`."""
    sets = []
    for folder, asked in dev_questions(data).values():
        origin = source(data, cache, folder, asked, backbone)
        logits = []
        for first in range(0, len(asked), CHUNK):
            questions = [words.encode(item.text) for item in asked[first : first + CHUNK]]
            looked = origin.vectors[origin.rows[first : first + CHUNK]]
            logits.append(head(looked, questions, torch.arange(len(questions)))[0])
        right = shares([item.answers for item in asked], words) > 0
        sets.append((torch.cat(logits), right))
    words.temperature = temperature(sets)
    best = [((logits / words.temperature).softmax(1).max(1), right) for logits, right in sets]
    words.unsure_below = threshold(
        [(found.values, right[range(len(right)), found.indices]) for found, right in best]
    )


def write(head: VqaHead, words: Vocabulary, target: Path) -> None:
    """Write the head's weights, and beside them its words and answers."""
    save_file({key: tensor.half() for key, tensor in head.state_dict().items()}, target)
    shown = {
        "temperature": round(words.temperature, 3),
        "unsure_below": round(words.unsure_below, 3),
        "words": list(words.words),
        "answers": words.groups,
    }
    vocabulary_file = target.with_suffix(".json")
    vocabulary_file.write_text(json.dumps(shown, indent=0) + "\n", encoding="utf-8")
    print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB) and {vocabulary_file.name}")


def prepare(data: Path, cache: Path, backbone: int, blind: bool) -> tuple[Batches, Vocabulary]:
    """Read all sets, make the questions and fit the teacher."""
    rng = random.Random(SEED)
    made: Mapping[str, tuple[str, Callable[[], list[Question]]]] = {
        "captions": ("flickr8k", lambda: lessons.caption_questions(data, "train", rng)),
        "pets": ("pets", lambda: lessons.pet_questions("train", rng)),
        "coco": ("coco", lambda: lessons.coco_questions(data, "train", rng)),
        "scenes": ("scenes", lambda: lessons.scene_questions("train", rng)),
    }
    asked = {
        name: (folder, [item for _ in range(WORDINGS) for item in make()])
        for name, (folder, make) in made.items()
    }
    rooms = lessons.daquar_questions(data, "train") + lessons.room_questions(data, "train", rng)
    asked["daquar"] = ("daquar", rooms)
    fur = colours(data / "pets" / "images.tar", cache)
    asked["pets"][1].extend(
        lessons.colour_question(picture, animal, fur[picture], rng)
        for picture, animal in datasets.pets("train").items()
        for _ in range(WORDINGS)
        if picture in fur
    )

    def join(folder: str, items: list[Question]) -> Source:
        return source(data, cache, folder, items, backbone)

    sources = {name: join(folder, items) for name, (folder, items) in asked.items()}
    labels = datasets.imagenet(data, "train")
    tints = colours(data / "imagenet" / "images.tar", cache)
    photos = join(
        "imagenet",
        # Their questions are made up later; here each has its colour for an answer, if any.
        [
            Question(name, "", "", (tints[name],) if name in tints else ())
            for name in sorted(labels)
        ],
    )
    people = lessons.people_questions(data, "train")
    every = [item for _, items in asked.values() for item in items]
    words = vocabulary(every, people, list(everyday_words()), rng)
    teacher = room_teacher(data, sources["daquar"], words, blind)
    classifier = lite_classifier_layer(backbone)
    batches = Batches(
        sources,
        photos,
        [labels[name] for name in sorted(labels)],
        people,
        words,
        teacher,
        classifier,
        blind,
    )
    return batches, words


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k, coco, daquar, pets, ...")],
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
    name = f"lite{backbone}-vqa{'-question-only' if question_only else ''}"
    cache = work / "features"
    batches, words = prepare(data, cache, backbone, question_only)
    torch.manual_seed(SEED)
    head = VqaHead(list(words.words), words.groups, batches.everyday, batches.classifier)
    checkpoint = work / f"{name}.pt"
    trained = train(head, batches, words, checkpoint)
    calibrate(trained, words, data, cache, backbone)
    write(trained, words, (work if question_only else WEIGHTS) / f"{name}.safetensors")
    checkpoint.unlink()


if __name__ == "__main__":
    typer.run(main)
