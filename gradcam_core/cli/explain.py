"""gradcam explain: photos -> pictures, raw maps and numbers in a folder each, and a table."""

import csv
import itertools
import sys
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from gradcam_core.batch.explain_many import explain_photos, in_threads
from gradcam_core.batch.photos import find_photos
from gradcam_core.cli.options import load_model, query_options
from gradcam_core.explanation import Explanation
from gradcam_core.query import Query

# But for `folder` and `error`, the columns are fields of `Explanation.to_dict`.
_COLUMNS = [
    *("source", "folder", *(field.name for field in fields(Query))),
    *("score", "probability", "no_evidence", "faint", "unsure", "error"),
]


@query_options()
def explain(
    photos: Annotated[
        list[str],
        typer.Argument(help="Photos, folders of photos, or quoted patterns such as 'a/*.jpg'"),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the results, one folder per photo in it")],
    query: Query,
) -> None:
    """Explain photos: write pictures, raw maps and numbers.

    Each photo gets a new folder in OUT and a row in OUT/summary.csv. Folders are searched
    recursively. Bad photos are skipped and reported.
    """
    files = [file for photo in photos for file in find_photos(photo, out)]
    query = load_model(query)
    explained = explain_photos(files, query)
    summary = out / "summary.csv"
    _start(summary)
    failed = False
    # Written in a thread while the next photo is explained.
    saved = in_threads(partial(_save, out), explained, threads=1, ahead=2)
    for (file, _), saving in tqdm(saved, total=len(files), unit="photo", disable=None):
        try:
            explanation, folder = saving.result()
        except (ValueError, OSError) as error:
            failed = True
            row = query.to_dict() | {"error": error}
            tqdm.write(f"{file}: {error}", file=sys.stderr)
        else:
            row = explanation.to_dict() | {"folder": folder.name}
            concepts = explanation.concepts_in_words
            because = f", {concepts}" if concepts else ""
            renamed = "" if folder.name == file.stem else f" ({file.stem} already exists)"
            tqdm.write(f"{file}: {explanation}{because} -> {folder}{renamed}")
        _append(summary, row | {"source": file})
    if failed:
        raise typer.Exit(1)


def _save(out: Path, explained: tuple[Path, Explanation | Exception]) -> tuple[Explanation, Path]:
    """Write an explanation into a folder of its own and return both; raise an exception."""
    file, explanation = explained
    if isinstance(explanation, Exception):
        raise explanation
    folder = _new_folder(out, file.stem)
    explanation.save(folder)
    return explanation, folder


def _new_folder(out: Path, stem: str) -> Path:
    """Make a folder named after a photo, with a number if that name is taken."""
    for number in itertools.count(1):
        folder = out / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError


def _start(summary: Path) -> None:
    """Write the head of the table, or check that a table that is there can be continued."""
    summary.parent.mkdir(parents=True, exist_ok=True)
    if not summary.exists():
        _append(summary, dict(zip(_COLUMNS, _COLUMNS, strict=True)))
    with summary.open(newline="", encoding="utf-8") as file:
        if next(csv.reader(file), None) != _COLUMNS:
            raise ValueError(f"{summary} has other columns: move it away first.")


def _append(summary: Path, row: Mapping[str, Any]) -> None:
    # File names that are not UTF-8 are written with \udc80 to \udcff.
    with summary.open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.DictWriter(file, _COLUMNS, extrasaction="ignore").writerow(row)
