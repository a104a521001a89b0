"""A request from the page -> an Explanation, fast enough to click through.

Models are held by `gradcam_core.load`; here is the cache of pictures that went through a CNN.
"""

import hashlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from cachetools import LRUCache, cached
from PIL import Image

import gradcam_core as gc
from gradcam_core.explain import explain_encoded
from gradcam_core.guided import why_not
from gradcam_core.image import open_image
from gradcam_core.models.backbone import Backbone, Encoded
from gradcam_core.models.base import Model, Prediction
from gradcam_core.models.registry import describe

# Pictures are shown no larger than this; downloads have the picture's own size.
DISPLAY_SIDE = 768

_CACHE_BYTES = 256 * 2**20  # of feature maps, inputs and pictures; 1 to 15 MB each
_CACHED_PREDICTIONS = 1024
_LARGEST_DOWNLOAD = 4000  # MB; the page is for everybody, the disk is not


@dataclass(frozen=True, eq=False)
class Shown:
    """What a page shows.

    Attributes:
        explanation: Its `picture` is the uploaded one made smaller for display.
        path: The uploaded file.
        seconds: From request to explanation, without drawing.
        remark: What must be said of the model; may be empty.
        word: Index of the one word of a caption whose map is shown; None for all of it.
    """

    explanation: gc.Explanation
    path: Path
    seconds: float
    remark: str = ""
    word: int | None = None

    def full_size(self) -> gc.Explanation:
        """Return the explanation with the uploaded picture at its own size.

        Raises:
            ValueError: The upload is not there any more.
        """
        if not self.path.is_file():
            raise ValueError(
                "The picture has been removed in the meantime: please upload it again."
            )
        return replace(self.explanation, picture=open_image(self.path))


def model_info(name: str | None, task: str) -> tuple[gc.ModelInfo, bool]:
    """Tell what a model is, and whether it is on this machine; see `registry.describe`.

    Args:
        name: As picked or typed; the default of `task` if None or blank.
        task: "classification", "captioning" or "vqa".

    Raises:
        ValueError: There is no such model for this task, it is a folder, or it is too large.
        ConnectionError: It is on the hub only, and that cannot be reached.
    """
    name = (name or "").strip()
    if not name:
        return gc.models(task)[0], True
    known = {info.name: info for info in gc.models(task)}
    if name not in known:
        if task != "classification" or not re.fullmatch(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", name):
            raise ValueError(f"There is no model '{name}' for {task}. Known: {', '.join(known)}.")
        if Path(name).exists():
            # Whoever can open the page could read any folder of the machine that it runs on.
            raise ValueError("Folders are opened from Python and the command line only.")
    info, here = describe(name)
    if not here and info.download_mb > _LARGEST_DOWNLOAD:
        raise ValueError(
            f"{name} is a download of {info.download_mb:,} MB; in the page it may be at most "
            f"{_LARGEST_DOWNLOAD:,} MB."
        )
    return info, here


def explain(
    path: str | None,
    task: str,
    *,
    target: str | None = None,
    question: str | None = None,
    model: str | None = None,
    layer: str | None = None,
) -> Shown:
    """Explain an uploaded picture; the CNN runs only if it has not seen it yet.

    Args:
        path: Of the uploaded file, checked by `UploadedPicture`.
        task: "classification", "captioning" or "vqa".
        target: As typed; None or blank explains the model's own prediction.
        question: As typed; for "vqa" only.
        model: As picked or typed; None or blank for the default. Downloaded if need be.
        layer: The target layer; None for the last.

    Raises:
        ValueError: There is no picture, or what `gradcam_core.explain` raises.
        ConnectionError: The model cannot be downloaded.
    """
    if path is None:
        raise ValueError("Please choose a picture first: upload, paste, or click an example.")
    target = "" if target is None else str(target).strip()  # over the API it may be a number
    info, _ = model_info(model, task)
    loaded = gc.load(info.name, task)  # before a GPU is asked for, and before the clock starts
    start = time.perf_counter()
    explanation = _explain(Path(path), task, info.name, target or None, question, layer)
    seconds = time.perf_counter() - start
    return Shown(explanation, Path(path), seconds, _remark(info, loaded))


def _remark(info: gc.ModelInfo, model: Model) -> str:
    remarks = []
    if not info.convolutional:
        remarks.append("The map is of a transformer's tokens: **not convolutional features**.")
    if model.backbone.not_relu:
        remarks.append(why_not(model))
    return " ".join(remarks)


def _on_gpu(function: Callable[..., gc.Explanation]) -> Callable[..., gc.Explanation]:
    """On a ZeroGPU Space, let a function have the GPU, for the length of a call.

    There it runs in a process of its own, so it must take and return what can be pickled.
    """
    if find_spec("spaces") is None:
        return function
    import spaces

    return spaces.GPU(function)


@_on_gpu
def _explain(
    file: Path, task: str, name: str, target: str | None, question: str | None, layer: str | None
) -> gc.Explanation:
    model = gc.load(name, task)
    # Pictures are told apart by what is in the file: each tab has its own upload of the same one.
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    layer = layer or model.backbone.layers[-1]
    encoded, picture = _encode(digest, file, model.backbone, layer)
    return explain_encoded(
        model,
        encoded,
        picture,
        target=target,
        question=question,
        predictions=_predict(digest, model, encoded, question),
        with_guided=not model.backbone.not_relu,
    )


def _size(entry: tuple[Encoded, Image.Image]) -> int:
    """Return the bytes of a cached picture."""
    encoded, picture = entry
    tensors = (encoded.activations, encoded.features, encoded.pixels)
    return sum(tensor.nbytes for tensor in tensors) + 3 * picture.width * picture.height


@cached(
    LRUCache(_CACHE_BYTES, getsizeof=_size),
    key=lambda digest, path, backbone, layer: (digest, backbone.name, layer),
    lock=threading.Lock(),
)
def _encode(digest: str, path: Path, backbone: Backbone, layer: str) -> tuple[Encoded, Image.Image]:
    picture = open_image(path)
    encoded = backbone.encode(picture, layer)
    picture.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
    return encoded, picture


# What a model itself says does not change with the target that is explained, nor with the layer.
@cached(
    LRUCache(_CACHED_PREDICTIONS),
    key=lambda digest, model, encoded, question: (digest, model.name, question),
    lock=threading.Lock(),
)
def _predict(digest: str, model: Model, encoded: Encoded, question: str | None) -> list[Prediction]:
    return model.predict(encoded, question)
