"""A request from outside -> an Explanation."""

import contextlib
import re
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import gradcam_core
from demo import downloads, zero_gpu
from demo.uploads import GoneError

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
            GoneError: The upload is not there any more.
        """
        if not self.path.is_file():
            raise GoneError
        return replace(self.explanation, picture=gradcam_core.open_image(self.path))


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
        downloads.check_allowed(name)
    info, here = gradcam_core.describe(name)
    if not here:
        downloads.check_room(info)
    return info, here


def explain(
    path: Path,
    task: str,
    *,
    target: str | None = None,
    question: str | None = None,
    model: str | None = None,
    layer: str | None = None,
    method: str | None = None,
    guided: bool = False,
    download: bool = True,
) -> Shown:
    """Explain a picture; the CNN runs only if it has not seen it yet.

    Args:
        path: Of the file, checked by `uploads`.
        task: "classification", "captioning" or "vqa".
        target: As typed; None or blank explains the model's own prediction.
        question: As typed; for "vqa" only.
        model: As picked or typed; None or blank for the default.
        layer: The target layer; None or blank for the last.
        method: A name from `gradcam_core.methods()`; None or blank for Grad-CAM.
        guided: Also compute guided backpropagation, where it has a meaning.
        download: Whether to download the model if need be.

    Raises:
        NotHereError: The model must be downloaded, and was not to be.
        ValueError: What `gradcam_core.explain` raises.
        FileNotFoundError: The file is gone.
        ConnectionError: The model cannot be downloaded.
    """
    info, here = model_info(model, task)
    if not here and not download:
        raise NotHereError(info)
    with contextlib.nullcontext() if here else downloads.turn():
        # Before a GPU is asked for, and before the clock starts.
        gradcam_core.load(info.name, task)
    start = time.perf_counter()
    explanation = _explain(
        path,
        task,
        (target or "").strip() or None,
        question,
        info.name,
        layer or None,
        guided and info.guided,
        method or "grad-cam",
    )
    return Shown(explanation, path, time.perf_counter() - start)


def explain_frame(
    frame: bytes,
    task: str,
    *,
    target: str | None = None,
    question: str | None = None,
    model: str | None = None,
    layer: str | None = None,
    method: str | None = None,
    guided: bool = False,
) -> Shown:
    """Explain one frame of a camera, of which nothing is kept.

    Args:
        frame: A picture file; the rest is as for `explain`.

    Raises:
        NotHereError: The model must be downloaded first.
        ValueError: What `gradcam_core.explain` raises.
    """
    info, here = model_info(model, task)
    if not here:
        raise NotHereError(info)
    start = time.perf_counter()
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        path = Path(file.name)
        path.write_bytes(frame)
        explanation = gradcam_core.explain(
            path,
            task,
            target=(target or "").strip() or None,
            question=question,
            model=info.name,
            layer=layer or None,
            guided=guided and info.guided,
            method=method or "grad-cam",
        )
    return Shown(explanation, path, time.perf_counter() - start)


def explain_covered(
    path: Path,
    mask: np.ndarray,
    filling: str,
    task: str,
    *,
    target: str | None = None,
    question: str | None = None,
    model: str | None = None,
    layer: str | None = None,
    method: str | None = None,
) -> Shown:
    """Explain a picture of which a part is painted over; its `picture` is that one.

    Args:
        path: As for `explain`, as are those that are not named here.
        mask: (h, w) bool, see `gradcam_core.evidence.cover`.
        filling: One of `gradcam_core.evidence.FILLINGS`.

    Raises:
        NotHereError: The model must be downloaded first.
        ValueError: What `gradcam_core.explain` raises.
        FileNotFoundError: The file is gone.
    """
    info, here = model_info(model, task)
    if not here:
        raise NotHereError(info)
    picture = gradcam_core.evidence.cover(gradcam_core.open_image(path), mask, filling)
    gradcam_core.load(info.name, task)
    start = time.perf_counter()
    explanation = gradcam_core.explain(
        picture,
        task,
        (target or "").strip() or None,
        question,
        info.name,
        layer or None,
        method=method or "grad-cam",
    )
    seconds = time.perf_counter() - start
    picture = picture.copy()
    picture.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
    return Shown(replace(explanation, picture=picture), path, seconds)


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
    return gradcam_core.suggest_file(path, task, text, question, info.name) if here else []


_explain = zero_gpu.explain_file if zero_gpu.HERE else gradcam_core.explain_file
