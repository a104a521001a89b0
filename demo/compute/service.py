"""A request from outside -> an Explanation."""

import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import gradcam_core
from demo.compute import zero_gpu
from demo.hosting import downloads
from demo.hosting.uploads import UploadMissingError

_SHOWN_SIDE = 768  # pixels, of a painted picture in the page


class NotHereError(ValueError):
    """The model is not on this machine, and was not to be downloaded.

    Attributes:
        info: What it is.
    """

    def __init__(self, info: gradcam_core.ModelInfo) -> None:
        super().__init__(f"{info.title} is not on this machine yet.")
        self.info = info


@dataclass(frozen=True, eq=False)
class Shown:
    """What is shown.

    Attributes:
        explanation: Its `picture` is the uploaded one made smaller for display.
        path: The uploaded file.
        seconds: From request to explanation, without drawing.
    """

    explanation: gradcam_core.Explanation
    path: Path
    seconds: float

    def full_size(self) -> gradcam_core.Explanation:
        """Return the explanation with the uploaded picture at its own size.

        Raises:
            UploadMissingError: The upload is not there any more.
        """
        if not self.path.is_file():
            raise UploadMissingError
        return replace(self.explanation, picture=gradcam_core.open_image(self.path))


@dataclass(frozen=True)
class Wanted:
    """What is asked of a picture, as picked or typed.

    Attributes:
        task: "classification", "captioning" or "vqa".
        target: None or blank explains the model's own prediction.
        question: For "vqa" only.
        model: None or blank for the default.
        layer: The target layer; None or blank for the last.
        method: A name from `gradcam_core.methods()`; None or blank for Grad-CAM.
        guided: Also compute guided backpropagation, where it has a meaning.
    """

    task: str
    target: str | None = None
    question: str | None = None
    model: str | None = None
    layer: str | None = None
    method: str | None = None
    guided: bool = False

    def settings(self, info: gradcam_core.ModelInfo) -> dict[str, Any]:
        """Return it as `gradcam_core.explain` takes it, of a model that it names."""
        return {
            "task": self.task,
            "target": (self.target or "").strip() or None,
            "question": self.question,
            "model": info.name,
            "layer": self.layer or None,
            "guided": self.guided and info.guided,
            "method": self.method or "grad-cam",
        }


def model_info(name: str | None, task: str) -> tuple[gradcam_core.ModelInfo, bool]:
    """Tell what a model is, and whether it is on this machine; see `gradcam_core.describe`.

    Args:
        name: As picked or typed; the default of `task` if None or blank.
        task: "classification", "captioning" or "vqa".

    Raises:
        ValueError: There is no such model for this task, it is a folder, or this server does not
            offer it or has no room for it.
        ConnectionError: It is on the hub only, and that cannot be reached.
    """
    name = (name or "").strip()
    if not name:
        return gradcam_core.models(task)[0], True
    known = {info.name: info for info in gradcam_core.models(task)}
    if name not in known:
        if task != "classification" or not re.fullmatch(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", name):
            raise ValueError(
                f"There is no model '{name[:60]}' for {task}. Known: {', '.join(known)}."
            )
        if Path(name).exists():
            # Whoever can open the page could read any folder of the machine that it runs on.
            raise ValueError("Folders are opened from Python and the command line only.")
        downloads.check_offered(name)
    info, here = gradcam_core.describe(name)
    if not here:
        downloads.check_space(info)
    return info, here


def explain(path: Path, wanted: Wanted, *, download: bool = True) -> Shown:
    """Explain a picture; the CNN runs only if it has not seen it yet.

    Args:
        path: Of the file, checked by `uploads`.
        wanted: What is asked of it.
        download: Whether to download the model if need be.

    Raises:
        NotHereError: The model must be downloaded, and was not to be.
        ValueError: What `gradcam_core.explain` raises.
        FileNotFoundError: The file is gone.
        ConnectionError: The model cannot be downloaded.
    """
    info = _model(wanted, download=download)
    start = time.perf_counter()
    explanation = _compute(gradcam_core.explain_file, path, **wanted.settings(info))
    return Shown(explanation, path, time.perf_counter() - start)


def explain_frame(frame: bytes, wanted: Wanted) -> Shown:
    """Explain one frame of a camera, of which nothing is kept.

    Args:
        frame: A picture file.
        wanted: What is asked of it.

    Raises:
        NotHereError: The model must be downloaded first.
        ValueError: What `gradcam_core.explain` raises.
    """
    info = _model(wanted, download=False)
    start = time.perf_counter()
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        path = Path(file.name)
        path.write_bytes(frame)
        picture = gradcam_core.open_image(path)
    explanation = _compute(gradcam_core.explain, picture, **wanted.settings(info))
    return Shown(explanation, path, time.perf_counter() - start)


def explain_covered(path: Path, mask: np.ndarray, filling: str, wanted: Wanted) -> Shown:
    """Explain a picture of which a part is painted over; its `picture` is that one.

    Args:
        path: As for `explain`.
        mask: (h, w) bool, see `gradcam_core.metrics.occlude`.
        filling: One of `gradcam_core.metrics.FILLS`.
        wanted: What is asked of it.

    Raises:
        NotHereError: The model must be downloaded first.
        ValueError: What `gradcam_core.explain` raises.
        FileNotFoundError: The file is gone.
    """
    info = _model(wanted, download=False)
    picture = gradcam_core.metrics.occlude(gradcam_core.open_image(path), mask, filling)
    start = time.perf_counter()
    explanation = _compute(gradcam_core.explain, picture, **wanted.settings(info))
    seconds = time.perf_counter() - start
    picture = picture.copy()
    picture.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
    return Shown(replace(explanation, picture=picture), path, seconds)


def compute(function: Callable[..., Any], path: Path, wanted: Wanted, **settings: Any) -> Any:
    """Call a function with a picture's file, as explanations are computed.

    Args:
        function: It takes what `gradcam_core.explain_file` takes.
        path: As for `explain`.
        wanted: What is asked of it.
        settings: What else the function takes.

    Raises:
        NotHereError: The model must be downloaded first.
        ValueError: What the function raises, as it may FileNotFoundError.
    """
    return _compute(function, path, **wanted.settings(_model(wanted, download=False)), **settings)


def of_model(function: Callable[..., Any], model: str, task: str) -> Any:
    """Call a function with a model's name and task, where that model is loaded."""
    return _compute(function, model=model, task=task)


def suggestions(
    path: Path, task: str, text: str, *, question: str | None = None, model: str | None = None
) -> list[gradcam_core.Prediction]:
    """Return the labels that a typed text may mean; none of a model that is not here yet.

    Args:
        path: As for `explain`.
        task: "classification" or "vqa".
        text: As typed so far; blank for the likeliest of all labels.
        question: As typed; for "vqa" only.
        model: As picked or typed; None or blank for the default.
    """
    info, here = model_info(model, task)
    if not here:
        return []
    asked = {"task": task, "text": text, "question": question, "model": info.name}
    found: list[gradcam_core.Prediction] = _compute(gradcam_core.suggest_file, path, **asked)
    return found


def _model(wanted: Wanted, *, download: bool) -> gradcam_core.ModelInfo:
    """Return what the model is; from here on it is on this machine.

    Raises:
        NotHereError: It must be downloaded, and was not to be.
        ValueError: See `model_info`.
        ConnectionError: It cannot be downloaded.
    """
    info, here = model_info(wanted.model, wanted.task)
    if not here:
        if not download:
            raise NotHereError(info)
        with downloads.download_slot():
            gradcam_core.load(info.name, wanted.task)
    return info


# A function, a picture or its file if it takes one, and what else it takes -> what it gives.
Compute = Callable[..., Any]


def compute_by(how: Compute) -> None:
    """Let what is asked of the models be computed elsewhere.

    Args:
        how: Given a function and its arguments, a file or a picture first if it takes one and the
            others by name ("model" among them), returns and raises what it does.
    """
    global _compute  # noqa: PLW0603
    _compute = how


def _here(function: Compute, *picture: Path | Image.Image, **settings: Any) -> Any:
    return function(*picture, **settings)


_compute: Compute = zero_gpu.compute if zero_gpu.HERE else _here
