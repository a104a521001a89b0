"""The parts of a batch on a Ray cluster: Ray Data hands them to actors that hold the model."""

import socket
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import ray

import gradcam_core
from gradcam_core.batch.run import PART, Asked, Told, explain_part
from gradcam_core.batch.storage import Place


class Explainer:
    """Loads the model once, and then explains part after part."""

    def __init__(self, asked: Asked, out: Place) -> None:
        self._asked = asked
        self._out = out
        gradcam_core.load(asked.model, asked.task)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Explain the parts of a batch of Ray Data."""
        told = [
            explain_part([Place(uri) for uri in part], self._asked, self._out)
            for part in batch["photos"]
        ]
        return {
            "photos": [[photo.uri for photo, _ in part] for part in told],
            "errors": [[error or "" for _, error in part] for part in told],
        }


def explain_there(
    photos: Sequence[Place], asked: Asked, out: Place, address: str
) -> Iterator[Told]:
    """Do what `batches.explain_here` does on a Ray cluster; photos are told of as parts are done.

    An actor that dies is replaced, and its part is done again.

    Args:
        photos: As addresses that all machines of the cluster know.
        asked: What is asked of each.
        out: As an address that all machines of the cluster know.
        address: Of the cluster; "local" for one of this machine's own, "auto" for the running one.

    Raises:
        ValueError: There is no such cluster, or it wants a token that is not here.
        OSError: The results cannot be written.
    """
    if not photos:
        return
    joined = address != "local"
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if port.isdigit():  # Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(address, log_to_driver=False, include_dashboard=None if joined else False)
    except (OSError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise ValueError(
            f"No Ray cluster at {address} lets this machine in. If there is one, it may want the "
            "token of the machine that started it: copy ~/.ray/auth_token from there."
        ) from error
    try:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        workers = gpus or int(resources["CPU"])
        size = max(1, min(PART, len(photos) // workers))
        parts = [photos[start : start + size] for start in range(0, len(photos), size)]
        work = [{"photos": [photo.uri for photo in part]} for part in parts]
        told = ray.data.from_items(work, override_num_blocks=len(work)).map_batches(
            Explainer,
            fn_constructor_args=(asked, out),
            batch_size=1,
            num_cpus=0 if gpus else 1,
            num_gpus=1 if gpus else 0,
            concurrency=(1, workers),
        )
        for row in told.iter_rows():
            for uri, error in zip(row["photos"], row["errors"], strict=True):
                yield Place(str(uri)), error or None
    finally:
        ray.shutdown()
