"""The command line, as people type it."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import Result
from huggingface_hub import constants
from PIL import Image
from typer.testing import CliRunner

import gradcam_core
from gradcam_core.cli import app
from gradcam_core.cli.options import QUERY_OPTIONS
from gradcam_core.query import Query
from tests.support.program import ROOT

runner = CliRunner()


@pytest.fixture
def photos(cat_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos, one in a subfolder, and other files; the working directory is their parent."""
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
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    (photos / "broken.jpg").write_bytes(b"not a photo either")
    finished = subprocess.run(
        [sys.executable, "-m", "gradcam_core", "explain", photos, "--out", "out"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert finished.returncode == 1
    assert finished.stderr.count("broken.jpg") >= 1
    assert "Traceback" not in finished.stderr
    assert finished.stdout.count("Egyptian cat") == 3  # the others were explained


def test_a_folder_is_searched_recursively(photos: Path) -> None:
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
    # Results are not explained.
    assert run("explain", "photos", "--out", "photos/out").stdout.count("->") == 3


def test_each_photo_of_each_command_has_its_own_folder(photos: Path) -> None:
    """The commands of the README."""
    cat = ("explain", "photos/cat.jpg", "--out", "results")
    printed = [
        run(*cat, "--target", "tabby", "--guided").stdout,
        run(*cat, "--task", "captioning").stdout,
        run(*cat, "--task", "vqa", "--question", "What animal?", "--target", "cat").stdout,
    ]
    for line, folder in zip(printed, ("cat\n", "cat-2 ", "cat-3 "), strict=True):
        assert f"results/{folder}" in line
    folders = [Path("results") / name for name in ("cat", "cat-2", "cat-3")]
    kept = [json.loads((folder / "explanation.json").read_text("utf-8")) for folder in folders]
    assert [numbers["task"] for numbers in kept] == ["classification", "captioning", "vqa"]
    assert [(folder / "guided_backprop.png").exists() for folder in folders] == [True, False, False]
    assert [bool(list(folder.glob("word_*"))) for folder in folders] == [False, True, False]
    table = rows("results")
    assert [row["task"] for row in table] == ["classification", "captioning", "vqa"]
    assert table[2]["question"] == "What animal?"
    for row, explanation in zip(table, kept, strict=True):
        for column in ("score", "probability", "detail"):
            assert float(row[column]) == explanation[column]
        for column in ("guided", "no_evidence", "faint", "unsure"):
            assert row[column] == str(explanation[column])
    assert f"{kept[1]['score']:.2f}" in printed[1]  # log-probability of the caption


def test_failures_are_in_the_table(photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"not a photo")
    done = run("explain", "photos/broken.jpg", "nowhere.jpg", "photos/cat.jpg", "--out", "out")
    assert done.exit_code == 1
    broken, nowhere, cat = rows("out")
    assert (broken["folder"], nowhere["folder"], cat["folder"]) == ("", "", "cat")
    assert "broken.jpg" in broken["error"]
    assert "nowhere.jpg" in nowhere["error"]
    assert cat["error"] == ""
    assert sorted(path.name for path in Path("out").iterdir()) == ["cat", "summary.csv"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_cannot_be_printed_stop_nothing(
    photos: Path, cat_file: Path, encoding: str
) -> None:
    names = [b"a.jpg", b"caf\xe9.jpg", b"broken\xff.jpg", "猫.jpg".encode(), b"z.jpg"]
    for name in names:
        file = Path(os.fsdecode(os.fsencode(photos / "odd") + b"/" + name))
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"" if b"broken" in name else cat_file.read_bytes())
    finished = subprocess.run(
        [sys.executable, "-m", "gradcam_core", "explain", photos / "odd", "--out", "out"],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
    )
    assert finished.returncode == 1
    assert b"Traceback" not in finished.stderr
    finished.stdout.decode(encoding)
    assert len(finished.stdout.splitlines()) == 4
    found = rows("out")
    assert sorted(row["folder"] for row in found) == ["", "a", r"caf\udce9", "z", "猫"]
    assert sum(bool(row["error"]) for row in found) == 1
    folder = Path("out") / os.fsdecode(b"caf\xe9")
    numbers = json.loads((folder / "explanation.json").read_text("utf-8"))
    assert os.fsencode(numbers["source"]) == b"caf\xe9.jpg"


def test_a_quoted_pattern(photos: Path) -> None:
    assert run("explain", "photos/*.jpg", "--out", "one").stdout.count("->") == 1
    assert run("explain", "photos/**/*", "--out", "all").stdout.count("->") == 3
    (photos / "cat[1].jpg").write_bytes((photos / "cat.jpg").read_bytes())
    assert run("explain", "photos/cat[1].jpg", "--out", "odd").stdout.count("->") == 1
    none = run("explain", "photos/*.gif", "--out", "none")
    assert none.exit_code == 1
    assert "photos/*.gif" in none.stderr


def test_a_folder_without_photos(photos: Path) -> None:
    (photos / "empty").mkdir()
    done = run("explain", "photos/empty", "--out", "out")
    assert done.exit_code == 1
    assert "photos/empty" in done.stderr
    assert not Path("out").exists()


def test_a_table_of_another_program_is_not_changed(photos: Path) -> None:
    Path("out").mkdir()
    Path("out/summary.csv").write_text("name,price\n")
    done = run("explain", "photos/cat.jpg", "--out", "out")
    assert done.exit_code == 1
    assert "summary.csv" in done.stderr
    assert [path.name for path in Path("out").iterdir()] == ["summary.csv"]
    assert Path("out/summary.csv").read_text() == "name,price\n"


@pytest.mark.parametrize("model", ["alexnet", "blip-base"])
def test_a_download_that_cannot_start_is_not_reported_as_started(
    photos: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(photos))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # no server there
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(photos))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    task = gradcam_core.describe(model)[0].task
    done = run("explain", "photos/cat.jpg", "--model", model, "--task", task, "--out", "out")
    assert done.exit_code == 1
    announced, failed = done.stderr.splitlines()  # and nothing about a download between the two
    assert announced.startswith(model)
    assert "127.0.0.1:9" in failed or "cannot be reached" in failed
    assert not Path("out").exists()


@pytest.mark.slow
def test_both_programs_have_the_same_commands() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    printed = [
        subprocess.check_output([*program, "--help"], env=environment, text=True)
        for program in (
            [sys.executable, "-m", "gradcam_core"],
            [sys.executable, "-c", "from gradcam_core.cli import app; app()"],
        )
    ]
    for command in ("explain", "evaluate", "batch", "localise", "adversarial", "bias", "models"):
        assert all(command in text for text in printed)
        assert run(command, "--help").exit_code == 0
    assert run("nonsense").exit_code == 2


def test_every_field_of_a_query_is_an_option() -> None:
    assert QUERY_OPTIONS.keys() == {field.name for field in fields(Query)}


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        ("models", "catalog"),
        ("explain", "explain"),
        ("batch", "batch"),
        ("localise", "studies"),
    ],
)
def test_help_imports_one_command_and_little_else(command: str, needed: str) -> None:
    script = (
        "import sys; from gradcam_core.cli import app\n"
        f"try: app(['{command}', '--help'])\n"
        "except SystemExit: print('\\n'.join(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    imported = set(done.stdout.splitlines())
    commands = {"catalog", "explain", "evaluate", "batch", "studies"}
    assert {name for name in commands if f"gradcam_core.cli.{name}" in imported} == {needed}
    # Slow to import, or not installed with the library.
    assert not imported & {"timm", "transformers", "matplotlib.pyplot", "pyarrow", "ray", "gradio"}


def test_models_methods_and_version() -> None:
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
