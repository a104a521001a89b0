"""The command line, as people type it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from huggingface_hub import constants
from PIL import Image
from typer.testing import CliRunner

import gradcam_core
from gradcam_core.__main__ import app

runner = CliRunner()


@pytest.fixture
def photos(cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos, one of them deeper, and things that are none; we stand beside the folder."""
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    with Image.open(cat_file) as cat:
        for name in ("cat.jpg", "cat.png", "deeper/cat.JPG"):
            cat.save(folder / name)
    (folder / "notes.txt").write_text("not a photo")
    (folder / "._cat.jpg").write_text("what a Mac leaves on a stick")
    monkeypatch.chdir(tmp_path)
    return folder


def run(*arguments: str) -> Result:
    return runner.invoke(app, arguments)


def rows(folder: str) -> list[dict[str, str]]:
    with (Path(folder) / "summary.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_from_a_shell(photos: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    (photos / "broken.jpg").write_bytes(b"not a photo either")
    finished = subprocess.run(
        [sys.executable, "-m", "gradcam_core", "explain", photos, "--out", "out"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert finished.returncode == 1
    assert "broken.jpg is not a picture" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert finished.stdout.count("Egyptian cat") == 3  # the others were explained all the same


def test_a_folder_is_searched_to_the_bottom(photos: Path) -> None:
    done = run("explain", "photos", "--target", "tabby", "--guided", "--out", "photos/out")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("tabby (score") == 3
    out = photos / "out"
    assert {path.name for path in out.iterdir()} == {"cat", "cat-2", "cat-3", "summary.csv"}
    assert (out / "cat-3" / "guided_grad_cam.png").is_file()
    assert [(row["folder"], row["target"], row["error"]) for row in rows("photos/out")] == [
        ("cat", "tabby", ""),
        ("cat-2", "tabby", ""),
        ("cat-3", "tabby", ""),
    ]
    for row in rows("photos/out"):
        numbers = json.loads((out / row["folder"] / "explanation.json").read_text("utf-8"))
        assert numbers["source"] == Path(row["source"]).name
        assert numbers["score"] == float(row["score"])
        assert numbers["probability"] == float(row["probability"])
    # Results are no photos.
    assert run("explain", "photos", "--out", "photos/out").stdout.count("->") == 3


def test_commands_one_after_the_other_keep_apart(photos: Path) -> None:
    """Those of the README: each photo in a folder of its own, named in the table."""
    cat = ("explain", "photos/cat.jpg", "--out", "results")
    said = [
        run(*cat, "--target", "tabby", "--guided").stdout,
        run(*cat, "--task", "captioning").stdout,
        run(*cat, "--task", "vqa", "--question", "What animal?", "--target", "cat").stdout,
    ]
    assert "results/cat\n" in said[0]
    assert "results/cat-2 (cat is there already)" in said[1]
    assert "results/cat-3 (cat is there already)" in said[2]
    folders = [Path("results") / name for name in ("cat", "cat-2", "cat-3")]
    kept = [json.loads((folder / "explanation.json").read_text("utf-8")) for folder in folders]
    assert [numbers["task"] for numbers in kept] == ["classification", "captioning", "vqa"]
    assert [(folder / "guided_backprop.png").exists() for folder in folders] == [True, False, False]
    assert [bool(list(folder.glob("word_*"))) for folder in folders] == [False, True, False]
    table = rows("results")
    assert [row["task"] for row in table] == ["classification", "captioning", "vqa"]
    assert table[2]["question"] == "What animal?"
    # Of a sentence the logarithm is told: its probability would be shown as 0.000.
    assert table[1]["probability"] == ""
    assert float(table[1]["log_p"]) == kept[1]["score"]
    assert f"(log p {kept[1]['score']:.2f})" in said[1]


def test_what_failed_is_in_the_table_too(photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"not a photo")
    done = run("explain", "photos/broken.jpg", "nowhere.jpg", "photos/cat.jpg", "--out", "out")
    assert done.exit_code == 1
    broken, nowhere, cat = rows("out")
    assert (broken["folder"], nowhere["folder"], cat["folder"]) == ("", "", "cat")
    assert "not a picture" in broken["error"]
    assert "There is no file nowhere.jpg" in nowhere["error"]
    assert cat["error"] == ""
    assert sorted(path.name for path in Path("out").iterdir()) == ["cat", "summary.csv"]


def test_a_quoted_pattern(photos: Path) -> None:
    assert run("explain", "photos/*.jpg", "--out", "one").stdout.count("->") == 1
    assert run("explain", "photos/**/*", "--out", "all").stdout.count("->") == 3
    (photos / "cat[1].jpg").write_bytes((photos / "cat.jpg").read_bytes())
    assert run("explain", "photos/cat[1].jpg", "--out", "odd").stdout.count("->") == 1
    none = run("explain", "photos/*.gif", "--out", "none")
    assert (none.exit_code, none.stderr) == (1, "There are no photos that fit photos/*.gif.\n")


def test_a_folder_without_photos(photos: Path) -> None:
    (photos / "empty").mkdir()
    done = run("explain", "photos/empty", "--out", "out")
    assert done.exit_code == 1
    assert done.stderr == "There are no photos in the folder photos/empty.\n"
    assert not Path("out").exists()


def test_a_table_of_somebody_else_is_left_alone(photos: Path) -> None:
    Path("out").mkdir()
    Path("out/summary.csv").write_text("name,price\n")
    done = run("explain", "photos/cat.jpg", "--out", "out")
    assert done.exit_code == 1
    assert "summary.csv is no table of such results" in done.stderr
    assert [path.name for path in Path("out").iterdir()] == ["summary.csv"]
    assert Path("out/summary.csv").read_text() == "name,price\n"


@pytest.mark.parametrize("model", ["alexnet", "blip-base"])
def test_a_download_that_does_not_begin_is_not_told_of(
    photos: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(photos))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(photos))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    task = gradcam_core.describe(model)[0].task
    done = run("explain", "photos/cat.jpg", "--model", model, "--task", task, "--out", "out")
    assert done.exit_code == 1
    assert f"{model} is not on this machine: " in done.stderr
    assert "cannot be reached" in done.stderr
    assert "is downloaded" not in done.stderr
    assert not Path("out").exists()


def test_lists() -> None:
    listed = run("models").stdout.splitlines()
    for line, info in zip(listed, gradcam_core.models(), strict=True):
        for part in (info.name, info.task, info.title, str(info.year), info.licence):
            assert part in line
    described = run("methods").stdout.splitlines()
    for line, (name, method) in zip(described, gradcam_core.methods().items(), strict=True):
        assert line.startswith(name)
        assert method.title in line
        assert method.paper in line
    assert run("--version").stdout == f"gradcam {gradcam_core.__version__}\n"
