"""Every data set of `../shared/data`, read in one place (its README says what each is).

Names are those of the pictures in the set's `images.tar`, without a folder common to all
(`1.jpg`, `cat/0000.jpg`). Texts are as people wrote them. Sets that come without a split get one
here: "dev" pictures train nothing.
"""

import csv
import io
import tarfile
from collections import defaultdict
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from timm.data import ImageNetInfo

PETS = 700  # of each kind
SCENES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
SCENE_PHOTOS = 450  # of each kind


class Asked(NamedTuple):
    """A question of people's about a picture, with their answer.

    Attributes:
        picture: Its name; empty where the question came without.
        question: As written.
        answers: One, or the several that belong together; without underscores.
        agreeing: How many of ten people gave this answer; 0 where it is not known.
    """

    picture: str
    question: str
    answers: tuple[str, ...]
    agreeing: int = 0


class Box(NamedTuple):
    """Where a thing is: left, top, width and height as shares of the picture's sides."""

    label: str
    x: float
    y: float
    w: float
    h: float


def flickr8k(data: Path, split: str) -> dict[str, list[str]]:
    """Picture -> five captions, of the split "train" or "dev"."""
    captions = defaultdict(list)
    for row in _rows(data / "flickr8k" / "captions.csv"):
        if row["split"] == split:
            captions[row["image"]].append(row["caption"])
    return dict(captions)


def coco_captions(data: Path, split: str | None = None) -> dict[str, list[str]]:
    """Picture -> five captions or so, of 171 photos; every second is "dev", the others "train"."""
    captions = defaultdict(list)
    for row in _rows(data / "coco" / "captions.csv"):
        captions[row["image"]].append(row["caption"])
    return {
        name: written
        for i, (name, written) in enumerate(sorted(captions.items()))
        if split is None or (i % 2 == 0) == (split == "dev")
    }


def coco_sentences(data: Path) -> list[list[str]]:
    """The captions of pictures that are not there, those of one picture together."""
    groups = defaultdict(list)
    for row in _rows(data / "coco" / "sentences.csv"):
        groups[row["group"]].append(row["caption"])
    return list(groups.values())


def coco_boxes(data: Path) -> dict[str, list[Box]]:
    """Picture -> the boxes of its things, under COCO's 80 names, of 186 photos."""
    boxes = defaultdict(list)
    for row in _rows(data / "coco" / "boxes.csv"):
        sides = (float(row[side]) for side in "xywh")
        boxes[row["image"]].append(Box(row["label"], *sides))
    return dict(boxes)


def coco_questions(data: Path) -> list[Asked]:
    """People's questions about some of the photos."""
    return [
        Asked(row["image"], row["question"], (row["answer"],))
        for row in _rows(data / "coco" / "questions.csv")
    ]


def questions_without_pictures(data: Path) -> list[Asked]:
    """People's questions about pictures that are not there."""
    return [
        Asked("", row["question"], (row["answer"],), int(row["agreeing"]))
        for row in _rows(data / "coco" / "questions_without_pictures.csv")
    ]


def daquar(data: Path, split: str) -> list[Asked]:
    """People's questions about rooms, of the split "train" or "dev"."""
    return [
        Asked(row["image"], row["question"], tuple(row["answer"].replace("_", " ").split(", ")))
        for row in _rows(data / "daquar" / "questions.csv")
        if row["split"] == split
    ]


def pets(split: str) -> dict[str, str]:
    """Picture -> "cat" or "dog"; every fifth is "dev", the others are "train"."""
    return _labelled(("cat", "dog"), PETS, split)


def scenes(split: str) -> dict[str, str]:
    """Picture -> one of `SCENES`; every fifth is "dev", the others are "train"."""
    return _labelled(SCENES, SCENE_PHOTOS, split)


def imagenet(data: Path, split: str) -> dict[str, int]:
    """Picture -> its ImageNet class, 0..999, of the one photo that each of 600 classes has.

    Every third class is "dev", the others are "train": what is learned from photos of some
    classes is measured on others.
    """
    with tarfile.open(data / "imagenet" / "images.tar") as archive:
        names = sorted(Path(member.name).name for member in archive if member.isfile())
    index = {wnid: i for i, wnid in enumerate(ImageNetInfo("imagenet-1k").label_names())}
    return {
        name: index[name.removesuffix(".jpg")]
        for i, name in enumerate(names)
        if (i % 3 == 0) == (split == "dev")
    }


def pictures(data: Path, source: str, names: Container[str]) -> Iterator[tuple[str, Image.Image]]:
    """Give the pictures of a set that have these names, RGB, in the order of the archive.

    Args:
        data: The folder of all sets.
        source: A set's folder: "flickr8k", "coco", ...
        names: Which are wanted.
    """
    with tarfile.open(data / source / "images.tar") as archive:
        for member in archive:
            name = member.name.removeprefix("images/")
            if member.isfile() and name in names:
                content = io.BytesIO(archive.extractfile(member).read())
                yield name, Image.open(content).convert("RGB")


def _labelled(kinds: tuple[str, ...], number: int, split: str) -> dict[str, str]:
    return {
        f"{kind}/{i:04}.jpg": kind
        for kind in kinds
        for i in range(number)
        if (i % 5 == 0) == (split == "dev")
    }


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
