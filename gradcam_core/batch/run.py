"""Very many photos -> Parquet files of numbers and maps; what is done is not done again.

A file of results is written as a whole, and its name follows from its photos: a part that is done
again, because a machine died before it could say that it was done, replaces itself. So whatever is
interrupted, a photo is in the results once or not at all.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from PIL import Image

import gradcam_core
from gradcam_core.batch.explain_many import beside, explain_many
from gradcam_core.batch.storage import Place
from gradcam_core.batch.table import FAILURES, RESULTS, parquet, rows
from gradcam_core.methods import DEFAULT_METHOD

PART = 128  # photos in a file of results at most
_SECONDS = 20.0  # after which results are written, however few


@dataclass(frozen=True)
class Asked:
    """What is asked of every photo, see `gradcam_core.explain`; `model` is a name."""

    task: str
    target: str | None
    question: str | None
    model: str
    layer: str | None
    method: str
    detail: float
    pictures: bool  # whether the PNGs are wanted too


# A photo, and why it could not be explained; None if it was.
Told = tuple[Place, str | None]


@contextmanager
def alone(out: Place) -> Iterator[None]:
    """Keep other commands out of a folder of this machine; nothing does in a store.

    Raises:
        ValueError: Another one writes there, or nobody can.
    """
    if not out.is_local:
        yield
        return
    lock = FileLock(Path(out.uri) / ".lock", blocking=False)
    try:
        Path(out.uri).mkdir(parents=True, exist_ok=True)
        with suppress(NotImplementedError):  # a file system that has no locks
            lock.acquire()
    except Timeout:
        raise ValueError(
            f"Another command writes into {out.uri}: wait for its end, or take another folder."
        ) from None
    except OSError as error:
        raise ValueError(f"{out.uri} cannot be written: {error.strerror}.") from error
    with lock if lock.is_locked else nullcontext():
        yield


def check(asked: Asked) -> None:
    """Ask it of a made-up picture, so that what is wrong with a question is said once.

    Raises:
        ValueError: What `gradcam_core.explain` would say of every photo.
    """
    method = gradcam_core.methods().get(asked.method)
    gradcam_core.explain(
        Image.new("RGB", (64, 64)),
        asked.task,
        asked.target,
        asked.question,
        gradcam_core.load(asked.model, asked.task),
        asked.layer,
        method=DEFAULT_METHOD if method is not None and method.slow else asked.method,
        detail=asked.detail,
    )


def remaining(photos: Iterable[Place], asked: Asked, out: Place) -> list[Place]:
    """Return the photos that are not in the results yet; those that failed once are tried again.

    Raises:
        ValueError: There are results of something else.
        OSError: The results cannot be read.
    """
    settings = out.below("asked.json")
    wanted = json.dumps(asdict(asked), indent=1)
    done = set()
    for file in out.below("results").files():
        if file.name.startswith("."):  # one that was never finished
            file.remove()
        else:
            done |= {row["source"] for row in rows(file.read(), ["source"])}
    if done and settings.exists() and settings.read().decode() != wanted:
        raise ValueError(f"{out.uri} has results of another question: take another folder.")
    settings.write(wanted.encode())
    out.below("failures").clear()
    return [photo for photo in photos if photo.uri not in done]


def explain_here(photos: Iterable[Place], asked: Asked, out: Place) -> Iterator[Told]:
    """Explain photos on this machine; a bad one stops no other.

    Results are written while the next photos are explained, every few seconds, and at the end
    however it comes.

    Raises:
        OSError: The results cannot be written.
    """
    part: list[tuple[Place, _Found]] = []
    since = time.monotonic()
    with ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        try:
            for photo, found in _explained(photos, asked, out):
                part.append((photo, found))
                if len(part) == PART or time.monotonic() - since > _SECONDS:
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(_write, part, out)
                    part, since = [], time.monotonic()
                yield _told(photo, found)
        finally:
            if writing is not None:
                writing.result()
            _write(part, out)


def explain_part(part: Iterable[Place], asked: Asked, out: Place) -> list[Told]:
    """Explain photos, and write all that is found into one file, whose name follows from them.

    Raises:
        OSError: The results cannot be written.
    """
    found = list(_explained(part, asked, out))
    _write(found, out)
    return [_told(*each) for each in found]


# Of a photo: its row of the results, or why there is none.
_Found = dict[str, Any] | str


def _told(photo: Place, found: _Found) -> Told:
    return photo, found if isinstance(found, str) else None


def _explained(photos: Iterable[Place], asked: Asked, out: Place) -> Iterator[tuple[Place, _Found]]:
    explained = explain_many(
        photos,
        gradcam_core.load(asked.model, asked.task),
        read=_opened,
        target=asked.target,
        question=asked.question,
        layer=asked.layer,
        method=asked.method,
        detail=asked.detail,
    )
    for (photo, _), found in beside(partial(_row, asked, out), explained, threads=1, ahead=2):
        yield photo, found.result()


def _opened(photo: Place) -> Image.Image:
    """Do what `open_image` does, also in a store."""
    if photo.is_local:
        return gradcam_core.open_image(photo.uri)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / photo.name
        file.write_bytes(photo.read())
        return gradcam_core.open_image(file)


def _row(
    asked: Asked, out: Place, explained: tuple[Place, gradcam_core.Explanation | Exception]
) -> _Found:
    """Return what the results say of a photo; its PNGs are written."""
    photo, explanation = explained
    if isinstance(explanation, Exception):
        return str(explanation)
    if asked.pictures:
        folder = out.below("pictures", f"{Path(photo.name).stem}-{_digest(photo.uri)}")
        with tempfile.TemporaryDirectory() as temporary:
            for drawn in replace(explanation, source=Path(photo.name)).save(temporary):
                folder.below(drawn.name).write(drawn.read_bytes())
    return explanation.numbers() | {"source": photo.uri}


def _write(part: Sequence[tuple[Place, _Found]], out: Place) -> None:
    """Write what was found of photos: one file of results, one of failures."""
    done = [found for _, found in part if isinstance(found, dict)]
    failed = [
        {"source": photo.uri, "error": found} for photo, found in part if isinstance(found, str)
    ]
    name = f"{_digest(*(photo.uri for photo, _ in part))}.parquet"
    if failed:
        out.below("failures", name).write(parquet(failed, FAILURES))
    if done:
        out.below("results", name).write(parquet(done, RESULTS))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
