"""A batch on a Ray cluster whose actors die."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="no Ray here (pip install -r requirements-ray.txt)")

from ray import cloudpickle

from gradcam_core.batch import ray as ray_batch
from gradcam_core.batch.run import Batch
from gradcam_core.batch.storage import Location, list_photos
from gradcam_core.query import Query
from tests.support.batches import CATS, names, table
from tests.support.program import free_port


class MortalWorker(ray_batch.Worker):
    """Dies twice: before its first part, and after writing a part but before reporting it."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self._deaths = Path(batch.out.uri).parent

    def __call__(self, rows: Any) -> Any:
        self._die("before")
        outcomes = super().__call__(rows)
        self._die("after")
        return outcomes

    def _die(self, when: str) -> None:
        try:
            (self._deaths / when).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_every_photo_is_explained_once_although_actors_die(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Location(str(tmp_path / "out"))
    batch = Batch(Query(target="tabby", model="lite0"), out)
    monkeypatch.setattr(ray_batch, "PART", 1)
    monkeypatch.setattr(ray_batch, "Worker", MortalWorker)
    cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["MortalWorker"]))
    todo = batch.remaining(list_photos(str(folder), out))
    errors = {
        photo.name: error for photo, error in ray_batch.explain_on_cluster(batch, todo, "local")
    }
    assert (tmp_path / "before").exists()
    assert (tmp_path / "after").exists()
    assert names(table(out.uri)) == CATS
    assert sorted(errors) == ["broken.jpg", *CATS]
    assert [name for name, error in errors.items() if error is not None] == ["broken.jpg"]
    # Without Ray the same batch has only the failed photo left.
    assert [each.name for each in batch.remaining(todo)] == ["broken.jpg"]


def test_a_missing_cluster_is_reported(tmp_path: Path) -> None:
    out = Location(str(tmp_path))
    batch = Batch(Query(), out)
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(ValueError, match=address):
        list(ray_batch.explain_on_cluster(batch, [out], address))
