"""summary.csv: a row per photo, for spreadsheets and scripts."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradcam_core.cli.output import printable, results_folder

# A spreadsheet takes a text that begins with one of these for a formula, also in full width; the
# quote is what it shows texts with.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def cell(value: object) -> str:
    """Return a value as text of a table: printable, and never a formula."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    text = str(value)
    return f"'{printable(text)}" if text.lstrip(" ").startswith(_FORMULA) else printable(text)


class Table:
    """A table that grows row by row; a row is written as a whole or not at all.

    Attributes:
        path: The file.
        columns: Their names.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Write the head of the table, or check that the one that is there can be continued.

        Raises:
            ValueError: It has other columns.
            OSError: It cannot be written.
        """
        self.path = path
        self.columns = list(columns)
        results_folder(path.parent)
        if not path.exists():
            self._write(self.columns)
            return
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            if next(csv.reader(file), None) != self.columns:
                raise ValueError(f"{path} has other columns: move it away first.")
        self._drop_torn_row()

    def _rows(self) -> Iterator[dict[str, str]]:
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            yield from csv.DictReader(file)

    def without_results(self, photos: Iterable[Path], settings: Mapping[str, Any]) -> list[Path]:
        """Return the photos that have no row without an error for these settings."""
        wanted = {name: cell(value) for name, value in settings.items()}
        done = {
            row["source"]
            for row in self._rows()
            if not row["error"] and all(row[name] == value for name, value in wanted.items())
        }
        return [photo for photo in photos if cell(photo) not in done]

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a row; what has no column is left out.

        Raises:
            OSError: It cannot be written; the table is as it was.
        """
        self._write([cell(row.get(column)) for column in self.columns])

    def _write(self, cells: Sequence[str]) -> None:
        line = io.StringIO()
        csv.writer(line).writerow(cells)
        content = line.getvalue().encode()
        with self.path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                while content:
                    content = content[file.write(content) :]
            except BaseException:
                file.truncate(size)
                raise

    def _drop_torn_row(self) -> None:
        """Remove what a power cut left of a row; a row has no line breaks in it."""
        content = self.path.read_bytes()
        kept, _, torn = content.rpartition(b"\n")
        if not torn:
            return
        with self.path.open("r+b") as file:
            if len(next(csv.reader([torn.decode("utf-8", "replace")]))) == len(self.columns):
                file.seek(0, os.SEEK_END)
                file.write(b"\r\n")
            else:
                file.truncate(len(kept) + 1)
