"""Many photos in batches."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gradcam_core
from gradcam_core.batch import explain_many as batch
from gradcam_core.query import Query


@pytest.fixture
def files(tmp_path: Path, cat_file: Path) -> list[Path]:
    """More than are read ahead, of several sizes, three of them bad."""
    found = []
    for i in range(batch.READ_AHEAD + 3):
        found.append(tmp_path / f"{i}.png")
        with Image.open(cat_file) as cat:
            cat.resize((40 + 10 * i, 60)).save(found[-1])
    found[2].write_bytes(b"no picture")
    found[4].write_bytes(b"neither")
    found[5].unlink()
    return found


@pytest.mark.parametrize("more", [{}, {"target": "tabby", "method": "layercam"}, {"guided": True}])
def test_many_are_explained_as_one_is(files: list[Path], more: dict[str, object]) -> None:
    found = list(gradcam_core.explain_many(files, Query(**more)))
    assert [file for file, _ in found] == files
    for i, (file, explanation) in enumerate(found):
        if i in {2, 4, 5}:
            with pytest.raises(type(explanation), match=file.name):
                gradcam_core.explain(file)
            continue
        alone = gradcam_core.explain(file, **more)
        assert (explanation.target, explanation.source) == (alone.target, file)
        assert explanation.score == pytest.approx(alone.score, abs=1e-4)
        assert explanation.raw == pytest.approx(alone.raw, abs=1e-4)
        assert (explanation.gradient is None) == (alone.gradient is None)


@pytest.mark.parametrize(
    "query",
    [{"layer": "nowhere"}, {"method": "attention"}, {"task": "captioning", "model": "lite0"}],
)
def test_a_query_that_fits_no_photo_is_refused_before_the_first(query: dict[str, str]) -> None:
    def photos() -> Iterator[Path]:
        pytest.fail("a photo was read")
        yield Path()

    with pytest.raises(ValueError, match=r"nowhere|attention|captioning"):
        gradcam_core.explain_many(photos(), Query(**query))


def test_a_target_that_does_not_exist_is_reported_with_each_photo(files: list[Path]) -> None:
    found = gradcam_core.explain_many(files[:3], Query(target="no such class"))
    errors = [type(error) for _, error in found]
    assert errors == [gradcam_core.UnknownLabelError, gradcam_core.UnknownLabelError, ValueError]


def test_only_a_few_are_started_before_their_turn() -> None:
    started: list[int] = []
    asked: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            asked.append(number)
            yield number

    pairs = batch.in_threads(started.append, numbers(), threads=2, ahead=3)
    assert next(pairs)[0] == 0
    assert len(asked) == 4
    pairs.close()
    assert len(started) <= 4


def test_results_come_in_order_and_errors_with_their_item() -> None:
    slow = threading.Event()

    def half(number: int) -> float:
        if number == 0:
            slow.wait()
        else:
            slow.set()
        return 6 / (number - 3)

    found = list(batch.in_threads(half, range(5), threads=2, ahead=2))
    assert [number for number, _ in found] == [0, 1, 2, 3, 4]
    assert [future.result() for _, future in found[:3]] == [-2, -3, -6]
    with pytest.raises(ZeroDivisionError):
        found[3][1].result()


def test_a_batch_is_encoded_as_each_is(cat_file: Path) -> None:
    backbone = gradcam_core.load("lite0").backbone
    picture = gradcam_core.open_image(cat_file)
    pictures = [picture, picture.rotate(90), picture.crop((0, 0, 50, 90))]
    for many, picture in zip(backbone.encode_many(pictures, "blocks.6"), pictures, strict=True):
        alone = backbone.encode(picture, "blocks.6")
        assert many.activations.requires_grad
        assert many.activations.is_leaf
        for name in ("activations", "head_input", "pixels"):
            ours, theirs = (getattr(each, name).detach().numpy() for each in (many, alone))
            assert np.allclose(ours, theirs, atol=1e-4)
