"""What the embedded question answerers are trained on, in batches.

Pictures are read as pooled features (training/features.py). Besides pictures with people's answers,
made-up feature vectors are answered: means of a cat's and a dog's (what pooling gives for the two
side by side), pictures pushed towards the weight vector of an ImageNet class, so that all 1000
classes are answered, not only the few that the photos show, and pictures imagined for people's
captions (training/unseen.py). People's questions about rooms are mostly asked of other rooms than
theirs, and answered by a teacher (training/rooms.py); what they asked about pictures that are not
there is asked without a picture, of any, or of an imagined one.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradcam_core.models.embedded.everyday import everyday_words
from gradcam_core.models.embedded.question import UNKNOWN
from training import datasets, lessons
from training.answers import Vocabulary, shares
from training.cells import COMPONENTS, cells, components
from training.features import features
from training.questions import Question, ask
from training.rooms import Teacher
from training.unseen import Unseen, shown_in

SEED = 0
NOISE = 0.1  # share of question words made unknown
VIEW = "whole"
POOLED = 1280  # channels of the last map
CELLS = 7  # rows and columns of Lite0's last map
EVERYWHERE = slice(None), slice(None)
ROOMS = 4  # that a question about a room is asked of
OTHER_ROOM = 0.85  # share of the questions about rooms that are asked of any other
OWN_ANSWER = 0.5  # what people's answer about a room counts; the rest is the teacher's
COLOURED = 0.5  # how many of the photos of things that have a colour are asked for it
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
            What `VqaNetwork.forward` takes, and the share of each answer, (n, answers).
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
