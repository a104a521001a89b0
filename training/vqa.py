"""Train the embedded question answerers: a head on the frozen EfficientNet-Lite0 or Lite2.

    python -m training.vqa ../shared/data --work ../scratch
    python -m training.vqa ../shared/data --work ../scratch --backbone 2
    python -m training.vqa ../shared/data --work ../scratch --coattention

The CNN is frozen, so pictures are read as pooled features (training/features.py) and a step
costs little more than the LSTM over the batch's different questions. Besides pictures with
people's answers, made-up feature vectors are answered: means of a cat's and a dog's (what pooling
gives for the two side by side), pictures pushed towards the weight vector of an ImageNet class,
so that all 1000 classes are answered, not only the few that the photos show, and pictures imagined
for people's captions (training/unseen.py). People's questions about rooms are mostly asked of
other rooms than theirs, and answered by a teacher (training/rooms.py); what they asked about
pictures that are not there is asked without a picture, of any, or of an imagined one.

The head on Lite2 is not trained: it is that on Lite0, with a layer that sees what Lite0's does.
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

import numpy as np
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from gradcam_core.models.coattention import CoattentionHead
from gradcam_core.models.lite import lite_classifier_layer
from gradcam_core.models.vqa_lstm import (
    UNKNOWN,
    WEIGHTS,
    VqaHead,
    also_typed,
    everyday_words,
    read_question,
    read_weights,
)
from gradcam_core.models.vqa_lstm import Vocabulary as HeadVocabulary
from training import datasets, lessons
from training.calibration import dev_questions, temperature, threshold
from training.cells import COMPONENTS, cells, components
from training.colours import colours
from training.features import features
from training.questions import COLOURS, Question, ask
from training.rooms import Teacher
from training.unseen import Unseen, shown_in

Head = VqaHead | CoattentionHead

LITE0 = 0  # the backbone that heads are trained on
START = "lite0-vqa"  # whose weights the others start from: they read questions as it does

SEED = 0
# Chosen on the dev pictures, as are the model's dropout and sizes.
STEPS = 100  # in an epoch
RISE = 0.1  # share of the steps in which the learning rate rises; in the others it falls
WEIGHT_DECAY = 0.1
NEW = 0.4  # how far a head that goes on moves towards what it learned
RIDGE = 0.1  # beside the mean square of a feature
NOISE = 0.1  # share of question words made unknown
WORDINGS = 3  # of each question made by rules
VIEW = "whole"
POOLED = 1280  # channels of the last map
CELLS = 7  # rows and columns of Lite0's last map
EVERYWHERE = slice(None), slice(None)
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
    "imagenet": 24,
    "classes": 44,
    "described": 64,
    "people": 96,
}
# How many of people's questions without pictures are asked of one that may show what they ask
# about, where there is one; the others are asked of any.
FITTING = 0.8
SEEING = 0.6  # how many of all of them are asked with a picture
ANIMALS = range(398)  # of the ImageNet classes
FOODS = (*range(924, 970), 987, 988)
VEHICLES = ("car", "truck", "bus", "train", "boat", "ship", "bicycle", "motorcycle", "plane", "van")


class Row(NamedTuple):
    """What one row of a batch asks: of which picture, what, and the right answers."""

    picture: Tensor | int  # features, or which of the described pictures is to be imagined
    text: str
    answers: tuple[str, ...]


@dataclass
class Source:
    """Questions about one set of pictures, and the pictures' features."""

    questions: list[Question]
    vectors: Tensor  # (pictures, 1280), or more where the cells follow
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


def source(
    data: Path, cache: Path, name: str, asked: list[Question], backbone: int, with_cells: bool
) -> Source:
    """Join questions about the set `name` with the features of its pictures."""
    pictures = sorted({item.picture for item in asked})
    vectors = features(data / name / "images.tar", pictures, [VIEW], cache, backbone)[:, 0]
    if with_cells:
        mean, basis = components(data, cache, backbone)
        found = cells(data, name, pictures, cache, backbone) + (mean @ basis).astype(np.float16)
        vectors = np.concatenate([vectors, found.reshape(len(found), -1)], axis=1)
    row = {picture: i for i, picture in enumerate(pictures)}
    return Source(asked, torch.from_numpy(vectors).float(), [row[item.picture] for item in asked])


def _side_by_side(left: Tensor, right: Tensor) -> Tensor:
    """Two pictures squashed into one: the mean of their features, every other column of cells."""
    both = (left + right) / 2
    if len(both) == POOLED:
        return both
    maps = [picture[POOLED:].view(CELLS, CELLS, COMPONENTS) for picture in (left, right)]
    columns = torch.cat([maps[0][:, ::2], maps[1][:, 1::2]], dim=1)
    return torch.cat([both[:POOLED], columns.flatten()])


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


def room_teacher(data: Path, rooms: Source, words: Vocabulary) -> Teacher:
    """The teacher for DAQUAR's questions, which come first among those of `rooms`."""
    asked = lessons.daquar_questions(data, "train")
    texts = [" ".join((item.text, *item.answers)) for item in asked]
    for captions in datasets.flickr8k(data, "train").values():
        texts += captions
    return Teacher(
        [item.text for item in asked],
        rooms.vectors[:, :POOLED],
        rooms.rows[: len(asked)],
        shares([item.answers for item in asked], words),
        texts,
    )


class Batches:
    """Draws batches: pooled features, different questions, which is whose, answers as shares."""

    def __init__(
        self,
        sources: dict[str, Source],
        photos: Source,
        labels: Sequence[int],
        described: list[Question],
        people: Sequence[datasets.Asked],
        unseen: Unseen,
        words: Vocabulary,
        teacher: Teacher,
        classifier: nn.Linear,
        basis: Tensor,
    ) -> None:
        """Get ready.

        Args:
            sources: Of questions about pictures: "captions", "daquar", "pets", "coco", "scenes".
            photos: Of ImageNet classes; what is asked is made up here, but for colours.
            labels: The class of each of those photos.
            described: Questions about described pictures, their groups as names.
            people: Questions without pictures.
            unseen: Imagines the described pictures.
            words: Of questions and answers.
            teacher: Fitted to the first questions of "daquar".
            classifier: 1280 -> 1000, the backbone's own.
            basis: (1280, `COMPONENTS`), what the cells are seen by.
        """
        self.sources = sources
        self.photos = photos
        self.labels = labels
        self.words = words
        self.teacher = teacher
        self.rng = random.Random(SEED)
        self.everyday = everyday_words()
        self.word_of = {c: word for word, classes in self.everyday.items() for c in classes}
        self.classifier = classifier
        self.basis = basis
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
        sources["captions"].weights = _evened(sources["captions"].questions)
        self.described, self.described_weights = described, _evened(described)
        self.unseen = unseen
        self.people = [item for item in people if words.canonical(item.answers[0]) in words.answers]
        # Where fewer of ten agree, the answer says less.
        self.agreeing = [*accumulate(item.agreeing**0.5 for item in self.people)]
        self.shown_in = shown_in(self.people, unseen.groups)
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
        rows += self._described(SHARES["described"])
        rows += self._people(SHARES["people"])
        looked = self._look(rows)
        targets = shares([row.answers for row in rows], self.words)
        places = list(taught)
        lesson = self.teacher(torch.tensor([*taught.values()]), torch.tensor(rooms))
        own = OWN_ANSWER * targets[places].sum(1, keepdim=True)
        targets[places] = lesson.lerp(targets[places], own)
        texts = list(dict.fromkeys(row.text for row in rows))
        place = {text: i for i, text in enumerate(texts)}
        which = torch.tensor([place[row.text] for row in rows])
        return looked, [self._noisy(self.words.encode(text)) for text in texts], which, targets

    def _look(self, rows: Sequence[Row]) -> Tensor:
        """The features that rows ask about; those of described pictures are imagined here."""
        groups = [row.picture for row in rows if isinstance(row.picture, int)]
        imagined = iter(self.unseen(groups))
        return torch.stack(
            [
                self._changed(self._any_picture(), next(imagined), EVERYWHERE)
                if isinstance(row.picture, int)
                else row.picture
                for row in rows
            ]
        )

    def _noisy(self, question: Tensor) -> Tensor:
        """Make some words unknown: people use words that no training question has."""
        lost = torch.tensor([self.rng.random() < NOISE for _ in question])
        return question.masked_fill(lost, UNKNOWN)

    def _collage(self) -> Row:
        pets = self.sources["pets"]
        cat, dog = self.rng.choice(self.cats), self.rng.choice(self.dogs)
        both = _side_by_side(pets.vectors[cat], pets.vectors[dog])
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

    def _described(self, number: int) -> list[Row]:
        """Questions made from captions of pictures that are imagined."""
        drawn = self.rng.choices(self.described, cum_weights=self.described_weights, k=number)
        return [Row(int(item.picture), item.text, item.answers) for item in drawn]

    def _people(self, number: int) -> list[Row]:
        """People's questions, without a picture or about one that may fit."""
        rows: list[Row] = []
        for i in self.rng.choices(range(len(self.people)), cum_weights=self.agreeing, k=number):
            item, fitting = self.people[i], self.shown_in[i]
            picture: Tensor | int = self._any_picture()
            if self.rng.random() > SEEING:
                picture = torch.zeros_like(picture)
            elif fitting and self.rng.random() < FITTING:
                picture = self.rng.choice(fitting)
            rows.append(Row(picture, item.question, item.answers))
        return rows

    def _any_picture(self) -> Tensor:
        name = self.rng.choice([*self.sources])
        return self.sources[name].any(self.rng)

    def _pushed(self, labels: Sequence[int]) -> Tensor:
        """A picture's features moved as far towards classes as photos of theirs are."""
        base = self.sources[self.rng.choice(("captions", "daquar", "coco"))].any(self.rng)
        push = sum(self.rng.uniform(0.3, 0.6) * self.directions[label] for label in labels)
        push = push * base[:POOLED].norm() / len(labels) ** 0.5
        base = base * self.rng.uniform(0.4, 1)
        top, left = self.rng.randrange(CELLS - 2), self.rng.randrange(CELLS - 2)
        part = slice(top, top + 4), slice(left, left + 4)
        return self._changed(base, (base[:POOLED] + push).relu(), part)

    def _changed(self, base: Tensor, pooled: Tensor, part: tuple[slice, slice]) -> Tensor:
        """A picture's features with other pooled ones; those cells that are a `part` change."""
        if len(base) == POOLED:
            return pooled
        cells = base[POOLED:].view(CELLS, CELLS, COMPONENTS).clone()
        # So far that the mean over all cells is as pooled.
        far = CELLS**2 / cells[part][..., 0].numel()
        cells[part] += (pooled - base[:POOLED]) @ self.basis * far
        return torch.cat([pooled, cells.flatten()])

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


def _evened(asked: Sequence[Question]) -> list[float]:
    """Weights of questions, cumulated.

    Made questions are plentiful: a kind comes up as the root of its number, so that rare ones
    (colour, place) do more often, and so does an answer within its kind (a cat's).
    """
    common = Counter((item.kind, item.answers[0]) for item in asked)
    kinds: dict[str, list[int]] = defaultdict(list)
    for (kind, _), number in common.items():
        kinds[kind].append(number)
    share = {
        kind: sum(numbers) ** 0.5 / sum(number**0.5 for number in numbers)
        for kind, numbers in kinds.items()
    }
    return [
        *accumulate(share[item.kind] * common[item.kind, item.answers[0]] ** -0.5 for item in asked)
    ]


def loss(head: Head, batch: tuple[Tensor, list[Tensor], Tensor, Tensor], kinds: Tensor) -> Tensor:
    """Cross entropy of the answers, and of their kinds, which only the question tells."""
    looked, asked, which, targets = batch
    logits, kind = head(looked, asked, which)
    of_kind = targets.new_zeros(len(targets), kind.shape[1]).index_add(1, kinds, targets)
    return F.cross_entropy(logits, targets) - KIND_WEIGHT * (of_kind * kind).sum(1).mean()


@dataclass(frozen=True)
class Course:
    """How long a head learns, and how fast."""

    epochs: int
    rate: float  # the highest learning rate
    average: float  # decay of the running mean of the weights

    def share(self, step: int) -> float:
        """The learning rate of a step, as a share of the highest."""
        done = step / (self.epochs * STEPS)
        falling = (done - RISE) / (1 - RISE)
        return done / RISE if done < RISE else (1 + math.cos(math.pi * falling)) / 2


FROM_NOTHING = Course(30, 3e-3, 0.998)
FROM_ANOTHER = Course(8, 1e-3, 0.99)


def train(
    head: Head, batches: Batches, words: Vocabulary, course: Course, checkpoint: Path
) -> Head:
    """Train a head; a run that was broken off goes on from `checkpoint`.

    Returns:
        The head with the running mean of its weights, in eval mode.
    """
    kinds = torch.tensor(words.kinds)
    mean = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(course.average))
    learned = [weight for weight in head.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=course.rate, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, course.share)
    parts = {"head": head, "mean": mean, "optimiser": optimiser, "schedule": schedule}
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first = saved.pop("epoch")
        for name, state in saved.items():
            parts[name].load_state_dict(state)
    for epoch in range(first, course.epochs):
        # Seeded by the epoch, so that a resumed run draws what an unbroken one would have.
        torch.manual_seed(SEED + epoch)
        batches.rng.seed(SEED + epoch)
        head.train()
        losses = []
        with tqdm(range(STEPS), desc=f"epoch {epoch + 1}/{course.epochs}", unit="batch") as bar:
            for _ in bar:
                found = loss(head, batches.draw(), kinds)
                optimiser.zero_grad()
                found.backward()
                nn.utils.clip_grad_norm_(learned, 1.0)
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
def attend_to_all(head: CoattentionHead, picture: Tensor, basis: Tensor) -> None:
    """Let a new head see what a `VqaHead` does, attending to all cells alike.

    Args:
        head: With random weights.
        picture: (width, 1280), the weights of the other's layer.
        basis: (1280, components), what the cells are seen by.
    """
    head.project.weight.copy_(basis.mT)
    for level, asked, seen in zip(head.levels, head.asked, head.seen, strict=True):
        level.cell.weight.zero_()
        asked.weight.zero_()
        asked.bias.zero_()
        seen.weight.copy_(picture @ basis / len(head.seen))


def seen_alike(picture: Tensor, data: Path, cache: Path, backbone: int) -> Tensor:
    """Weights of the layer `picture` with which another backbone sees train photos as Lite0 does.

    Args:
        picture: (width, 1280), of Lite0's.
        data: The folder of all sets.
        cache: The folder of the features.
        backbone: The other's number.

    Returns:
        (width, 1280), by ridge regression.
    """
    photos: dict[str, Iterable[str]] = {
        "flickr8k": datasets.flickr8k(data, "train"),
        "imagenet": datasets.imagenet(data, "train"),
        "pets": datasets.pets("train"),
    }
    lite0, other = (
        torch.from_numpy(
            np.concatenate(
                [
                    features(data / name / "images.tar", [*names], [VIEW], cache, number)[:, 0]
                    for name, names in photos.items()
                ]
            )
        ).float()
        for number in (LITE0, backbone)
    )
    # As the head normalises them.
    lite0, other = (F.normalize(pooled, dim=1) * POOLED**0.5 for pooled in (lite0, other))
    gram = other.mT @ other
    gram.diagonal().add_(RIDGE * len(other))
    return torch.linalg.solve(gram, other.mT @ (lite0 @ picture.mT)).mT


@torch.no_grad()
def calibrate(head: Head, words: Vocabulary, data: Path, cache: Path, backbone: int) -> None:
    """Measure on dev pictures how far the head can be believed; note it in `words`."""
    sets = []
    for folder, asked in dev_questions(data).values():
        origin = source(data, cache, folder, asked, backbone, isinstance(head, CoattentionHead))
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


def write(head: Head, words: Vocabulary, target: Path) -> None:
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


def prepare(
    data: Path, cache: Path, coattention: bool, known: HeadVocabulary | None
) -> tuple[Batches, Vocabulary]:
    """Read all sets, make the questions and fit the teacher; words and answers may be known."""
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
        return source(data, cache, folder, items, LITE0, coattention)

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
    described = lessons.described_questions(data, rng)
    every = [*(item for _, items in asked.values() for item in items), *described]
    words = vocabulary(every, people, list(everyday_words()), rng)
    if known:
        words = known_words(known, words.same)
    teacher = room_teacher(data, sources["daquar"], words)
    classifier = lite_classifier_layer(LITE0)
    _, basis = components(data, cache, LITE0) if coattention else (None, np.empty((POOLED, 0)))
    batches = Batches(
        sources,
        photos,
        [labels[name] for name in sorted(labels)],
        described,
        people,
        Unseen(data, cache, LITE0, classifier),
        words,
        teacher,
        classifier,
        torch.from_numpy(basis),
    )
    return batches, words


def learned(
    data: Path,
    cache: Path,
    start: tuple[dict[str, Tensor], HeadVocabulary] | None,
    coattention: bool,
    checkpoint: Path,
) -> tuple[Head, Vocabulary]:
    """A head for Lite0, trained from nothing or from another's weights."""
    batches, words = prepare(data, cache, coattention, start and start[1])
    torch.manual_seed(SEED)
    make = CoattentionHead if coattention else VqaHead
    head = make(list(words.words), words.groups, batches.everyday, batches.classifier)
    if start:
        weights, _ = start
        if isinstance(head, CoattentionHead):
            attend_to_all(head, weights.pop("picture.weight"), batches.basis)
            # Questions are read as there; only what is seen is new.
            for part in (head.embedding, head.lstm, head.question):
                part.requires_grad_(False)
        head.load_state_dict(weights, strict=False)
    course = FROM_ANOTHER if start else FROM_NOTHING
    trained = train(head, batches, words, course, checkpoint)
    if start and not coattention:
        go_back(trained, start[0])
    return trained, words


@torch.no_grad()
def go_back(head: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put a head between the weights that it started from and those that it learned.

    There it keeps what it knew (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR
    2022).
    """
    for name, weight in head.state_dict().items():
        weight.lerp_(weights[name], 1 - NEW)


def carried_over(data: Path, cache: Path, backbone: int) -> tuple[VqaHead, Vocabulary]:
    """The head of `START` for another backbone: only the layer that looks is another."""
    weights, known = read_weights(START)
    head = VqaHead(known.words, known.answers, everyday_words(), lite_classifier_layer(backbone))
    weights["picture.weight"] = seen_alike(weights["picture.weight"], data, cache, backbone)
    head.load_state_dict(weights)
    return head.eval(), known_words(known, {})


def known_words(known: HeadVocabulary, same: dict[str, str]) -> Vocabulary:
    """The words and answers that a head has; `same` are other words for answers."""
    indices = {word: i for i, word in enumerate(known.words)}
    groups = {kind: list(answers) for kind, answers in known.answers.items()}
    return Vocabulary(indices, groups, same)


def main(
    data: Annotated[Path, typer.Argument(help="Folder with flickr8k, coco, daquar, pets, ...")],
    work: Annotated[Path, typer.Option(help="Folder for features and checkpoints")] = Path(
        "../scratch"
    ),
    backbone: Annotated[int, typer.Option(help="0 or 2, of the EfficientNet-Lites")] = 0,
    coattention: Annotated[
        bool, typer.Option(help="Train the one that attends to cells (Lite0 only)")
    ] = False,
    further: Annotated[
        bool, typer.Option(help="Start lite0-vqa from the weights that are there, too")
    ] = False,
) -> None:
    """Train on the train pictures; write the head's weights and its words and answers.

    A run that was broken off goes on after its last whole epoch.
    """
    if backbone and (coattention or further):
        raise typer.BadParameter("The one on another backbone is not trained: leave these out.")
    name = f"lite{backbone}-vqa" + "-coattention" * coattention
    cache = work / "features"
    if backbone:
        trained, words = carried_over(data, cache, backbone)
    else:
        checkpoint = work / f"{name}{'-further' * further}.pt"
        start = read_weights(START) if coattention or further else None
        trained, words = learned(data, cache, start, coattention, checkpoint)
        checkpoint.unlink()
    calibrate(trained, words, data, cache, backbone)
    write(trained, words, WEIGHTS / f"{name}.safetensors")


if __name__ == "__main__":
    typer.run(main)
