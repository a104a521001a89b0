"""Readers for every data set in `../shared/data` (its README describes them).

Pictures are named by their path in the set's `images.tar`, without a folder common to all
(`1.jpg`, `cat/0000.jpg`). Texts are as people wrote them. Sets that come without a split get one
here; no "dev" picture is used for training.
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

PETS = 700  # photos of each kind
SCENES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
SCENE_PHOTOS = 450  # photos of each kind


class AnsweredQuestion(NamedTuple):
    """A question that people asked about a picture, with their answer.

    Attributes:
        picture: Its name; empty if the picture is not available.
        question: As written.
        answers: One, or several that belong together; without underscores.
        agreement: How many of ten people gave this answer; 0 if unknown.
    """

    picture: str
    question: str
    answers: tuple[str, ...]
    agreement: int = 0


class Box(NamedTuple):
    """A bounding box: left, top, width and height as shares of the picture's sides."""

    label: str
    x: float
    y: float
    w: float
    h: float


def flickr8k(data: Path, split: str) -> dict[str, list[str]]:
    """Return picture -> five captions, for the split "train" or "dev"."""
    captions = defaultdict(list)
    for row in _rows(data / "flickr8k" / "captions.csv"):
        if row["split"] == split:
            captions[row["image"]].append(row["caption"])
    return dict(captions)


def coco_captions(data: Path, split: str | None = None) -> dict[str, list[str]]:
    """Return picture -> about five captions, for 171 photos; every second one is "dev"."""
    captions = defaultdict(list)
    for row in _rows(data / "coco" / "captions.csv"):
        captions[row["image"]].append(row["caption"])
    return {
        name: written
        for i, (name, written) in enumerate(sorted(captions.items()))
        if split is None or (i % 2 == 0) == (split == "dev")
    }


def coco_sentences(data: Path) -> list[list[str]]:
    """Return the captions of pictures that are not available, grouped by picture."""
    groups = defaultdict(list)
    for row in _rows(data / "coco" / "sentences.csv"):
        groups[row["group"]].append(row["caption"])
    return list(groups.values())


def coco_boxes(data: Path) -> dict[str, list[Box]]:
    """Return picture -> boxes, labelled with COCO's 80 names, for 186 photos."""
    boxes = defaultdict(list)
    for row in _rows(data / "coco" / "boxes.csv"):
        sides = (float(row[side]) for side in "xywh")
        boxes[row["image"]].append(Box(row["label"], *sides))
    return dict(boxes)


def coco_questions(data: Path) -> list[AnsweredQuestion]:
    """Return people's questions about some of the photos."""
    return [
        AnsweredQuestion(row["image"], row["question"], (row["answer"],))
        for row in _rows(data / "coco" / "questions.csv")
    ]


def questions_without_pictures(data: Path) -> list[AnsweredQuestion]:
    """Return people's questions about pictures that are not available."""
    return [
        AnsweredQuestion("", row["question"], (row["answer"],), int(row["agreeing"]))
        for row in _rows(data / "coco" / "questions_without_pictures.csv")
    ]


def daquar(data: Path, split: str) -> list[AnsweredQuestion]:
    """Return people's questions about rooms, for the split "train" or "dev"."""
    return [
        AnsweredQuestion(
            row["image"], row["question"], tuple(row["answer"].replace("_", " ").split(", "))
        )
        for row in _rows(data / "daquar" / "questions.csv")
        if row["split"] == split
    ]


def pets(split: str) -> dict[str, str]:
    """Return picture -> "cat" or "dog"; every fifth is "dev", the others are "train"."""
    return _labelled(("cat", "dog"), PETS, split)


def scenes(split: str) -> dict[str, str]:
    """Return picture -> one of `SCENES`; every fifth is "dev", the others are "train"."""
    return _labelled(SCENES, SCENE_PHOTOS, split)


def imagenet(data: Path, split: str) -> dict[str, int]:
    """Return picture -> its ImageNet class, 0..999; one photo for each of 600 classes.

    Every third class is "dev", the others are "train": training and evaluation use photos of
    different classes.
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
    """Yield the named pictures of a set as RGB, in the order of the archive.

    Args:
        data: The folder of all sets.
        source: The set's folder: "flickr8k", "coco", ...
        names: Of the pictures.
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
