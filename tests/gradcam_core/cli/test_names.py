"""Names of files and classes that attack a terminal, a spreadsheet or a figure."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import transformers
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import gradcam_core
from gradcam_core.cli import app
from gradcam_core.cli.output import printable
from gradcam_core.cli.table import Table, cell

HOSTILE = [
    b"=cmd|' -C calc'!A0.jpg",
    b"@SUM(1+1).jpg",
    b"+1.jpg",
    b"-1+2.jpg",
    b"\t=1.jpg",
    b"\r=1.jpg",
    b" =1.jpg",
    b"a\nb.jpg",
    b"\x1b]0;owned\x07\x1b[31mred.jpg",
    "\u202egpj.exe.jpg".encode(),
    "\x9b31mred.jpg".encode(),
    b"not utf8 \xff.jpg",
    b"$x^{2$.jpg",
]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small classifier whose classes have hostile names."""
    folder = tmp_path_factory.mktemp("network")
    classes = ["$x^{2$", "\x1b[31mred", "=1+1", "\u202etac"]
    config = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        id2label=dict(enumerate(classes)),
        label2id={name: index for index, name in enumerate(classes)},
    )
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(folder)
    gradcam_core.load(str(folder))  # prints a progress bar of its own
    return str(folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    if sys.platform != "linux":
        pytest.skip("other systems allow no such names")
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = Image.linear_gradient("L").convert("RGB").resize((64, 64))
    picture.save(tmp_path / "a.jpg")
    for name in HOSTILE:
        shutil.copy(tmp_path / "a.jpg", os.fsdecode(bytes(folder) + b"/" + name))
    (folder / "\x1bbroken.jpg").write_bytes(b"")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def is_clean(result: Result) -> bool:
    return all(line.isprintable() for line in result.output.split("\n"))


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines))


def test_explain(photos: Path, tmp_path: Path, network: str) -> None:
    out = tmp_path / "out"
    done = run("explain", photos, "--out", out, "--model", network)
    assert done.exit_code == 1  # the broken photo
    assert is_clean(done)
    assert done.stdout.count(" -> ") == len(HOSTILE)
    found = rows(out / "summary.csv")[1:]
    assert len(found) == len(HOSTILE) + 1
    assert all(text.isprintable() for row in found for text in row)
    folders = {row[1] for row in found}
    assert {"'=cmd|' -C calc'!A0", "'@SUM(1+1)", "'+1", "'-1+2", r"'\t=1"} <= folders
    again = run("explain", photos, "--out", out, "--model", network, "--skip-existing")
    assert again.stdout == ""  # all names are known again
    assert len(rows(out / "summary.csv")) == len(HOSTILE) + 3


@pytest.mark.slow
def test_each_other_command(photos: Path, tmp_path: Path, network: str) -> None:
    model = ("--model", network)
    page = tmp_path / "page.html"
    assert is_clean(run("bias", photos, "--target", "$x^{2$", "--out", page, *model))
    assert page.read_text("utf-8").count("<figcaption>") == len(HOSTILE)
    page.unlink()
    red = run("bias", photos, "--target", "\x1b[31mred", "--out", page, *model)
    assert red.exit_code == 1
    assert is_clean(red)
    attacked = run("adversarial", photos, "--out", tmp_path / "figures", *model)
    assert isinstance(attacked.exception, SystemExit)
    assert is_clean(attacked)
    assert len(list((tmp_path / "figures").glob("*.png"))) == len(HOSTILE)
    (tmp_path / "boxes.xml").write_text("<annotation/>")
    located = run("localise", photos, tmp_path / "boxes.xml", *model)
    assert isinstance(located.exception, SystemExit)
    assert is_clean(located)


def test_json_holds_every_name(photos: Path, tmp_path: Path, network: str) -> None:
    done = run("explain", photos, "--out", tmp_path / "out", "--model", network, "--json")
    assert is_clean(done)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    names = sorted(os.fsencode(Path(each["source"]).name) for each in records)
    assert names == sorted([*HOSTILE, b"\x1bbroken.jpg"])


def test_what_is_typed_is_not_printed_as_it_is(photos: Path) -> None:
    for arguments in (
        ["explain", "\x1b[31mnowhere.jpg", "--out", "out\x1b[31m", "--method", "\x1b[31m"],
        ["explain", photos, "--out", "out", "--task", "\x1b[31m"],
        ["evaluate", "\x1b[31m.jpg"],
        ["localise", photos, "\x1b[31m"],
        ["explain", "http://\x1b[31m", "--out", "out"],
    ):
        done = run(*arguments)
        assert done.exit_code in (1, 2)
        assert is_clean(done), arguments


@given(st.text())
def test_no_text_is_a_formula_or_unseen(text: str) -> None:
    assert printable(text).isprintable()
    assert cell(text).isprintable()
    assert not cell(text).lstrip(" ").startswith(tuple("=+-@\t\r\n＝＋－＠"))


@given(st.lists(st.text(), min_size=3, max_size=3))
def test_a_row_is_a_line(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    file = tmp_path_factory.mktemp("table") / "table.csv"
    Table(file, ["a", "b", "c"]).append(dict(zip("abc", texts, strict=True)))
    assert file.read_bytes().count(b"\n") == 2
    assert rows(file)[1] == [cell(text) for text in texts]
