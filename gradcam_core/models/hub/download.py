"""Weights from the hubs: downloaded once, and kept where the hubs' own tools keep them."""

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

_PATIENCE = 8.0  # seconds for a hub's first answer; a name server alone can take longer

# What a model needs; not its demo pictures, nor its weights for other frameworks.
_SETTINGS = (".json", ".txt", ".model", ".jinja")

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Offer(NamedTuple):
    """What a hub says of a model before it is downloaded.

    Attributes:
        files: Names of the files that are needed, the weights last.
        megabytes: Their size, 10^6 bytes.
        licence: As the model's page names it; "not stated" if it does not.
    """

    files: list[str]
    megabytes: int
    licence: str


def torch_weights(url: str, title: str) -> dict[str, Tensor]:
    """Return weights that torch's hub keeps, by name; downloads them if they are not there yet.

    Args:
        url: Of the file.
        title: What they belong to, for messages.

    Raises:
        ConnectionError: They cannot be downloaded.
        ValueError: The file is damaged.
    """
    path = _checkpoint(url)
    if not path.is_file():
        _ask(lambda: urlopen(Request(url, method="HEAD"), timeout=_PATIENCE).close(), url, title)
        _log.info("%s is downloaded from %s.", title, urlparse(url).hostname)
    try:
        # Never unpickles anything but tensors.
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True
        )
    except OSError as error:
        raise ConnectionError(_interrupted(title, error)) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        if not path.is_file():  # what came was not what was announced, and was not kept
            raise ConnectionError(_interrupted(title, error)) from error
        raise ValueError(
            f"The weights of {title} are damaged: delete {path.name} in torch's cache, "
            "and they are downloaded again."
        ) from error


def has_torch_weights(url: str) -> bool:
    """Tell whether weights are on this machine already."""
    return _checkpoint(url).is_file()


def hub_folder(repository: str) -> Path:
    """Return the folder of a model from the Hugging Face Hub; downloads it at first use.

    Args:
        repository: "owner/name".

    Raises:
        ConnectionError: It is not on this machine, and cannot be downloaded.
        ValueError: There is no such model, or it may not be downloaded.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError

    folder = cached_hub_folder(repository)
    if folder is not None:
        return folder
    try:
        # One after the other in this thread, so that whoever watches it sees each one's bar. The
        # weights come last: where they are, everything is.
        files = hub_offer(repository).files
        _log.info("%s is downloaded from the Hugging Face Hub.", repository)
        *_, weights = [hf_hub_download(repository, file) for file in files]
    except (ConnectionError, ValueError):
        raise
    except GatedRepoError:
        raise ValueError(_gated(repository)) from None
    except Exception as error:  # of the network, of the disk, of the hub's own storage
        raise ConnectionError(_interrupted(repository, error)) from error
    return Path(weights).parent


def cached_hub_folder(repository: str) -> Path | None:
    """Return the folder of a model that is on this machine already; None if it is not."""
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
def hub_offer(repository: str) -> Offer:
    """Ask the Hugging Face Hub how large a model is, and under which licence.

    Raises:
        ConnectionError: The hub cannot be reached.
        ValueError: There is no such model, or it may not be downloaded.
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
        info = _ask(
            lambda: api.model_info(repository, files_metadata=True, timeout=_PATIENCE),
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
        raise ConnectionError(_interrupted(repository, error)) from error
    if info.gated and not get_token():
        raise ValueError(_gated(repository))
    files = {Path(file.rfilename): file.size or 0 for file in info.siblings or []}
    top = {path: size for path, size in files.items() if len(path.parts) == 1}
    weights = [path for path in top if path.suffix == ".safetensors"]
    weights = weights or [path for path in top if _is_weights(path)]
    if not weights:
        raise ValueError(f"{repository} holds no weights that can be opened safely.")
    needed = [*(path for path in top if path.suffix in _SETTINGS), *weights]
    return Offer(
        files=[str(path) for path in needed],
        megabytes=math.ceil(sum(top[path] for path in needed) / 1e6),
        licence=str(getattr(info.card_data, "license", None) or "not stated"),
    )


def _is_weights(path: Path) -> bool:
    return path.suffix == ".safetensors" or path.name.startswith("pytorch_model")


def _checkpoint(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def _ask(question: Callable[[], T], url: str, title: str) -> T:
    """Return a hub's answer.

    Raises:
        ConnectionError: There was none in time.
        Exception: What `question` raises, if the hub did answer.
    """
    from huggingface_hub.errors import HfHubHTTPError

    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(question())
        except Exception as error:
            answer.set_exception(error)

    # In a thread, because looking a host's name up knows no time limit.
    threading.Thread(target=run, daemon=True).start()
    try:
        return answer.result(timeout=_PATIENCE)
    except (HfHubHTTPError, ValueError):
        raise
    except Exception as error:  # of the network, or none in time
        raise ConnectionError(
            f"{title} is not on this machine, and {urlparse(url).hostname} cannot be reached to "
            "download it. The embedded models need no download."
        ) from error


def _interrupted(title: str, error: Exception) -> str:
    return f"The download of {title} failed; please try again. ({first_line(error)})"


def _gated(repository: str) -> str:
    return (
        f"{repository} is given only to people who have accepted its terms on the Hugging Face "
        "Hub and are logged in (`hf auth login`)."
    )


def first_line(error: Exception) -> str:
    """Return the first line of what a library says of an error: it can be a page long."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
