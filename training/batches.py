"""Training batches for the embedded answerers.

Pictures are pooled features (training/features.py). Besides real pictures there are synthetic
ones: means of a cat and a dog (equal to pooling the two side by side); pictures moved towards the
weight vector of an ImageNet class, so that all 1000 classes occur, not only those of the photos;
and pictures for people's captions (training/described_pictures.py). People's questions about rooms
are mostly paired with other rooms and answered by a teacher (training/rooms.py). People's
questions about unavailable pictures are asked without a picture, or about a random or synthetic
one.
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
from training import datasets, question_sets
from training.answers import TrainingVocabulary, shares
from training.cells import COMPONENTS, cells, components
from training.described_pictures import DescribedPictures, likely_pictures
from training.features import features
from training.questions import Question, ask
from training.rooms import Teacher

SEED = 0
NOISE = 0.1  # share of question words replaced by the unknown word
VIEW = "whole"
POOLED = 1280  # channels of the last map
CELLS = 7  # rows and columns of Lite0's last map
EVERYWHERE = slice(None), slice(None)
ROOMS = 4  # rooms per question about a room
OTHER_ROOM = 0.85  # share of the questions about rooms that are paired with another room
OWN_ANSWER = 0.5  # weight of people's answer about a room; the rest is the teacher's
COLOURED = 0.5  # share of colour questions for ImageNet photos with a colour label
# Examples per batch, by source.
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
# People's questions without pictures: the share asked with some picture; and the share of these,
# where a described picture may show what the question is about, asked about that picture.
SEEING = 0.6
FITTING = 0.8
ANIMALS = range(398)  # of the ImageNet classes
FOODS = (*range(924, 970), 987, 988)
VEHICLES = ("car", "truck", "bus", "train", "boat", "ship", "bicycle", "motorcycle", "plane", "van")


class Example(NamedTuple):
    """One example: a picture, a question, and its right answers."""

    picture: Tensor | int  # features, or the index of a described picture
    text: str
    answers: tuple[str, ...]


@dataclass
class Source:
    """Questions about one set of pictures, and the pictures' features."""

    questions: list[Question]
    vectors: Tensor  # (pictures, 1280), longer if the cells follow
    rows: list[int]  # the picture of each question
    weights: list[float] | None = None  # cumulative weights of the questions

    def random_picture(self, rng: random.Random) -> Tensor:
        """Return the features of a random picture."""
        return rng.choice(self.vectors)

    def choose(self, rng: random.Random, number: int) -> list[int]:
        """Draw the indices of questions."""
        return rng.choices(range(len(self.questions)), cum_weights=self.weights, k=number)


def source(
    data: Path, cache: Path, name: str, asked: list[Question], backbone: int, with_cells: bool
) -> Source:
    """Join questions about the set `name` with the features of its pictures, and their cells."""
    pictures = sorted({item.picture for item in asked})
    vectors = features(data / name / "images.tar", pictures, [VIEW], cache, backbone)[:, 0]
    if with_cells:
        mean, basis = components(data, cache, backbone)
        found = cells(data, name, pictures, cache, backbone) + (mean @ basis).astype(np.float16)
        vectors = np.concatenate([vectors, found.reshape(len(found), -1)], axis=1)
    row = {picture: i for i, picture in enumerate(pictures)}
    return Source(asked, torch.from_numpy(vectors).float(), [row[item.picture] for item in asked])


def _side_by_side(left: Tensor, right: Tensor) -> Tensor:
    """Squash two pictures into one: the mean of their features, every second column of cells."""
    both = (left + right) / 2
    if len(both) == POOLED:
        return both
    maps = [picture[POOLED:].view(CELLS, CELLS, COMPONENTS) for picture in (left, right)]
    columns = torch.cat([maps[0][:, ::2], maps[1][:, 1::2]], dim=1)
    return torch.cat([both[:POOLED], columns.flatten()])


def room_teacher(data: Path, rooms: Source, words: TrainingVocabulary) -> Teacher:
    """Fit the teacher to DAQUAR's questions, which come first in `rooms`."""
    asked = question_sets.daquar_questions(data, "train")
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
    """Draws random batches of examples."""

    def __init__(
        self,
        sources: dict[str, Source],
        photos: Source,
        labels: Sequence[int],
        described: list[Question],
        people: Sequence[datasets.AnsweredQuestion],
        described_pictures: DescribedPictures,
        words: TrainingVocabulary,
        teacher: Teacher,
        classifier: nn.Linear,
        basis: Tensor,
    ) -> None:
        """Prepare the draws.

        Args:
            sources: "captions", "daquar", "pets", "coco" and "scenes".
            photos: ImageNet's; except about colours, their questions are made here.
            labels: The class of each of those photos.
            described: Questions about described pictures, named by their index.
            people: Questions without pictures.
            described_pictures: Synthesizes the described pictures.
            words: The vocabulary.
            teacher: Fitted to the first questions of "daquar".
            classifier: The backbone's own layer 1280 -> 1000.
            basis: (1280, `COMPONENTS`), the principal directions of cells.
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
        sources["captions"].weights = _balanced_weights(sources["captions"].questions)
        self.described, self.described_weights = described, _balanced_weights(described)
        self.described_pictures = described_pictures
        self.people = [item for item in people if words.canonical(item.answers[0]) in words.answers]
        # An answer counts less the fewer people agree.
        self.agreement = [*accumulate(item.agreement**0.5 for item in self.people)]
        self.likely_pictures = likely_pictures(self.people, described_pictures.groups)
        self.makers: dict[str, Callable[[], Example]] = {
            "collage": self._collage,
            "imagenet": self._photo,
            "classes": self._class,
        }

    def draw(self) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
        """Draw one batch.

        Returns:
            The arguments of the network's `forward`, and the target distribution (n, answers).
        """
        rows, taught, rooms = [], {}, []
        for name, origin in self.sources.items():
            # Reading questions takes the time, so each question about a room gets several rooms.
            times = ROOMS if name == "daquar" else 1
            for i in origin.choose(self.rng, SHARES[name] // times) * times:
                row, item = origin.rows[i], origin.questions[i]
                answers = item.answers
                if name == "daquar" and i < len(self.teacher.question_similarity):
                    taught[len(rows)] = i
                    if self.rng.random() < OTHER_ROOM:
                        row, answers = self.rng.randrange(len(origin.vectors)), ()
                    rooms.append(row)
                rows.append(Example(origin.vectors[row], item.text, answers))
        for name, make in self.makers.items():
            rows += [make() for _ in range(SHARES[name])]
        rows += self._described(SHARES["described"])
        rows += self._people(SHARES["people"])
        pictures = self._pictures(rows)
        targets = shares([row.answers for row in rows], self.words)
        places = list(taught)
        lesson = self.teacher(torch.tensor([*taught.values()]), torch.tensor(rooms))
        own = OWN_ANSWER * targets[places].sum(1, keepdim=True)
        targets[places] = lesson.lerp(targets[places], own)
        texts = list(dict.fromkeys(row.text for row in rows))
        place = {text: i for i, text in enumerate(texts)}
        which = torch.tensor([place[row.text] for row in rows])
        return pictures, [self._noisy(self.words.encode(text)) for text in texts], which, targets

    def _pictures(self, rows: Sequence[Example]) -> Tensor:
        """Return the features of the examples' pictures; those described are synthesized here."""
        groups = [row.picture for row in rows if isinstance(row.picture, int)]
        synthetic = iter(self.described_pictures(groups))
        return torch.stack(
            [
                self._changed(self._any_picture(), next(synthetic), EVERYWHERE)
                if isinstance(row.picture, int)
                else row.picture
                for row in rows
            ]
        )

    def _noisy(self, question: Tensor) -> Tensor:
        """Make some words unknown, because people use words that no training question has."""
        lost = torch.tensor([self.rng.random() < NOISE for _ in question])
        return question.masked_fill(lost, UNKNOWN)

    def _collage(self) -> Example:
        pets = self.sources["pets"]
        cat, dog = self.rng.choice(self.cats), self.rng.choice(self.dogs)
        both = _side_by_side(pets.vectors[cat], pets.vectors[dog])
        # Not "what is this?": a share of 1/2 each would make "cat" depend on the dog.
        if self.rng.random() < 0.5:
            return Example(both, ask("number", self.rng, x="animal"), ("2",))
        text = ask("presence", self.rng, x=self.rng.choice(("cat", "dog")))
        return Example(both, text, ("yes",))

    def _photo(self) -> Example:
        i = self.rng.randrange(len(self.labels))
        label, colour = self.labels[i], self.photos.questions[i].answers
        if colour and self.rng.random() < COLOURED:
            asked = question_sets.colour_question("", self.word_of[label], *colour, self.rng)
            return Example(self.photos.vectors[i], asked.text, asked.answers)
        return Example(self.photos.vectors[i], *self._ask_class(label))

    def _class(self) -> Example:
        # The word is drawn first, because every eighth class is a dog.
        label = self.rng.choice(self.everyday[self.rng.choice([*self.everyday])])
        return Example(self._pushed([label]), *self._ask_class(label))

    def _described(self, number: int) -> list[Example]:
        """Draw questions made from the captions of described pictures."""
        drawn = self.rng.choices(self.described, cum_weights=self.described_weights, k=number)
        return [Example(int(item.picture), item.text, item.answers) for item in drawn]

    def _people(self, number: int) -> list[Example]:
        """Draw people's questions, without a picture or about one that may fit."""
        rows: list[Example] = []
        for i in self.rng.choices(range(len(self.people)), cum_weights=self.agreement, k=number):
            item, fitting = self.people[i], self.likely_pictures[i]
            picture: Tensor | int = self._any_picture()
            if self.rng.random() > SEEING:
                picture = torch.zeros_like(picture)
            elif fitting and self.rng.random() < FITTING:
                picture = self.rng.choice(fitting)
            rows.append(Example(picture, item.question, item.answers))
        return rows

    def _any_picture(self) -> Tensor:
        name = self.rng.choice([*self.sources])
        return self.sources[name].random_picture(self.rng)

    def _pushed(self, labels: Sequence[int]) -> Tensor:
        """Move a random picture's features towards classes, as far as photos of them are."""
        name = self.rng.choice(("captions", "daquar", "coco"))
        base = self.sources[name].random_picture(self.rng)
        push = sum(self.rng.uniform(0.3, 0.6) * self.directions[label] for label in labels)
        push = push * base[:POOLED].norm() / len(labels) ** 0.5
        base = base * self.rng.uniform(0.4, 1)
        top, left = self.rng.randrange(CELLS - 2), self.rng.randrange(CELLS - 2)
        part = slice(top, top + 4), slice(left, left + 4)
        return self._changed(base, (base[:POOLED] + push).relu(), part)

    def _changed(self, base: Tensor, pooled: Tensor, part: tuple[slice, slice]) -> Tensor:
        """Replace a picture's pooled features; the cells of `part` change to fit them."""
        if len(base) == POOLED:
            return pooled
        cells = base[POOLED:].view(CELLS, CELLS, COMPONENTS).clone()
        # So much that the mean over all cells equals the pooled features.
        scale = CELLS**2 / cells[part][..., 0].numel()
        cells[part] += (pooled - base[:POOLED]) @ self.basis * scale
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
        """Draw a question that an object's name does not answer: where, how many, ..."""
        origin = self.sources["captions"]
        while True:
            item = self.rng.choice(origin.questions)
            if item.kind in ("place", "colour", "action", "number"):
                return item.text, item.answers


def _balanced_weights(asked: Sequence[Question]) -> list[float]:
    """Return cumulative weights that draw rare kinds of questions more often.

    A kind is drawn in proportion to the square root of its number, and so is an answer within its
    kind.
    """
    counts = Counter((item.kind, item.answers[0]) for item in asked)
    kinds: dict[str, list[int]] = defaultdict(list)
    for (kind, _), number in counts.items():
        kinds[kind].append(number)
    share = {
        kind: sum(numbers) ** 0.5 / sum(number**0.5 for number in numbers)
        for kind, numbers in kinds.items()
    }
    return [
        *accumulate(share[item.kind] * counts[item.kind, item.answers[0]] ** -0.5 for item in asked)
    ]
