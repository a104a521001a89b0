"""Computes on a ZeroGPU Space, which lends a GPU to a process of its own for one call at a time.

In the page's own process torch claims to have a GPU, but using it fails. So that process computes
on the CPU.
"""

import os
from functools import cache

import spaces

import gradcam_core
from demo.compute.base import Picture
from demo.compute.local import LocalCompute
from gradcam_core import Explanation, Query

_EMBEDDED = {info.name for info in gradcam_core.models() if not info.download_mb}


class ZeroGpuCompute(LocalCompute):
    """See `Compute`. Only downloaded models explain on the GPU.

    Embedded models finish before a GPU is ready, and visitors have a small daily quota of it.
    """

    def __init__(self) -> None:
        super().__init__()
        os.environ.setdefault("GRADCAM_DEVICE", "cpu")
        self._explain_on_gpu = spaces.GPU(explain_on_gpu)

    def explain(self, picture: Picture, query: Query) -> Explanation:
        if query.model_name in _EMBEDDED:
            return super().explain(picture, query)
        result = self._explain_on_gpu(picture, query)
        if isinstance(result, Exception):
            raise result
        return result


def explain_on_gpu(picture: Picture, query: Query) -> Explanation | Exception:
    """Explain in the process that has the GPU; arguments and result are pickled.

    Errors are returned, since Spaces passes on only the class of a raised error.
    """
    os.environ.pop("GRADCAM_DEVICE", None)
    try:
        return _gpu_compute().explain(picture, query)
    except (ValueError, FileNotFoundError, ConnectionError) as error:
        return error


@cache
def _gpu_compute() -> LocalCompute:
    return LocalCompute()
