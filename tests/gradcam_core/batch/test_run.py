"""Batches: every photo once in the results, however the batch is interrupted."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import gradcam_core

pytest.importorskip("pyarrow", reason="no pyarrow here (pip install -r requirements-dev.txt)")

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from gradcam_core.batch.run import Batch
from gradcam_core.batch.storage import Location, list_photos
from gradcam_core.cli import app
from gradcam_core.query import Query
from tests.support.batches import CATS, names, table
from tests.support.program import ROOT, free_port

# Writes after every second photo, so that it can be interrupted between two parts.
_CLI = "from gradcam_core.batch import run; run.PART = 2; from gradcam_core.cli import app; app()"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["batch", *map(str, arguments)])


def test_a_folder_becomes_a_table_of_numbers_and_maps(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out? 50% #1"
    wrong = run(folder, "--out", out, "--target", "blorb", "--pictures")
    assert wrong.exit_code == 1
    assert wrong.output.count("blorb") == 1  # reported once, not for every photo
    query = Query(target="tabby")
    with Batch(query, Location(str(out))).locked():
        second = run(folder, "--out", out, "--target", "tabby", "--pictures")
    assert second.exit_code == 1
    assert not table(out)
    done = run(folder, "--out", out, "--target", "tabby", "--pictures")
    assert done.exit_code == 1  # one photo could not be read, and is reported
    assert "0 of 7" in done.output
    assert f"{folder / 'broken.jpg'}: " in done.output
    rows = table(out)
    assert names(rows) == CATS
    row = next(row for row in rows if row["source"] == str(folder / "cat 1.png"))
    expected = gradcam_core.explain(row["source"], target="tabby")
    numbers = expected.to_dict()
    assert set(row) == {*numbers, "doubt"}
    assert row["doubt"] == expected.doubt
    for name, value in json.loads(json.dumps(numbers)).items():
        if name in {"source", "score", "probability", "raw", "raw_counterfactual", "predictions"}:
            continue
        if name == "concepts":
            assert [concept["name"] for concept in row[name]] == [each["name"] for each in value]
            continue
        assert row[name] == value, name
    assert row["score"] == pytest.approx(expected.score, abs=1e-4)
    assert np.allclose(row["raw"], expected.raw, atol=1e-5)
    assert [best["text"] for best in row["predictions"]] == [b.text for b in expected.predictions]
    assert len(list(out.glob("pictures/cat 1-*/grad_cam.png"))) == 1
    (failure,) = table(out, "failures")
    assert failure["source"] == str(folder / "broken.jpg")

    # The query is in the folder, and in the metadata of every file.
    kept = json.loads((out / "query.json").read_text("utf-8"))
    assert kept.pop("pictures")
    assert Query.from_dict(kept) == replace(query, model="lite0")
    for file in out.glob("results/*"):
        assert json.loads(pq.read_schema(file).metadata[b"query"]) == kept

    # Again: only what failed is left, and the PNGs in it are not photos to explain.
    files = {file: file.stat().st_mtime_ns for file in out.glob("results/*")}
    again = run(folder, "--out", out, "--target", "tabby", "--pictures")
    assert "6 of 7" in again.output
    assert {file: file.stat().st_mtime_ns for file in out.glob("results/*")} == files
    inside = Location(str(out / "inside"))
    listed = [each for each in list_photos(str(out), inside) if each.name == "picture.png"]
    assert len(listed) == 6
    with pytest.raises(ValueError, match="results"):
        list_photos(str(out), Location(str(out)))
    other = run(folder, "--out", out, "--target", "tiger cat", "--pictures")
    assert other.exit_code == 1
    assert {file: file.stat().st_mtime_ns for file in out.glob("results/*")} == files


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_locks_keeps_other_processes_out_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", flock)
    first, second = (Batch(Query(), Location(str(tmp_path))) for _ in range(2))
    for _ in range(2):
        with first.locked(), pytest.raises(ValueError, match=str(tmp_path)), second.locked():
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_names_that_are_not_utf8_stop_nothing(cat_file: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in (b"a.png", b"caf\xe9.png", b"broken\xff.png"):
        file = photos / os.fsdecode(name)
        file.write_bytes(b"" if b"broken" in name else cat_file.read_bytes())
    out = tmp_path / "out"
    for _ in range(2):  # the second time what is done is known again
        done = run(photos, "--out", out, "--pictures")
        assert done.exit_code == 1
        assert len(table(out, "results")) == 2
        assert len(table(out, "failures")) == 1
    sources = [row["source"] for row in table(out, "results")]
    assert sorted(sources) == [str(photos / "a.png"), str(photos / r"caf\udce9.png")]
    assert len(list(out.glob("pictures/*/grad_cam.png"))) == 2


@pytest.mark.slow
def test_an_interrupted_batch_is_resumed(folder: Path, tmp_path: Path) -> None:
    """It is killed; the file that it was writing then does not count."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", _CLI, "batch", str(folder / "**/*.png"), "--out", str(out)]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list(out.glob("results/*.parquet")):
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    (out / "results" / ".0123456789abcdef.parquet.unfinished").write_bytes(b"PAR1")
    before = {file: file.stat().st_mtime_ns for file in out.glob("results/*.parquet")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert names(table(out)) == CATS
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_photos_are_named_by_folder_pattern_list_or_table(folder: Path, tmp_path: Path) -> None:
    out = Location(str(tmp_path))

    def named(what: Path | str) -> list[str]:
        return [photo.name for photo in list_photos(str(what), out)]

    assert named(folder) == ["broken.jpg", *CATS]
    assert named(f"{folder}/deeper/*.png") == CATS[4:]
    listed = [str(folder / name) for name in CATS[:2]]
    windows = "\r\n".join([*listed, "", listed[0]]).encode("utf-8-sig")
    (tmp_path / "list.txt").write_bytes(windows)
    assert named(tmp_path / "list.txt") == CATS[:2]
    pq.write_table(pa.table({"source": [*listed, None]}), tmp_path / "list.parquet")
    assert named(tmp_path / "list.parquet") == CATS[:2]


def test_an_unusable_list_is_named_in_the_message(tmp_path: Path) -> None:
    pq.write_table(pa.table({"file": ["cat.png"]}), tmp_path / "other.parquet")
    pq.write_table(pa.table({"source": [1, 2]}), tmp_path / "numbers.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "wide.txt").write_text("cat.png", "utf-16")
    (tmp_path / "odd").mkdir()
    Path(os.fsdecode(bytes(tmp_path / "odd" / "caf") + b"\xe9.png")).touch()
    for wrong, named in (
        ("other.parquet", "other.parquet"),
        ("numbers.parquet", "numbers.parquet"),
        ("broken.parquet", "broken.parquet"),
        ("wide.txt", "wide.txt"),
        ("odd", "caf\\udce9.png"),
        ("none.txt", "none.txt"),
        ("none", "none"),
    ):
        done = run(tmp_path / wrong, "--out", tmp_path / "out")
        assert done.exit_code == 1
        assert isinstance(done.exception, SystemExit)
        assert named in done.output
    unwritable = run(tmp_path / "none", "--out", tmp_path / "wide.txt")
    assert unwritable.exit_code == 1
    assert "wide.txt" in unwritable.output


@pytest.mark.parametrize(
    ("folder", "path", "file"),
    [
        ("a/b", str(Path.cwd() / "a/b"), str(Path.cwd() / "a/b/c d")),
        ("s3://bucket/a%20b/?region=x", "bucket/a%20b", "s3://bucket/a%20b/c d?region=x"),
        ("s3://k:s@bucket/a?region=x", "bucket/a", "s3://k:s@bucket/a/c d?region=x"),
        ("file:///a #1", "/a #1", "file:///a #1/c d"),
    ],
)
def test_a_location_keeps_its_store(folder: str, path: str, file: str) -> None:
    assert Location(folder).path == path
    assert (Location(folder) / "c d").uri == file
    assert (Location(folder) / "c d").name == "c d"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of an S3 server on this machine."""
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
def test_photos_and_results_can_be_in_a_store(bucket: str, folder: Path) -> None:
    for name in ("cat 0.png", "cat 1.png", "broken.jpg"):
        photo = Location(bucket.replace("FOLDER", "photos/of cats")) / name
        photo.write((folder / name).read_bytes())
    out = bucket.replace("FOLDER", "out")
    done = run(bucket.replace("FOLDER", "photos"), "--out", out)
    assert "broken.jpg" in done.output, done.output
    assert "2 explained, 1 failed" in done.output
    rows = table(out)
    assert [Location(row["source"]).name for row in rows] == CATS[:2]
    expected = gradcam_core.explain(folder / "cat 0.png")
    assert np.allclose(rows[0]["raw"], expected.raw, atol=1e-5)
    again = run(bucket.replace("FOLDER", "photos/of*/*.png"), "--out", out)
    assert "2 of 2" in again.output
    unreachable = "s3://bucket/photos?endpoint_override=127.0.0.1:1&scheme=http"
    assert run(unreachable, "--out", out).exit_code == 1
