"""The disk is bounded: uploads and results together take at most so many bytes.

Everything in Gradio's upload folder counts, whatever made it: uploads under any field's name, those
that broke off, results and Gradio's copies of them, and what a killed process left behind. When it
becomes too much the oldest goes; what is older than a day goes in any case.
"""

import asyncio
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from gradio.routes import App
from gradio.utils import get_upload_folder

LIMIT = int(float(os.environ.get("GRADCAM_UPLOADS_GB", "2")) * 1e9)  # bytes
_FOLDER = "gradcam-demo"
_KEPT = 24 * 3600.0  # seconds
_EVERY = 60.0  # seconds
_AN_ENTRY = 4096  # bytes that the smallest file, or a folder, takes on a disk
_LEFT = 0.8  # of the limit, so that not every new file makes it too much again
_YOUNG = 60.0  # seconds; a folder of this age may be about to get its file

_guard = threading.Lock()
_taken: int | None = None  # bytes; None: not counted yet


class _Entry(NamedTuple):
    changed: float  # seconds since 1970
    size: int
    path: Path


def take_folder() -> None:
    """Let Gradio keep uploads in a folder of our own: what is in it may be deleted."""
    folder = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    if folder.name != _FOLDER:  # of a process that started this one
        folder /= _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)


def wrote(size: int) -> None:
    """Tell that so many bytes have been written into the upload folder; makes room if need be."""
    global _taken  # noqa: PLW0603
    with _guard:
        if _taken is not None:
            _taken += size
        if _taken is None or _taken > LIMIT:
            _taken = _tidied()


def tidy() -> None:
    """Count the upload folder, and delete what is too old or too much."""
    global _taken  # noqa: PLW0603
    with _guard:
        _taken = _tidied()


@contextlib.asynccontextmanager
async def kept_tidy(app: App) -> AsyncIterator[None]:
    """Tidy up every minute while the server runs; a lifespan of Starlette's."""

    async def forever() -> None:
        while True:
            await asyncio.to_thread(tidy)
            # Gradio remembers each upload for ever.
            for known in app.get_blocks().temp_file_sets:
                known -= {file for file in known if not Path(file).exists()}
            await asyncio.sleep(_EVERY)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()


def _tidied() -> int:
    """Delete what is too old or too much, and return the bytes that are left."""
    root = Path(get_upload_folder())
    files, folders = _contents(root)
    oldest_kept = time.time() - _KEPT
    taken = sum(file.size for file in files) + len(folders) * _AN_ENTRY
    goal = int(LIMIT * _LEFT) if taken > LIMIT else LIMIT
    for file in sorted(files):
        if taken <= goal and file.changed >= oldest_kept:
            break
        with contextlib.suppress(OSError):  # another process may have been faster
            file.path.unlink(missing_ok=True)
            taken -= file.size
    for folder in reversed(folders):  # the inner ones first
        if time.time() - folder.changed > _YOUNG:
            with contextlib.suppress(OSError):  # it is not empty
                folder.path.rmdir()
                taken -= _AN_ENTRY
    return taken


def _contents(root: Path) -> tuple[list[_Entry], list[_Entry]]:
    """Return all files below a folder, and all folders, the outer ones first."""
    files: list[_Entry] = []
    folders: list[_Entry] = []
    waiting = [root]
    while waiting:
        try:
            found = list(os.scandir(waiting.pop()))
        except OSError:  # gone in the meantime
            continue
        for entry in found:
            with contextlib.suppress(OSError):
                about = entry.stat(follow_symlinks=False)
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(_Entry(about.st_mtime, _AN_ENTRY, path))
                    waiting.append(path)
                else:
                    files.append(_Entry(about.st_mtime, max(about.st_size, _AN_ENTRY), path))
    return files, folders
