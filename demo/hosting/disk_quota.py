"""A quota for uploads and results on the disk.

Everything in Gradio's upload folder counts: uploads under any field name, unfinished ones, results
and Gradio's copies of them, and what a killed process left behind. Over the quota, or when the disk
is nearly full, the oldest files of the address with the most bytes are deleted first; files older
than a day are deleted in any case.

Nothing is deleted outside of a folder that this module has created and marked.
"""

import asyncio
import errno
import logging
import os
import shutil
import stat
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import FastAPI

from demo.hosting.files import owner
from demo.hosting.gradio_internals import forget_deleted_files, upload_folder
from demo.hosting.periodic import periodically
from demo.hosting.settings import settings

DISK_FULL = "The server's disk is full. Please try again later."

_FOLDER = "gradcam-demo"
_MARKER = ".gradcam-demo"  # the file in a folder that says whose it is
_MARK = "Uploads and results of the Grad-CAM demo, which deletes all files here after a day.\n"
_MAX_AGE = 24 * 3600.0  # seconds
_INTERVAL = 60.0  # seconds between two checks
_BLOCK = 4096  # bytes that the smallest file, or a folder, takes on the disk
_TARGET = 0.8  # of the quota after a cleanup, so that the next file does not trigger another one
_NEW_FOLDER = 60.0  # seconds; a younger folder may be about to get its first file
_MIN_FREE = 100 * 10**6  # bytes that stay free on the disk, or 2 % of a small one
_MIN_FREE_FILES = 100  # likewise, on file systems with a limited number of files

_log = logging.getLogger(__name__)


class DiskFullError(OSError):
    """There is no room for a file, even without the files that may be deleted."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, DISK_FULL)


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error says that the disk, or a user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


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
            if not self._has_room(0):
                self._clean_up(0)

    def reserve(self, size: int) -> None:
        """Make room for a file that will be written to a folder of its own.

        Raises:
            DiskFullError: There is none.
        """
        with self._lock:
            if not self._has_room(size):
                self._clean_up(size)
                if not self._has_room(size):
                    raise DiskFullError
            if self._used is not None:
                self._used += 2 * _BLOCK

    def enforce(self) -> None:
        """Measure the upload folder, and delete what is too old or too much."""
        with self._lock:
            self._clean_up(0)

    def usage(self) -> tuple[int, int, int]:
        """Return the bytes used, the limit, and the bytes that are free on the disk."""
        with self._lock:
            return self._used or 0, self.limit, _free(upload_folder())[0]

    def problem(self) -> str | None:
        """Return why no files can be written at the moment, as a sentence; None if they can."""
        folder = upload_folder()
        if not _is_ours(folder):
            return "The upload folder is not the server's own: its quota cannot be kept."
        try:
            self.reserve(_BLOCK)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(_BLOCK))
        except OSError as error:
            return DISK_FULL if is_disk_full(error) else "The upload folder cannot be written to."
        return None

    def _has_room(self, size: int) -> bool:
        if self._used is None or self._used + size > self.limit:
            return False
        free, kept_free = _free(upload_folder())
        return free - size >= kept_free

    def _clean_up(self, needed: int) -> None:
        """Delete what is too old, or in the way of `needed` bytes; count what is left."""
        folder = upload_folder()
        with suppress(OSError):
            _keep(folder)
        if not _is_ours(folder):
            self._used = 0
            return
        # Not by its path, since others may be able to rename folders in a temporary folder.
        handle = _open_folder(folder)
        try:
            entries = _entries(folder, handle)
            free, kept_free = _free(folder)
            self._used = _delete(entries, self.limit, needed, free - kept_free, handle)
        finally:
            if handle is not None:
                os.close(handle)


_chosen: set[Path] = set()  # the folders of this process

quota = DiskQuota(int(settings().uploads_gb * 1e9))


def use_own_folder() -> None:
    """Give Gradio an upload folder of our own, whose files may be deleted.

    It is `gradcam-demo` in `GRADIO_TEMP_DIR`, or another name if that is somebody else's.
    """
    folder = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()).absolute()
    if not _is_ours(folder):  # else set by the parent process
        folder.mkdir(parents=True, exist_ok=True)
        folder = _own_folder(folder)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    _chosen.add(folder)


def _own_folder(parent: Path) -> Path:
    """Return a folder of our own: one of an earlier process, or a new one."""
    first = parent / _FOLDER
    with suppress(FileExistsError):
        first.mkdir(0o700)
    if _is_private(first) and not any(first.iterdir()):
        _mark(first)
    for folder in (first, *sorted(parent.glob(f"{_FOLDER}-*"))):
        if _is_ours(folder):
            return folder
    new = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}-", dir=parent))
    _mark(new)
    _log.warning("%s belongs to somebody else: uploads are kept in %s.", first, new)
    return new


def _mark(folder: Path) -> None:
    marker = folder / _MARKER
    marker.touch(0o600)
    if not marker.stat().st_size:
        marker.write_text(_MARK, "utf-8")


def _keep(folder: Path) -> None:
    """Create a folder of this process again if somebody has deleted it, and renew its mark.

    Programs that tidy temporary folders delete what has not changed for some days.
    """
    if folder in _chosen:
        folder.mkdir(0o700, exist_ok=True)
        if _is_private(folder):
            _mark(folder)


def _is_ours(folder: Path) -> bool:
    """Return whether we created a folder, or an earlier process did."""
    return _is_private(folder) and _is_private(folder / _MARKER, stat.S_ISREG)


def _is_private(path: Path, kind: Callable[[int], bool] = stat.S_ISDIR) -> bool:
    """Return whether this is a folder, not a link to one, that only we can write to."""
    try:
        found = path.lstat()
    except OSError:
        return False
    if os.name == "nt":  # has no such owners and modes
        return kind(found.st_mode)
    return kind(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


@asynccontextmanager
async def enforce_periodically(app: FastAPI) -> AsyncIterator[None]:
    """Enforce the quota every minute while the server runs; a Starlette lifespan."""

    async def enforce() -> None:
        await asyncio.to_thread(quota.enforce)
        forget_deleted_files(app)

    async with periodically(enforce, _INTERVAL):
        yield


class _Entry(NamedTuple):
    modified: float  # seconds since 1970
    size: int  # bytes that it takes on the disk
    path: Path
    is_folder: bool


def _open_folder(folder: Path) -> int | None:
    """Return a handle for `dir_fd`, so that no link can replace the folder; None on Windows."""
    if os.name == "nt":
        return None
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _entries(folder: Path, handle: int | None) -> list[_Entry]:
    """Return all files and folders of our own below a folder, outer folders first."""
    walk: Iterable[tuple[Any, ...]]
    walk = os.walk(folder) if handle is None else os.fwalk(".", dir_fd=handle)
    found = []
    for parent, *names in ((part[0], *part[1], *part[2]) for part in walk):
        for path in (Path(parent, name) for name in names):
            with suppress(OSError):  # deleted in the meantime
                facts = os.stat(path, dir_fd=handle, follow_symlinks=False)
                of_root = parent in (".", str(folder))
                if (of_root and path.name == _MARKER) or (
                    handle is not None and facts.st_uid != os.geteuid()
                ):
                    continue
                is_folder = stat.S_ISDIR(facts.st_mode)
                size = max(facts.st_size, getattr(facts, "st_blocks", 0) * 512, _BLOCK)
                found.append(_Entry(facts.st_mtime, size, path, is_folder))
    return found


def _delete(entries: list[_Entry], limit: int, needed: int, spare: int, handle: int | None) -> int:
    """Delete what is too old or in the way; return the bytes that are left.

    Args:
        entries: Outer folders first.
        limit: How many bytes there may be, with what is needed.
        needed: Bytes that are about to be written.
        spare: Bytes of the disk that may still be filled.
        handle: See `_open_folder`.
    """
    used = sum(entry.size for entry in entries)
    # How many bytes have to go.
    excess = 0
    if used + needed > limit:
        excess = used + needed - int(limit * _TARGET)
    excess = max(excess, needed - spare)
    now = time.time()
    left = used
    folders = {entry.path: entry for entry in entries if entry.is_folder}
    for file in _by_share([entry for entry in entries if not entry.is_folder]):
        if used - left < excess or now - file.modified > _MAX_AGE:
            with suppress(OSError):
                os.unlink(file.path, dir_fd=handle)
                left -= file.size
                if folder := folders.get(file.path.parent):
                    os.rmdir(folder.path, dir_fd=handle)  # fails if it is not empty
                    left -= folder.size
                    del folders[folder.path]
    for folder in reversed(folders.values()):  # inner ones first
        if now - folder.modified > _NEW_FOLDER:
            with suppress(OSError):
                os.rmdir(folder.path, dir_fd=handle)
                left -= folder.size
    return left


def _by_share(files: list[_Entry]) -> list[_Entry]:
    """Order files: first the oldest of the owner with the most bytes, so that the shares level."""
    kept: Counter[str] = Counter()
    share = {}
    for file in sorted(files, reverse=True):
        kept[owner(file.path)] += file.size
        share[file] = kept[owner(file.path)]
    return sorted(files, key=lambda file: (-share[file], file))


def _free(folder: Path) -> tuple[int, int]:
    """Return the free bytes of the disk that a folder is on, and how many have to stay free."""
    try:
        disk = shutil.disk_usage(folder)
        if os.name != "nt":
            files = os.statvfs(folder)
            if files.f_files and files.f_favail < _MIN_FREE_FILES:
                return 0, _MIN_FREE
    except OSError:  # there is no folder
        return 0, 0
    return disk.free, min(_MIN_FREE, disk.total // 50)
