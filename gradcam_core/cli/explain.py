"""gradcam explain: photos -> pictures, raw maps and numbers in a folder each, and a table."""

import errno
import itertools
import shutil
from contextlib import closing
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gradcam_core.batch.explain_many import explain_photos, in_threads
from gradcam_core.cli.options import (
    FigureFile,
    OutOption,
    PhotosArgument,
    SkipOption,
    begin,
    command_options,
    photos_named,
)
from gradcam_core.cli.output import Report, message
from gradcam_core.cli.table import Table
from gradcam_core.explanation import Explanation
from gradcam_core.query import Query

# But for `folder`, `doubt` and `error`, the columns are fields of `Explanation.to_dict`.
_QUERY = [field.name for field in fields(Query)]
_COLUMNS = [
    *("source", "folder", *_QUERY),
    *("score", "probability", "no_evidence", "faint", "unsure", "doubt", "error"),
]

# A disk on which the next photo cannot be written either.
_FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


@command_options()
def explain(
    photos: PhotosArgument,
    *,
    out: OutOption,
    skip_existing: SkipOption = False,
    query: Query,
    report: Report,
    figure: FigureFile,
) -> None:
    """Explain photos: write pictures, raw maps and numbers.

    Each photo gets a new folder in OUT and a row in OUT/summary.csv. Folders are searched
    recursively. Bad photos are skipped and reported.
    """
    files = photos_named(photos, out)
    figure.check(files)
    query, tried = begin(query)
    table = Table(out / "summary.csv", _COLUMNS)
    if skip_existing:
        asked = query.to_dict() | {"layer": tried.layer, "target": tried.target}
        if query.target is None:
            del asked["target"]
        files = table.without_results(files, asked)
    # Written in a thread while the next photo is explained.
    save = partial(_save, out, table, query)
    with closing(in_threads(save, explain_photos(files, query), threads=1, ahead=2)) as saved:
        for (file, _), saving in report.progress(saved, len(files)):
            explanation, row = saving.result()
            if explanation is None:
                report.failed(file, row["error"])
                continue
            figure.add(explanation)
            concepts = explanation.concepts_in_words
            because = f", {concepts}" if concepts else ""
            renamed = "" if row["folder"] == file.stem else f" ({file.stem} already exists)"
            line = f"{file}: {explanation}{because} -> {out / row['folder']}{renamed}"
            report.photo([line], {column: row.get(column) for column in _COLUMNS})
    figure.write()
    report.end()


class _Saved(NamedTuple):
    """What was written of a photo: its explanation, None if it failed; and its row."""

    explanation: Explanation | None
    row: dict[str, Any]


def _save(
    out: Path, table: Table, query: Query, explained: tuple[Path, Explanation | Exception]
) -> _Saved:
    """Write an explanation into a folder of its own, and its row or that of a failure.

    Raises:
        OSError: Nothing can be written there.
    """
    file, found = explained
    row = query.to_dict() | {"source": str(file)}
    explanation = None
    try:
        if isinstance(found, Exception):
            raise found
        row |= found.to_dict() | {
            "source": str(file),
            "folder": _write(found, out, file.stem),
            "doubt": found.doubt,
        }
        explanation = found
    except (ValueError, OSError) as error:
        if found is not error and isinstance(error, OSError) and error.errno in _FATAL:
            raise
        row |= {"error": message(error)}
    table.append(row)
    return _Saved(explanation, row)


def _write(explanation: Explanation, out: Path, stem: str) -> str:
    """Write an explanation into a new folder, and return its name."""
    folder = _new_folder(out, stem)
    try:
        explanation.save(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder.name


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
