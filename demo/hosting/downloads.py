"""Limits of model downloads: which models, how many bytes, and how many at once."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import torch.hub
from huggingface_hub.constants import HF_HUB_CACHE

import gradcam_core
from demo.hosting.settings import settings

_MAX_MODEL_MB = 4000
_PUBLIC_LIMIT_GB = 20.0  # of the caches
MIN_FREE = 2 * 10**9  # bytes that stay free on the disk
_MAX_DOWNLOADS = 2

_slots = threading.BoundedSemaphore(_MAX_DOWNLOADS)


class DownloadRefusedError(ValueError):
    """A model may not be downloaded.

    Attributes:
        code: Why not: "not_offered", "too_large", "no_space" or "busy".
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_offered(name: str) -> None:
    """Raise an error for a model of the Hugging Face Hub that this server does not offer.

    `GRADCAM_HUB_MODELS` lists those it offers, separated by commas, with `*` as wildcard
    (`timm/*`). The default is all models on a private server, and none on a public one.

    Raises:
        DownloadRefusedError: It is not offered.
    """
    patterns = settings().hub_models
    if patterns is None:
        patterns = () if settings().is_public else ("*",)
    if not any(fnmatchcase(name, pattern) for pattern in patterns):
        raise DownloadRefusedError(
            "not_offered",
            f"This server does not offer {name}. Its operator decides which models of the Hugging "
            "Face Hub it offers; in Python and on the command line you can use all of them.",
        )


def check_space(info: gradcam_core.ModelInfo) -> None:
    """Raise an error for a model that is too large for this server.

    `GRADCAM_MODELS_GB` limits the caches of the hubs, whoever filled them. The default is no limit
    on a private server, and 20 on a public one.

    Raises:
        DownloadRefusedError: It is too large by itself, or together with what is there.
    """
    if info.download_mb > _MAX_MODEL_MB:
        raise DownloadRefusedError(
            "too_large",
            f"{info.name} is a download of {info.download_mb:,} MB; on this page it may be at most "
            f"{_MAX_MODEL_MB:,} MB.",
        )
    size = info.download_mb * 10**6
    limit = settings().hub_models_gb or (_PUBLIC_LIMIT_GB if settings().is_public else None)
    caches = Path(HF_HUB_CACHE), Path(torch.hub.get_dir())
    over_limit = limit is not None and sum(map(_size, caches)) + size > limit * 1e9
    if over_limit or any(_free(cache) - size < MIN_FREE for cache in caches):
        raise DownloadRefusedError(
            "no_space",
            f"This server has no space for {info.title} ({info.download_mb:,} MB). The embedded "
            "models need no download.",
        )


@contextmanager
def download_slot() -> Iterator[None]:
    """Allow a download inside; does not wait, so that downloads never block other requests.

    Raises:
        DownloadRefusedError: All slots are taken.
    """
    if not _slots.acquire(blocking=False):
        raise DownloadRefusedError(
            "busy",
            f"{_MAX_DOWNLOADS} models are being downloaded already. Please try again in a few "
            "minutes.",
        )
    try:
        yield
    finally:
        _slots.release()


def _size(folder: Path) -> int:
    """Return the bytes in a folder, unfinished downloads included."""
    return sum(
        path.lstat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def _free(folder: Path) -> int:
    """Return the free bytes of the disk that a folder is on, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
