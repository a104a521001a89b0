"""Where explanations are computed: in this process, on a ZeroGPU Space, or by Ray Serve."""

import os

from demo.compute.base import Compute
from demo.compute.local import LocalCompute


def create_compute() -> Compute:
    """Return what fits this machine, without Ray."""
    if "SPACES_ZERO_GPU" not in os.environ:
        return LocalCompute()
    from demo.compute.zero_gpu import ZeroGpuCompute

    return ZeroGpuCompute()
