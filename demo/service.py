"""A request from the page -> an Explanation."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import gradcam_core

_LARGEST_DOWNLOAD = 4000  # MB; the page is for everybody, the disk is not


@dataclass(frozen=True, eq=False)
class Shown:
    """What a page shows.

    Attributes:
        explanation: Its `picture` is the uploaded one made smaller for display.
        path: The uploaded file.
        seconds: From request to explanation, without drawing.
        word: Index of the one word of a caption whose map is shown; None for all of it.
    """

    explanation: gradcam_core.Explanation
    path: Path
    seconds: float
    word: int | None = None

    def full_size(self) -> gradcam_core.Explanation:
        """Return the explanation with the uploaded picture at its own size.

        Raises:
            ValueError: The upload is not there any more.
        """
        if not self.path.is_file():
            raise ValueError(
                "The picture has been removed in the meantime: please upload it again."
            )
        return replace(self.explanation, picture=gradcam_core.open_image(self.path))


def model_info(name: str | None, task: str) -> tuple[gradcam_core.ModelInfo, bool]:
    """Tell what a model is, and whether it is on this machine; see `gradcam_core.describe`.

    Args:
        name: As picked or typed; the default of `task` if None or blank.
        task: "classification", "captioning" or "vqa".

    Raises:
        ValueError: There is no such model for this task, it is a folder, or it is too large.
        ConnectionError: It is on the hub only, and that cannot be reached.
    """
    name = (name or "").strip()
    if not name:
        return gradcam_core.models(task)[0], True
    known = {info.name: info for info in gradcam_core.models(task)}
    if name not in known:
        if task != "classification" or not re.fullmatch(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", name):
            raise ValueError(f"There is no model '{name}' for {task}. Known: {', '.join(known)}.")
        if Path(name).exists():
            # Whoever can open the page could read any folder of the machine that it runs on.
            raise ValueError("Folders are opened from Python and the command line only.")
    info, here = gradcam_core.describe(name)
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
    method: str | None = None,
) -> Shown:
    """Explain an uploaded picture; the CNN runs only if it has not seen it yet.

    Args:
        path: Of the uploaded file, checked by `UploadedPicture`.
        task: "classification", "captioning" or "vqa".
        target: As typed; None or blank explains the model's own prediction.
        question: As typed; for "vqa" only.
        model: As picked or typed; None or blank for the default. Downloaded if need be.
        layer: The target layer; None for the last.
        method: A name from `gradcam_core.methods()`; None for Grad-CAM.

    Raises:
        ValueError: There is no picture, or what `gradcam_core.explain` raises.
        ConnectionError: The model cannot be downloaded.
    """
    if path is None:
        raise ValueError("Please choose a picture first: upload, paste, or click an example.")
    target = "" if target is None else str(target).strip()  # over the API it may be a number
    info, _ = model_info(model, task)
    gradcam_core.load(info.name, task)  # before a GPU is asked for, and before the clock starts
    start = time.perf_counter()
    explanation = _explain(
        Path(path),
        task,
        target or None,
        question,
        info.name,
        layer or None,
        info.guided,
        method or "grad-cam",
    )
    seconds = time.perf_counter() - start
    return Shown(explanation, Path(path), seconds)


def _on_gpu(
    function: Callable[..., gradcam_core.Explanation],
) -> Callable[..., gradcam_core.Explanation]:
    """On a ZeroGPU Space, let a function have the GPU, for the length of a call.

    There it runs in a process of its own, so it must take and return what can be pickled.
    """
    if find_spec("spaces") is None:
        return function
    import spaces

    return spaces.GPU(function)


_explain = _on_gpu(gradcam_core.explain_file)
