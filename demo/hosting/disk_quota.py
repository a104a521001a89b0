"""A quota for uploads and results on the disk.

Everything in Gradio's upload folder counts: uploads under any field name, unfinished ones, results
and Gradio's copies of them, and what a killed process left behind. Over the quota the oldest files
are deleted first; files older than a day are deleted in any case.
"""

import asyncio
import os
import stat
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI

from demo.hosting.gradio_internals import forget_deleted_files, upload_folder

_FOLDER = "gradcam-demo"
_MAX_AGE = 24 * 3600.0  # seconds
_INTERVAL = 60.0  # seconds between two checks
_BLOCK = 4096  # bytes that the smallest file, or a folder, takes on the disk
_TARGET = 0.8  # of the quota after a cleanup, so that the next file does not trigger another one
_NEW_FOLDER = 60.0  # seconds; a younger folder may be about to get its first file


class DiskQuota:
    """Limits the size of the upload folder.

    Attributes:
        limit: In bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._used: int | None = None  # bytes; None: not counted yet

    def add(self, size: int) -> None:
        """Count bytes that were written to the upload folder; clean up if they are too many."""
        with self._lock:
            if self._used is not None:
                self._used += size
            if self._used is None or self._used > self.limit:
                self._used = _clean_up(upload_folder(), self.limit)

    def enforce(self) -> None:
        """Measure the upload folder, and delete what is too old or too much."""
        with self._lock:
            self._used = _clean_up(upload_folder(), self.limit)


quota = DiskQuota(int(float(os.environ.get("GRADCAM_UPLOADS_GB", "2")) * 1e9))


def use_own_folder() -> None:
    """Give Gradio an upload folder of our own, whose files may be deleted."""
    folder = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    if folder.name != _FOLDER:  # else set by the parent process
        folder /= _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)


@asynccontextmanager
async def enforce_periodically(app: FastAPI) -> AsyncIterator[None]:
    """Enforce the quota every minute while the server runs; a Starlette lifespan."""

    async def enforce() -> None:
        while True:
            await asyncio.to_thread(quota.enforce)
            forget_deleted_files(app)
            await asyncio.sleep(_INTERVAL)

    task = asyncio.create_task(enforce())
    try:
        yield
    finally:
        task.cancel()


class _Entry(NamedTuple):
    modified: float  # seconds since 1970
    size: int
    path: Path


def _clean_up(root: Path, limit: int) -> int:
    """Delete what is too old or over the limit; return the bytes that are left."""
    files, folders = _contents(root)
    used = sum(entry.size for entry in [*files, *folders])
    target = int(limit * _TARGET) if used > limit else limit
    now = time.time()
    for file in sorted(files):
        if used <= target and now - file.modified <= _MAX_AGE:
            break
        with suppress(OSError):
            file.path.unlink(missing_ok=True)  # another process may have been faster
            used -= file.size
    for folder in reversed(folders):  # inner ones first
        if now - folder.modified > _NEW_FOLDER:
            with suppress(OSError):  # not empty
                folder.path.rmdir()
                used -= folder.size
    return used


def _contents(root: Path) -> tuple[list[_Entry], list[_Entry]]:
    """Return all files below a folder, and all folders, outer ones first."""
    files: list[_Entry] = []
    folders: list[_Entry] = []
    for parent, *names in os.walk(root):
        for path in (Path(parent, name) for kind in names for name in kind):
            with suppress(OSError):  # deleted in the meantime
                found = path.lstat()
                if stat.S_ISDIR(found.st_mode):
                    folders.append(_Entry(found.st_mtime, _BLOCK, path))
                else:
                    files.append(_Entry(found.st_mtime, max(found.st_size, _BLOCK), path))
    return files, folders
