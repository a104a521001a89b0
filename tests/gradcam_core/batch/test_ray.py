"""The same on a Ray cluster, whose workers may die."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="no Ray here (pip install -r requirements-scale.txt)")

from ray import cloudpickle

from gradcam_core.batch import ray as on_ray
from gradcam_core.batch import run as batches
from gradcam_core.batch.run import Asked
from gradcam_core.batch.storage import Place, photos
from tests.support.app_process import CATS, free_port, names, table


class Mortal(on_ray.Explainer):
    """Dies twice: before its first part, and when it has written one, but has not told of it."""

    def __init__(self, asked: Asked, out: Place) -> None:
        super().__init__(asked, out)
        self._deaths = Path(out.uri).parent

    def __call__(self, batch: Any) -> Any:
        self._die("before")
        told = super().__call__(batch)
        self._die("after")
        return told

    def _die(self, when: str) -> None:
        try:
            (self._deaths / when).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_workers_that_die_lose_no_photo_and_double_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Place(str(tmp_path / "out"))
    asked = Asked("classification", "tabby", None, "lite0", None, "grad-cam", 1.0, False)
    monkeypatch.setattr(on_ray, "PART", 1)
    monkeypatch.setattr(on_ray, "Explainer", Mortal)
    cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["Mortal"]))
    left = batches.remaining(photos(str(folder), out), asked, out)
    told = {photo.name: error for photo, error in on_ray.explain_there(left, asked, out, "local")}
    assert (tmp_path / "before").exists()
    assert (tmp_path / "after").exists()
    assert names(table(out.uri)) == CATS
    assert sorted(told) == ["broken.jpg", *CATS]
    assert [name for name, error in told.items() if error is not None] == ["broken.jpg"]
    # What Ray did is done: nothing of it is left for this machine.
    assert [each.name for each in batches.remaining(left, asked, out)] == ["broken.jpg"]


def test_where_there_is_no_cluster_that_is_said(tmp_path: Path) -> None:
    asked = Asked("classification", None, None, "lite0", None, "grad-cam", 1.0, False)
    out = Place(str(tmp_path))
    with pytest.raises(ValueError, match="No Ray cluster at 127"):
        list(on_ray.explain_there([out], asked, out, f"127.0.0.1:{free_port()}"))
