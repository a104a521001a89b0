"""Very many photos -> Parquet files of numbers and maps; a batch can be resumed.

A file of results is written as a whole, and its name is derived from its photos: a part that is
explained again, because a machine failed before it could report, replaces itself. So however a
batch is interrupted, a photo is in the results once or not at all.
"""

import hashlib
import json
import re
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from PIL import Image

from gradcam_core.batch.explain_many import explain_photos, in_threads
from gradcam_core.batch.storage import Location
from gradcam_core.batch.table import FAILURES, RESULTS, read_rows, to_parquet
from gradcam_core.explanation import Explanation
from gradcam_core.image import open_image
from gradcam_core.query import Query

PART = 128  # photos in a file of results at most
_SECONDS = 20.0  # results are written at least this often, however few

# Names of the files in `results` and `failures`, and of those that were never finished.
_PART_NAME = re.compile(r"[0-9a-f]{16}\.parquet")
_UNFINISHED_NAME = re.compile(rf"\.{_PART_NAME.pattern}\.unfinished")

# A photo, and why it could not be explained; None if it was.
Outcome = tuple[Location, str | None]

# The row of the results of a photo, or why there is none.
_Row = dict[str, Any] | str


@dataclass(frozen=True)
class Batch:
    """A query to very many photos; can be pickled.

    Attributes:
        query: Its target is a text or None; its model a name.
        out: The folder for the results.
        pictures: Whether to write the files of `Explanation.save` too.
    """

    query: Query
    out: Location
    pictures: bool = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of a local folder of results; a store has no lock.

        Raises:
            ValueError: Another process writes there, or the folder cannot be written.
        """
        if not self.out.is_local:
            yield
            return
        folder = Path(self.out.uri)
        lock = FileLock(folder / ".gradcam-batch.lock", blocking=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = lock.acquire()
        except Timeout:
            raise ValueError(
                f"Another process is writing to {folder}: wait until it ends, or use another "
                "folder."
            ) from None
        except OSError as error:
            raise ValueError(f"{folder} cannot be written: {error.strerror}.") from error
        with held:
            yield

    def remaining(self, photos: Iterable[Location]) -> list[Location]:
        """Return the photos that are not in the results; those that failed are tried again.

        Raises:
            ValueError: The folder has results of another query.
            OSError: The results cannot be read.
        """
        settings = self.out / "query.json"
        wanted = json.dumps(self.query.to_dict() | {"pictures": self.pictures}, indent=1)
        begun = self._is_begun(settings)
        results, failures = (self._files(name) if begun else [] for name in ("results", "failures"))
        done = set()
        for file in results:
            if _PART_NAME.fullmatch(file.name):
                done |= {row["source"] for row in read_rows(file.read(), ["source"])}
        if done and settings.read().decode() != wanted:
            raise ValueError(f"{self.out.uri} has results of another query: use another folder.")
        settings.write(wanted.encode())
        unfinished = [file for file in results if not _PART_NAME.fullmatch(file.name)]
        for file in [*unfinished, *failures]:
            file.remove()
        return [photo for photo in photos if photo.text not in done]

    def _files(self, name: str) -> list[Location]:
        """Return the files that a batch wrote into one of its folders, also unfinished ones."""
        folder = self.out / name
        return [
            file
            for file in folder.files()
            if file.path == (folder / file.name).path
            and (_PART_NAME.fullmatch(file.name) or _UNFINISHED_NAME.fullmatch(file.name))
            and not file.is_link
        ]

    def _is_begun(self, settings: Location) -> bool:
        """Tell whether this is a folder of results: others' files are neither read nor deleted.

        Raises:
            ValueError: It cannot become one.
        """
        for name in ("results", "failures", "pictures"):
            if (self.out / name).is_link:
                raise ValueError(f"{(self.out / name).uri} is a link: use another folder.")
        if not settings.exists():
            return False
        try:
            kept = json.loads(settings.read())
            kept.pop("pictures")
            Query.from_dict(kept)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(
                f"{settings.uri} is not the query of a batch: use another folder."
            ) from None
        return True

    def explain(self, photos: Iterable[Location]) -> Generator[Outcome]:
        """Explain photos on this machine; bad photos are skipped and reported.

        Results are written while the next photos are explained, every few seconds, and when the
        iterator is closed.

        Raises:
            OSError: The results cannot be written.
        """
        part: list[tuple[Location, _Row]] = []
        since = time.monotonic()
        with ThreadPoolExecutor(1) as writer:
            writing: Future[None] | None = None
            try:
                for photo, row in self._rows(photos):
                    part.append((photo, row))
                    if len(part) == PART or time.monotonic() - since > _SECONDS:
                        if writing is not None:
                            writing.result()
                        writing = writer.submit(self._write, part)
                        part, since = [], time.monotonic()
                    yield _outcome(photo, row)
            finally:
                if writing is not None:
                    writing.result()
                self._write(part)

    def explain_part(self, photos: Iterable[Location]) -> list[Outcome]:
        """Explain photos and write their results to one file.

        Raises:
            OSError: The results cannot be written.
        """
        part = list(self._rows(photos))
        self._write(part)
        return [_outcome(*each) for each in part]

    def _rows(self, photos: Iterable[Location]) -> Iterator[tuple[Location, _Row]]:
        explained = explain_photos(photos, self.query, read=_open)
        for (photo, _), row in in_threads(self._row, explained, threads=1, ahead=2):
            yield photo, row.result()

    def _row(self, explained: tuple[Location, Explanation | Exception]) -> _Row:
        """Return the row of a photo, and write its pictures if they are wanted."""
        photo, explanation = explained
        if isinstance(explanation, Exception):
            return str(explanation)
        if self.pictures:
            folder = (
                self.out
                / "pictures"
                / f"{Path(Location(photo.name).text).stem}-{_digest(photo.text)}"
            )
            with tempfile.TemporaryDirectory() as temporary:
                for file in replace(explanation, source=Path(photo.name)).save(temporary):
                    (folder / file.name).write(file.read_bytes())
        return explanation.to_dict() | {"doubt": explanation.doubt, "source": photo.text}

    def _write(self, part: Sequence[tuple[Location, _Row]]) -> None:
        """Write a part of the results, and of the failures."""
        done = [row for _, row in part if isinstance(row, dict)]
        failed = [
            {"source": photo.text, "error": row} for photo, row in part if isinstance(row, str)
        ]
        name = f"{_digest(*(photo.text for photo, _ in part))}.parquet"
        if failed:
            (self.out / "failures" / name).write(to_parquet(failed, FAILURES))
        if done:
            content = to_parquet(done, RESULTS, {"query": json.dumps(self.query.to_dict())})
            (self.out / "results" / name).write(content)


def _outcome(photo: Location, row: _Row) -> Outcome:
    return photo, row if isinstance(row, str) else None


def _open(photo: Location) -> Image.Image:
    """Do what `open_image` does, also for a photo in a store."""
    if photo.is_local:
        return open_image(photo.uri)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / photo.name
        file.write_bytes(photo.read())
        return open_image(file)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
