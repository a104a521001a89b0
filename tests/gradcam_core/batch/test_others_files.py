"""`gradcam batch` deletes and replaces only what it made."""

import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

pytest.importorskip("pyarrow", reason="no pyarrow here (pip install -r requirements-dev.txt)")

from gradcam_core.cli import app
from tests.support.batches import names, table

# Files of somebody else, also such as are named like a batch's.
OTHERS = [
    "failures/thesis.doc",
    "failures/deep/er.txt",
    "failures/deep/0123456789abcdef.parquet",
    "failures/.env",
    "results/.env",
    "results/mine/.env",
    "results/mine/.0123456789abcdef.parquet.unfinished",
    "results/notes.txt",
    ".lock",
]


@pytest.fixture
def photos(cat_file: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(cat_file, folder / "cat.png")
    (folder / "broken.png").write_bytes(b"")
    return folder


def run(photos: Path, out: Path) -> Result:
    return CliRunner().invoke(app, ["batch", str(photos), "--out", str(out)])


def write(folder: Path, files: list[str]) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")


def kept(folder: Path, files: list[str]) -> bool:
    return all((folder / name).read_text() == "mine" for name in files)


def test_files_of_others_stay(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # Without a batch's query.json nothing is a batch's, whatever its name.
    named_so = ["failures/0123456789abcdef.parquet", "results/.0123456789abcdef.parquet.unfinished"]
    write(out, [*OTHERS, *named_so])
    assert run(photos, out).exit_code == 1  # a broken photo
    assert kept(out, [*OTHERS, *named_so])
    for name in named_so:
        (out / name).unlink()

    # The second time, what the first left is tidied: the broken photo is mended.
    shutil.copy(photos / "cat.png", photos / "broken.png")
    (out / "results/.0123456789abcdef.parquet.unfinished").write_bytes(b"PAR1")
    again = run(photos, out)
    assert again.exit_code == 0, again.output
    assert kept(out, OTHERS)
    assert names([row for file in sorted(out.glob("results/*.parquet")) for row in rows(file)]) == [
        "broken.png",
        "cat.png",
    ]
    assert not list(out.glob("failures/*.parquet"))
    assert not list(out.glob("results/.*.unfinished"))


def rows(file: Path) -> list[dict]:
    import pyarrow.parquet as pq

    return pq.read_table(file).to_pylist()


@pytest.mark.parametrize("name", ["results", "failures", "pictures"])
def test_links_are_not_followed(photos: Path, tmp_path: Path, name: str) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    run(photos, out)
    shutil.rmtree(out / name, ignore_errors=True)
    write(other, ["0123456789abcdef.parquet", ".0123456789abcdef.parquet.unfinished"])
    (out / name).symlink_to(other)
    done = run(photos, out)
    assert done.exit_code == 1
    assert name in done.stderr
    assert sorted(file.name for file in other.iterdir()) == [
        ".0123456789abcdef.parquet.unfinished",
        "0123456789abcdef.parquet",
    ]


def test_links_to_files_stay(photos: Path, tmp_path: Path) -> None:
    out, thesis = tmp_path / "out", tmp_path / "thesis.doc"
    run(photos, out)
    thesis.write_text("mine")
    link = out / "failures" / "0123456789abcdef.parquet"
    link.symlink_to(thesis)
    run(photos, out)
    assert link.is_symlink()
    assert thesis.read_text() == "mine"
    assert len([row for row in table(out) if row["source"].endswith("cat.png")]) == 1


@pytest.mark.parametrize("content", ["mine", "[]", '{"pictures": true, "price": 3}', "{}"])
def test_a_query_of_something_else_is_not_replaced(
    photos: Path, tmp_path: Path, content: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "query.json").write_text(content)
    done = run(photos, out)
    assert done.exit_code == 1
    assert "query.json" in done.stderr
    assert (out / "query.json").read_text() == content
