"""The commands for studies."""

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from gradcam_core.cli import app

# The cat's face in the photo of 451 x 300 pixels, by eye; and a corner without the cat.
FACE = (100, 20, 330, 280)
CORNER = (0, 200, 60, 300)


@pytest.fixture
def photos(tmp_path: Path, cat_file: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(cat_file, folder / "cat.png")
    return folder


def voc(name: str, box: tuple[int, int, int, int]) -> str:
    ends = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    return (
        "<annotation><size><width>451</width><height>300</height></size>"
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{end}>{value}</{end}>" for end, value in ends)
        + "</bndbox></object></annotation>"
    )


@pytest.mark.parametrize(("box", "expected"), [(FACE, "1.000"), (CORNER, "0.000")])
def test_localise_with_imagenet_boxes(photos: Path, box: tuple, expected: str) -> None:
    (photos / "cat.xml").write_text(voc("n02124075", box))
    result = CliRunner().invoke(app, ["localise", str(photos), str(photos)])
    assert result.exit_code == 0, result.output
    assert "1 of 1 photos" in result.output
    assert "Classification error: top-1 0.000" in result.output
    assert f"Pointing game: {expected}" in result.output


def test_localise_with_coco_names_and_another_threshold(photos: Path) -> None:
    left, top, right, bottom = FACE
    content = {
        "images": [{"id": 1, "file_name": "cat.png", "width": 451, "height": 300}],
        "categories": [{"id": 17, "name": "cat"}],
        "annotations": [
            {"image_id": 1, "category_id": 17, "bbox": [left, top, right - left, bottom - top]}
        ],
    }
    boxes = photos.parent / "boxes.json"
    boxes.write_text(json.dumps(content))
    found = CliRunner().invoke(app, ["localise", str(photos), str(boxes), "--threshold", "0.3"])
    missed = CliRunner().invoke(app, ["localise", str(photos), str(boxes), "--threshold", "0.99"])
    assert "Localisation error: top-1 0.000" in found.output
    assert "Localisation error: top-1 1.000" in missed.output


def test_localise_without_known_classes(photos: Path) -> None:
    (photos / "cat.xml").write_text(voc("qwertyuiop", FACE))
    result = CliRunner().invoke(app, ["localise", str(photos), str(photos)])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.output.strip()


def test_adversarial(photos: Path, tmp_path: Path) -> None:
    options = ["--out", str(tmp_path / "out"), "--target", "airliner"]
    result = CliRunner().invoke(app, ["adversarial", str(photos), *options])
    assert result.exit_code == 0, result.output
    assert "Egyptian cat -> airliner" in result.output
    assert "1 of 1" in result.output
    assert (tmp_path / "out" / "cat.png").stat().st_size > 10_000
    # The class that the photo is of already, by its synonym: nothing to attack.
    options[-1] = "Egyptian_cat"
    assert CliRunner().invoke(app, ["adversarial", str(photos), *options]).exit_code == 1


def test_bias_of_two_sets(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "others"
    other.mkdir()
    Image.open(photos / "cat.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
        other / "<b>flipped.png"
    )
    out = tmp_path / "bias.html"
    options = ["--target", "Egyptian cat", "--against", str(other), "--out", str(out)]
    result = CliRunner().invoke(app, ["bias", str(photos), *options])
    assert result.exit_code == 0, result.output
    written = out.read_text("utf-8")
    assert "&lt;b&gt;flipped.png" in written
    # All pictures are embedded: two mean maps, a difference, two photos.
    assert re.findall(r'src="(data:image/jpeg;base64),', written) == ["data:image/jpeg;base64"] * 5
    assert written.count("src=") == 5
