"""Many photos in batches."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

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
    found = list(batch.explain_photos(files, Query(**more)))
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
        batch.explain_photos(photos(), Query(**query))


def test_a_target_that_does_not_exist_is_reported_with_each_photo(files: list[Path]) -> None:
    found = batch.explain_photos(files[:3], Query(target="no such class"))
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


def test_pictures_with_a_target_each(files: list[Path], cat_file: Path) -> None:
    pictures = [cat_file, np.asarray(Image.open(cat_file).convert("RGB")), Image.open(cat_file)]
    targets = ["tabby", 285, None]
    found = list(gradcam_core.explain_many(pictures, target=targets, method="layercam"))
    assert [each.source for each in found] == [cat_file, None, None]
    for target, each in zip(targets, found, strict=True):
        alone = gradcam_core.explain(cat_file, target=target, method="layercam")
        assert each.target == alone.target
        assert each.raw == pytest.approx(alone.raw, abs=1e-4)
    with pytest.raises(ValueError, match="fewer targets"):
        list(gradcam_core.explain_many(pictures, target=["tabby"]))


def test_bad_files_are_skipped_with_a_warning(files: list[Path]) -> None:
    with pytest.warns(UserWarning, match=r"2\.png|4\.png|5\.png") as warned:
        found = list(gradcam_core.explain_many(files))
    assert len(warned) == 3
    assert [each.source for each in found] == [f for i, f in enumerate(files) if i not in {2, 4, 5}]


def test_a_data_loader_with_targets() -> None:
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=7).eval()
    images, labels = torch.randn(5, 3, 64, 64), torch.tensor([1, 2, 3, 4, 5])
    loader = DataLoader(TensorDataset(images, labels), batch_size=2)
    model = gradcam_core.wrap(network)
    found = list(gradcam_core.explain_many(loader, model=model))
    expected = gradcam_core.attribute(network, images, labels)
    assert [each.target for each in found] == [f"class {label}" for label in labels]
    for each, raw in zip(found, expected, strict=True):
        assert each.raw == pytest.approx(raw.numpy(), abs=1e-5)
        assert each.picture.size == (64, 64)
    only_images = DataLoader(TensorDataset(images), batch_size=3)
    again = list(gradcam_core.explain_many(only_images, model=model, target=labels.tolist()))
    assert [each.target for each in again] == [each.target for each in found]
    (alone,) = gradcam_core.explain_many([images[0]], model=model, target=1)
    assert alone.raw == pytest.approx(found[0].raw, abs=1e-5)
