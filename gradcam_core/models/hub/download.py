"""Weights from the hubs of Hugging Face and PyTorch, downloaded once into their usual caches."""

import json
import logging
import math
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from cachetools import TTLCache, cached
from torch import Tensor

TIMEOUT = 8.0  # seconds until a hub's first answer, including the look-up of its address

# Files that a model needs besides its weights.
_SETTINGS = (".json", ".txt", ".model", ".jinja")

T = TypeVar("T")

_log = logging.getLogger(__name__)


class HubInfo(NamedTuple):
    """What a hub says about a model before it is downloaded.

    Attributes:
        files: Names of the files that are needed, the weights last.
        megabytes: Their total size, in 10^6 bytes.
        licence: From the model's page; "not stated" if missing there.
    """

    files: list[str]
    megabytes: int
    licence: str


def torch_weights(url: str, title: str) -> dict[str, Tensor]:
    """Return the state dict at a URL; downloads it into the cache of `torch.hub` at first use.

    Args:
        url: Address of the file.
        title: The model's name, for messages.

    Raises:
        ConnectionError: They cannot be downloaded.
        ValueError: The file is damaged.
    """
    path = _cached_file(url)
    if not path.is_file():
        _request(lambda: urlopen(Request(url, method="HEAD"), timeout=TIMEOUT).close(), url, title)
        _log.info("Downloading %s from %s.", title, urlparse(url).hostname)
    try:
        # weights_only: unpickles nothing but tensors.
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True
        )
    except OSError as error:
        raise ConnectionError(_failed(title, error)) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        if not path.is_file():  # the download was incomplete or altered, and was not kept
            raise ConnectionError(_failed(title, error)) from error
        raise ValueError(
            f"The weights of {title} are damaged: delete {path.name} in torch's cache to "
            "download them again."
        ) from error


def has_torch_weights(url: str) -> bool:
    """Return whether weights are on this machine already."""
    return _cached_file(url).is_file()


def has_torch_file(beginning: str) -> bool:
    """Return whether a file of weights on this machine has a name that begins so."""
    return any(_cached_file(beginning).parent.glob(f"{beginning}*"))


def hub_folder(repository: str) -> Path:
    """Return the folder with a model from the Hugging Face Hub; downloads it at first use.

    Args:
        repository: "owner/name".

    Raises:
        ConnectionError: It is not on this machine, and cannot be downloaded.
        ValueError: There is no such model, or downloading it is not allowed.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError

    folder = cached_hub_folder(repository)
    if folder is not None:
        return folder
    try:
        # One after another in this thread, so that each progress bar can be watched. The weights
        # come last: where they are, the download is complete.
        files = hub_info(repository).files
        _log.info("Downloading %s from the Hugging Face Hub.", repository)
        *_, weights = [hf_hub_download(repository, file) for file in files]
    except (ConnectionError, ValueError):
        raise
    except GatedRepoError:
        raise ValueError(_gated(repository)) from None
    except Exception as error:  # of the network, the disk or the hub
        raise ConnectionError(_failed(repository, error)) from error
    return Path(weights).parent


def cached_hub_folder(repository: str) -> Path | None:
    """Return the folder with a model that is on this machine already, else None."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        settings = try_to_load_from_cache(repository, "config.json")
    except HFValidationError:
        return None
    if not isinstance(settings, str):
        return None
    folder = Path(settings).parent
    weights = set(folder.iterdir())
    for index in folder.glob("*.index.json"):  # of weights in several files
        parts = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        return folder if {folder / part for part in parts} <= weights else None
    return folder if any(map(_is_weights, weights)) else None


@cached(TTLCache(64, ttl=60), lock=threading.Lock())
def hub_info(repository: str) -> HubInfo:
    """Ask the Hugging Face Hub for the files, size and licence of a model.

    Raises:
        ConnectionError: The hub cannot be reached.
        ValueError: There is no such model, or downloading it is not allowed.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
    )

    api = HfApi()
    try:
        info = _request(
            lambda: api.model_info(repository, files_metadata=True, timeout=TIMEOUT),
            api.endpoint,
            repository,
        )
    except GatedRepoError:
        raise ValueError(_gated(repository)) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ValueError(
            f"There is no model '{repository}' on {api.endpoint}, or it is private."
        ) from None
    except HfHubHTTPError as error:
        raise ConnectionError(_failed(repository, error)) from error
    if info.gated and not get_token():
        raise ValueError(_gated(repository))
    files = {Path(file.rfilename): file.size or 0 for file in info.siblings or []}
    top = {path: size for path, size in files.items() if len(path.parts) == 1}
    weights = [path for path in top if path.suffix == ".safetensors"]
    weights = weights or [path for path in top if _is_weights(path)]
    if not weights:
        raise ValueError(f"{repository} has no weights in a safe format.")
    needed = [*(path for path in top if path.suffix in _SETTINGS), *weights]
    return HubInfo(
        files=[str(path) for path in needed],
        megabytes=math.ceil(sum(top[path] for path in needed) / 1e6),
        licence=str(getattr(info.card_data, "license", None) or "not stated"),
    )


def _is_weights(path: Path) -> bool:
    return path.suffix == ".safetensors" or path.name.startswith("pytorch_model")


def _cached_file(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def _request(send: Callable[[], T], url: str, title: str) -> T:
    """Return what `send` returns, with a time limit.

    Raises:
        ConnectionError: The hub did not answer in time.
        Exception: The hub answered with an error.
    """
    from huggingface_hub.errors import HfHubHTTPError

    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(send())
        except Exception as error:
            answer.set_exception(error)

    # In a thread, because the look-up of a host's address has no time limit.
    threading.Thread(target=run, daemon=True).start()
    try:
        return answer.result(timeout=TIMEOUT)
    except (HfHubHTTPError, ValueError):
        raise
    except Exception as error:  # of the network, or a timeout
        raise ConnectionError(
            f"{title} is not on this machine, and {urlparse(url).hostname} cannot be reached to "
            "download it. The embedded models need no download."
        ) from error


def _failed(title: str, error: Exception) -> str:
    return f"The download of {title} failed; please try again. ({first_line(error)})"


def _gated(repository: str) -> str:
    return (
        f"{repository} is available only to users who have accepted its terms on the Hugging "
        "Face Hub and are logged in (`hf auth login`)."
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, which can be very long."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
