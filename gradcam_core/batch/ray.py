"""A batch on a Ray cluster: Ray Data gives the parts to actors that hold the model."""

import os
import socket
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import ray

from gradcam_core.batch.run import PART, Batch, Outcome
from gradcam_core.batch.storage import Location
from gradcam_core.models.model_cache import load


class Worker:
    """An actor: loads the model once, then explains one part after another."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        load(batch.query.model_name, batch.query.task)

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Explain the parts in a batch of Ray Data."""
        parts = [
            self._batch.explain_part(Location(os.fsdecode(name)) for name in part)
            for part in rows["photos"]
        ]
        return {
            "photos": [[os.fsencode(photo.uri) for photo, _ in part] for part in parts],
            "errors": [[error or "" for _, error in part] for part in parts],
        }


def explain_on_cluster(
    batch: Batch, photos: Sequence[Location], address: str
) -> Generator[Outcome]:
    """Do what `Batch.explain` does, on a Ray cluster; photos are reported part by part.

    An actor that dies is replaced, and its part is explained again.

    Args:
        batch: Its folder has an address that all machines of the cluster know.
        photos: By addresses that all machines of the cluster know.
        address: Of the cluster; "local" starts one on this machine, "auto" finds the running one.

    Raises:
        ValueError: There is no such cluster, or it needs a token that is missing here.
        OSError: The results cannot be written.
    """
    if not photos:
        return
    _connect(address)
    try:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        workers = gpus or int(resources["CPU"])
        size = max(1, min(PART, len(photos) // workers))
        # As bytes, since names need not be UTF-8.
        parts = [
            {"photos": [os.fsencode(photo.uri) for photo in photos[start : start + size]]}
            for start in range(0, len(photos), size)
        ]
        outcomes = ray.data.from_items(parts, override_num_blocks=len(parts)).map_batches(
            Worker,
            fn_constructor_args=(batch,),
            batch_size=1,
            num_cpus=0 if gpus else 1,
            num_gpus=1 if gpus else 0,
            concurrency=(1, workers),
        )
        for row in outcomes.iter_rows():
            for name, error in zip(row["photos"], row["errors"], strict=True):
                yield Location(os.fsdecode(name)), error or None
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    """Join a cluster, or start one."""
    joined = address != "local"
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if port.isdigit():  # Ray would retry for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(address, log_to_driver=False, include_dashboard=None if joined else False)
    except (OSError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise ValueError(
            f"Cannot join a Ray cluster at {address}. If there is one, it may need the token of "
            "the machine that started it: copy ~/.ray/auth_token from there."
        ) from error
