"""What commands print and write: lines or JSON, and files that are complete or not there."""

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer
from tqdm import tqdm

T = TypeVar("T")


def printable(text: object) -> str:
    r"""Return a text for a terminal or a table, with escapes such as \x1b for what is not seen.

    File names and class names may have control characters, marks of direction, and bytes that are
    no UTF-8.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )


def message(error: Exception) -> str:
    """Return an error as one printable sentence."""
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return printable(f"{where}{error.strerror}.")
    return printable(error)


@dataclass
class Report:
    """What a command says about photos: lines for people, or JSON objects, one in a line.

    Attributes:
        json: Whether to write JSON instead of lines; errors are said in both.
        quiet: Whether to leave out the progress bar and the line of each photo.
        failures: Number of photos that failed.
    """

    json: bool = False
    quiet: bool = False
    failures: int = 0

    def progress(self, items: Iterable[T], total: int) -> Iterator[T]:
        """Yield items under a progress bar."""
        hidden = self.quiet or self.json or None  # None: hidden unless this is a terminal
        yield from tqdm(items, total=total, unit="photo", disable=hidden)

    def photo(self, lines: Iterable[object], record: Mapping[str, Any]) -> None:
        """Say what was found in a photo."""
        if not self.quiet:
            self.say(lines, record)

    def say(self, lines: Iterable[object], record: Mapping[str, Any]) -> None:
        """Say a result, also if the command is to be quiet."""
        if self.json:
            tqdm.write(json.dumps(record, default=str))
            return
        for line in lines:
            tqdm.write(printable(line))

    def failed(self, photo: object, error: Exception | str) -> None:
        """Say why a photo is skipped."""
        self.failures += 1
        text = message(error) if isinstance(error, Exception) else printable(error)
        tqdm.write(f"{printable(photo)}: {text}", file=sys.stderr)
        if self.json:
            tqdm.write(json.dumps({"source": str(photo), "error": text}))

    def end(self) -> None:
        """End the command; with exit status 1 if photos failed."""
        if self.failures:
            raise typer.Exit(1)


def write_file(path: Path, content: bytes) -> None:
    """Write a file as a whole, or leave what was there.

    Raises:
        OSError: It cannot be written.
    """
    with being_written(path) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def being_written(path: Path) -> Iterator[Path]:
    """Give the name of a new file that takes a path's place once it is complete."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".gradcam-")
    os.close(handle)
    unfinished = Path(name)
    try:
        unfinished.chmod(0o666 & ~_umask())
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def results_folder(out: Path) -> None:
    """Make a folder for results.

    Raises:
        OSError: It cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"{out} cannot be a folder: there is a file of that name.") from None
