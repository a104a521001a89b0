"""Explanations on a ZeroGPU Space, which lends its GPU to another process, a call at a time.

The page's own process sees an imitation of a GPU there, which fails in any thread but the first:
what is computed in it is computed without.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

import gradcam_core

HERE = "SPACES_ZERO_GPU" in os.environ

_EMBEDDED = {info.name for info in gradcam_core.models() if not info.download_mb}


def compute(function: Callable[..., Any], *picture: Path | Image.Image, **settings: Any) -> Any:
    """Call a function with a picture or without, with the GPU where that pays.

    Embedded networks explain sooner than a GPU is there, and visitors have few seconds of it a day.
    """
    if function is not gradcam_core.explain_file or settings["model"] in _EMBEDDED:
        return function(*picture, **settings)
    found = _lent(*picture, settings)
    if isinstance(found, Exception):
        raise found
    return found


def _with_gpu(file: Path, settings: dict[str, Any]) -> gradcam_core.Explanation | Exception:
    """Explain in a process that has the GPU; what it takes and returns is pickled.

    Of an error that is raised there Spaces tells the kind only, so it is returned.
    """
    os.environ.pop("GRADCAM_DEVICE", None)
    try:
        return gradcam_core.explain_file(file, **settings)
    except (ValueError, FileNotFoundError, ConnectionError) as error:
        return error


if HERE:
    import spaces

    os.environ.setdefault("GRADCAM_DEVICE", "cpu")
    _lent = spaces.GPU(_with_gpu)
