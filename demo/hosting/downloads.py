"""What visitors may have downloaded: which models, how many bytes, and how many at once."""

import contextlib
import ipaddress
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import torch.hub
from huggingface_hub.constants import HF_HUB_CACHE

import gradcam_core

_LARGEST = 4000  # MB, of one model
_PUBLIC_GB = "20"
_FREE = 2 * 10**9  # bytes that stay free on the disk
_AT_ONCE = 2

_turns = threading.BoundedSemaphore(_AT_ONCE)


def check_allowed(name: str, settings: Mapping[str, str] = os.environ) -> None:
    """Raise an error for an id on the Hugging Face Hub that this server does not offer.

    `GRADCAM_HUB_MODELS` names those that it does, with commas and `*` (`timm/*`); by default all
    where only this machine can reach the server, and none elsewhere.

    Raises:
        ValueError: It is none of these.
    """
    patterns = settings.get("GRADCAM_HUB_MODELS", "" if _is_public(settings) else "*").split(",")
    if not any(fnmatchcase(name, pattern.strip()) for pattern in patterns):
        raise ValueError(
            f"This server does not offer {name}: its host decides which models from the Hugging "
            "Face Hub it does. All are open in Python and on the command line."
        )


def check_room(info: gradcam_core.ModelInfo, settings: Mapping[str, str] = os.environ) -> None:
    """Raise an error for a model that there is no room for.

    `GRADCAM_MODELS_GB` is the most that the hubs' caches may hold, whoever filled them; by default
    there is a limit only where others than this machine can reach the server.

    Raises:
        ValueError: It is too large, or would be too much.
    """
    if info.download_mb > _LARGEST:
        raise ValueError(
            f"{info.name} is a download of {info.download_mb:,} MB; in the page it may be at most "
            f"{_LARGEST:,} MB."
        )
    size = info.download_mb * 10**6
    limit = settings.get("GRADCAM_MODELS_GB", _PUBLIC_GB if _is_public(settings) else "")
    caches = _caches()
    kept = sum(map(_size, caches)) if limit else 0
    too_much = bool(limit) and kept + size > float(limit) * 1e9
    if too_much or any(_free(cache) - size < _FREE for cache in caches):
        raise ValueError(
            f"There is no room for {info.title} ({info.download_mb:,} MB) on this server; it keeps "
            "the models that it has. The embedded ones need no download."
        )


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Download inside, unless others do: they would hold up those who download nothing.

    Raises:
        ValueError: So many download already.
    """
    if not _turns.acquire(blocking=False):
        raise ValueError(
            f"{_AT_ONCE} models are being downloaded already: please try again in a few minutes."
        )
    try:
        yield
    finally:
        _turns.release()


def _is_public(settings: Mapping[str, str]) -> bool:
    """Tell whether others than this machine can reach the server."""
    host = settings.get("GRADIO_SERVER_NAME", "localhost")
    with contextlib.suppress(ValueError):
        return "SPACE_ID" in settings or not ipaddress.ip_address(host).is_loopback
    return "SPACE_ID" in settings or host != "localhost"


def _caches() -> tuple[Path, Path]:
    """Return the folders in which the hubs' tools keep what they downloaded."""
    return Path(HF_HUB_CACHE), Path(torch.hub.get_dir())


def _size(folder: Path) -> int:
    """Return the bytes in a folder, also of downloads that were broken off."""
    return sum(
        path.lstat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def _free(folder: Path) -> int:
    """Return the free bytes of the disk that a folder is, or will be, on."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
