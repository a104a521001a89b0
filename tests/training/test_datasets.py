"""The readers return what archives and tables have, each picture in one split.

Without the data, which is not part of the repository, these tests are skipped.
"""

import tarfile
from pathlib import Path

import pytest

from training import datasets

DATA = Path("../shared/data")

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data")


def archived(source: str) -> set[str]:
    with tarfile.open(DATA / source / "images.tar") as archive:
        return {member.name.removeprefix("images/") for member in archive if member.isfile()}


@pytest.mark.parametrize(
    ("source", "train", "dev"),
    [
        ("flickr8k", datasets.flickr8k(DATA, "train"), datasets.flickr8k(DATA, "dev")),
        ("pets", datasets.pets("train"), datasets.pets("dev")),
        ("scenes", datasets.scenes("train"), datasets.scenes("dev")),
        ("imagenet", datasets.imagenet(DATA, "train"), datasets.imagenet(DATA, "dev")),
    ]
    if DATA.exists()
    else [],
)
def test_every_picture_is_in_one_split(source: str, train: dict, dev: dict) -> None:
    assert not train.keys() & dev.keys()
    assert train.keys() | dev.keys() == archived(source)
    assert len(train) > len(dev) > 0


def test_tables_name_existing_pictures() -> None:
    coco = archived("coco")
    assert datasets.coco_captions(DATA).keys() <= coco
    assert datasets.coco_boxes(DATA).keys() <= coco
    assert {asked.picture for asked in datasets.coco_questions(DATA)} <= coco
    rooms = [{asked.picture for asked in datasets.daquar(DATA, s)} for s in ("train", "dev")]
    assert not rooms[0] & rooms[1]
    assert rooms[0] | rooms[1] <= archived("daquar")


def test_counts_equal_those_of_the_readme() -> None:
    assert len(datasets.flickr8k(DATA, "train")) == 6091
    groups = datasets.coco_sentences(DATA)
    assert (len(groups), sum(map(len, groups))) == (4754, 23783)
    assert len(datasets.questions_without_pictures(DATA)) == 58394
    assert all(1 <= asked.agreement <= 10 for asked in datasets.questions_without_pictures(DATA))
    assert sum(map(len, datasets.coco_boxes(DATA).values())) == 1486


def test_answers_have_no_underscores() -> None:
    answers = {answer for asked in datasets.daquar(DATA, "train") for answer in asked.answers}
    assert "garbage bin" in answers
    assert not any("_" in answer for answer in answers)


def test_photos_have_imagenet_classes() -> None:
    photos = datasets.imagenet(DATA, "dev") | datasets.imagenet(DATA, "train")
    assert photos["n01443537.jpg"] == 1  # goldfish
    assert len(set(photos.values())) == 600


def test_pictures_are_read_by_name() -> None:
    (found,) = datasets.pictures(DATA, "pets", {"cat/0003.jpg"})
    assert found[0] == "cat/0003.jpg"
    assert found[1].mode == "RGB"
