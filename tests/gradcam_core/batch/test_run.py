"""Very many photos: every one once, whatever happens in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import gradcam_core

pytest.importorskip("pyarrow", reason="no pyarrow here (pip install -r requirements-scale.txt)")

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from gradcam_core.batch.run import alone
from gradcam_core.batch.storage import Place, photos
from gradcam_core.cli.batch import app
from tests.support.app_process import CATS, ROOT, free_port, names, table

# Written after every second photo, so that there is a middle to be interrupted in.
_CLI = "from scale import batches; batches.PART = 2; from gradcam_core.cli.batch import app; app()"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["batch", *map(str, arguments)])


def test_a_folder_becomes_a_table_of_numbers_and_maps(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out? 50% #1"
    wrong = run(folder, "--out", out, "--target", "blorb", "--pictures")
    assert wrong.exit_code == 1
    assert wrong.output.count("There is no class 'blorb'") == 1  # not of every photo
    with alone(Place(str(out))):
        second = run(folder, "--out", out, "--target", "tabby", "--pictures")
    assert "Another command writes into" in second.output
    done = run(folder, "--out", out, "--target", "tabby", "--pictures")
    assert done.exit_code == 1  # one could not be read, and is named
    assert "7 photos, of which 0 are done" in done.output
    assert "broken.jpg is not a picture that can be read" in done.output
    rows = table(out)
    assert names(rows) == CATS
    row = next(row for row in rows if row["source"] == str(folder / "cat 1.png"))
    expected = gradcam_core.explain(row["source"], target="tabby")
    numbers = expected.numbers()
    assert set(row) == set(numbers)
    assert {key: row[key] for key in ("target", "task", "words")} == {
        "target": "tabby",
        "task": "classification",
        "words": [],
    }
    assert row["score"] == pytest.approx(expected.score, abs=1e-4)
    assert np.allclose(row["raw"], expected.raw, atol=1e-5)
    assert [best["text"] for best in row["predictions"]] == [b.text for b in expected.predictions]
    assert len(list(out.glob("pictures/cat 1-*/grad_cam.png"))) == 1
    (failure,) = table(out, "failures")
    assert failure["source"] == str(folder / "broken.jpg")

    # Again: nothing is left but what failed, and the PNGs in it are no photos.
    files = {file: file.stat().st_mtime_ns for file in out.glob("results/*")}
    again = run(folder, "--out", out, "--target", "tabby", "--pictures")
    assert "7 photos, of which 6 are done" in again.output
    assert {file: file.stat().st_mtime_ns for file in out.glob("results/*")} == files
    inside = out / "inside"
    pictures = [each for each in photos(str(out), Place(str(inside))) if each.name == "picture.png"]
    assert len(pictures) == 6
    with pytest.raises(ValueError, match="a folder of their own"):
        photos(str(out), Place(str(out)))
    other = run(folder, "--out", out, "--target", "tiger cat", "--pictures")
    assert other.exit_code == 1
    assert "results of another question" in other.output


@pytest.mark.slow
def test_what_is_interrupted_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    """Killed, not asked to stop; what it was writing then does not count."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", _CLI, "batch", str(folder / "**/*.png"), "--out", str(out)]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list(out.glob("results/*.parquet")):
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    (out / "results" / ".half.parquet.unfinished").write_bytes(b"PAR1")
    before = {file: file.stat().st_mtime_ns for file in out.glob("results/*.parquet")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert names(table(out)) == CATS
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_photos_are_named_by_pattern_list_or_table(folder: Path, tmp_path: Path) -> None:
    out = Place(str(tmp_path))

    def named(what: Path | str) -> list[str]:
        return [photo.name for photo in photos(str(what), out)]

    assert named(folder) == ["broken.jpg", *CATS]
    assert named(f"{folder}/deeper/*.png") == CATS[4:]
    listed = [str(folder / name) for name in CATS[:2]]
    windows = "\r\n".join([*listed, "", listed[0]]).encode("utf-8-sig")
    (tmp_path / "list.txt").write_bytes(windows)
    assert named(tmp_path / "list.txt") == CATS[:2]
    pq.write_table(pa.table({"source": [*listed, None]}), tmp_path / "list.parquet")
    assert named(tmp_path / "list.parquet") == CATS[:2]


def test_what_is_no_list_of_photos_is_said_in_a_sentence(tmp_path: Path) -> None:
    pq.write_table(pa.table({"file": ["cat.png"]}), tmp_path / "other.parquet")
    pq.write_table(pa.table({"source": [1, 2]}), tmp_path / "numbers.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "wide.txt").write_text("cat.png", "utf-16")
    (tmp_path / "odd").mkdir()
    Path(os.fsdecode(bytes(tmp_path / "odd" / "caf") + b"\xe9.png")).touch()
    for wrong, said in (
        ("other.parquet", "other.parquet has no column 'source'."),
        ("numbers.parquet", "The column 'source' of numbers.parquet is not text."),
        ("broken.parquet", "broken.parquet is not a Parquet file."),
        ("wide.txt", "wide.txt is not text in UTF-8"),
        ("odd", "caf\\udce9.png' is not in UTF-8: please rename that photo."),
        ("none.txt", "There is no file"),
        ("none", "There is no file"),
    ):
        done = run(tmp_path / wrong, "--out", tmp_path / "out")
        assert done.exit_code == 1
        assert said in done.output
    unwritable = run(tmp_path / "none", "--out", tmp_path / "wide.txt")
    assert "wide.txt cannot be written" in unwritable.output


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a store on this machine that speaks S3."""
    moto = pytest.importorskip("moto.server", reason="no moto here")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    port = free_port()
    server = moto.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    options = f"endpoint_override=127.0.0.1:{port}&scheme=http&allow_bucket_creation=true"
    fs.FileSystem.from_uri(f"s3://bucket?{options}")[0].create_dir("bucket")
    yield f"s3://bucket/FOLDER?{options}"
    server.stop()


@pytest.mark.slow
def test_photos_and_results_may_lie_in_a_store(bucket: str, folder: Path) -> None:
    for name in ("cat 0.png", "cat 1.png", "broken.jpg"):
        place = Place(bucket.replace("FOLDER", "photos/of cats")).below(name)
        place.write((folder / name).read_bytes())
    out = bucket.replace("FOLDER", "out")
    done = run(bucket.replace("FOLDER", "photos"), "--out", out)
    assert "broken.jpg is not a picture" in done.output, done.output
    assert "2 explained, 1 failed" in done.output
    rows = table(out)
    assert [place.name for place in (Place(row["source"]) for row in rows)] == CATS[:2]
    expected = gradcam_core.explain(folder / "cat 0.png")
    assert np.allclose(rows[0]["raw"], expected.raw, atol=1e-5)
    again = run(bucket.replace("FOLDER", "photos/of*/*.png"), "--out", out)
    assert "2 photos, of which 2 are done" in again.output
    unreachable = "s3://bucket/photos?endpoint_override=127.0.0.1:1&scheme=http"
    assert run(unreachable, "--out", out).exit_code == 1
