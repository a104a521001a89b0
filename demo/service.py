"""What the page and the endpoints share: which models visitors may use, and timed explanations."""

import logging
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cachetools import LRUCache, cached

import gradcam_core
from demo.compute.base import Compute, ModelFacts, Picture
from demo.hosting import downloads, logs
from demo.hosting.uploads import UploadMissingError
from gradcam_core import Explanation, ModelInfo, Prediction, Query

DISPLAY_SIDE = 768  # pixels, the most per side of a picture in the page
_MAX_FACTS = 256  # models whose facts are kept

_log = logging.getLogger(__name__)


class NotDownloadedError(ValueError):
    """The model must be downloaded first.

    Attributes:
        info: The model.
    """

    def __init__(self, info: ModelInfo) -> None:
        super().__init__(f"{info.title} has not been downloaded yet.")
        self.info = info


class TimedExplanation(NamedTuple):
    """An explanation, and how long it took.

    Attributes:
        explanation: Its picture is at most `DISPLAY_SIDE` pixels per side.
        seconds: From request to explanation, without drawing.
    """

    explanation: Explanation
    seconds: float


def full_size(explanation: Explanation) -> Explanation:
    """Return an explanation with the uploaded picture at its own size.

    Raises:
        UploadMissingError: The upload was deleted.
    """
    if explanation.source is None or not explanation.source.is_file():
        raise UploadMissingError
    return replace(explanation, picture=gradcam_core.open_image(explanation.source))


class Service:
    """Answers queries of visitors.

    All calls raise ValueError for a query that cannot be answered. For one whose model is not
    offered, or not on this machine, that is a `DownloadRefusedError` or a `NotDownloadedError`.
    """

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        # What is known of the query's model, which is on this machine.
        self.describe: Callable[[Query], ModelFacts] = cached(
            LRUCache(_MAX_FACTS),
            key=lambda query: (query.task, query.model_name),
            lock=threading.Lock(),
        )(compute.describe)

    def explain(self, path: Path, query: Query, *, download: bool = False) -> TimedExplanation:
        """Explain an uploaded picture; guided only where that is defined for the model.

        Args:
            path: Of the file, checked by `uploads`.
            query: What is asked.
            download: Whether to download the model if need be.

        Raises:
            ConnectionError: The model cannot be downloaded.
        """
        return self._explain(path, self._checked(query, download=download))

    def explain_frame(self, frame: bytes, query: Query) -> TimedExplanation:
        """Explain one frame of a camera, an encoded picture; nothing of it is kept."""
        query = self._checked(query)
        with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
            file.write(frame)
            file.flush()
            picture = gradcam_core.open_image(file.name)
        return self._explain(picture, query)

    def explain_occluded(
        self, path: Path, mask: np.ndarray, fill: str, query: Query
    ) -> TimedExplanation:
        """Explain a picture with a part painted over, see `gradcam_core.metrics.occlude`."""
        query = self._checked(query)
        picture = gradcam_core.metrics.occlude(gradcam_core.open_image(path), mask, fill)
        explanation, seconds = self._explain(picture, query)
        picture.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
        return TimedExplanation(replace(explanation, picture=picture), seconds)

    def evaluate(
        self, path: Path, query: Query, test: str, goal: str | None = None
    ) -> dict[str, Any]:
        """Test the map of an explanation, see `demo.evaluation.evaluate`."""
        return self._compute.evaluate(path, self._checked(query), test, goal)

    def channels(self, path: Path, query: Query, word: int | None = None) -> dict[str, Any]:
        """Return how the map of an explanation was made, see `demo.channels.packed`."""
        return self._compute.channels(path, self._checked(query), word)

    def suggest(self, path: Path, query: Query, text: str) -> list[Prediction]:
        """Return labels that fit an unfinished text; none if the model is not downloaded yet."""
        _, downloaded = model_info(query)
        return self._compute.suggest(path, query, text) if downloaded else []

    def _explain(self, picture: Picture, query: Query) -> TimedExplanation:
        start = time.perf_counter()
        explanation = self._compute.explain(picture, query)
        return TimedExplanation(explanation, time.perf_counter() - start)

    def _checked(self, query: Query, *, download: bool = False) -> Query:
        """Check that visitors may use the model, and download it if need be."""
        info, downloaded = model_info(query)
        if not downloaded:
            if not download:
                raise NotDownloadedError(info)
            with downloads.download_slot(), _logged(info):
                gradcam_core.load(info.name, query.task)
        if query.guided and self.describe(query).methods["guided-backprop"]:
            return replace(query, guided=False)
        return query


@contextmanager
def _logged(info: ModelInfo) -> Iterator[None]:
    """Log the download of a model inside, and how it ends."""
    facts = {"model": info.name, "megabytes": info.download_mb}
    logs.write(_log, logging.INFO, "A model is being downloaded.", **facts)
    start, ended = time.perf_counter(), "Not downloaded."
    try:
        yield
        ended = "Downloaded."
    finally:
        seconds = round(time.perf_counter() - start, 1)
        logs.write(_log, logging.INFO, ended, **facts, seconds=seconds)


def model_info(query: Query) -> tuple[ModelInfo, bool]:
    """Return what a query's model is, and whether it is on this machine.

    Raises:
        ValueError: There is no such model for the task, or it is a folder.
        DownloadRefusedError: This server does not offer it, or has no space for it.
        ConnectionError: It is on the hub, which cannot be reached.
    """
    name, task = query.model_name, query.task
    known = [info.name for info in gradcam_core.models(task)]
    if name not in known:
        if task != "classification" or not re.fullmatch(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", name):
            raise ValueError(
                f"There is no model '{name[:60]}' for {task}. Known: {', '.join(known)}."
            )
        if Path(name).exists():
            # Otherwise every visitor could read folders of the server.
            raise ValueError("Folders are opened from Python and the command line only.")
        downloads.check_offered(name)
    info, downloaded = gradcam_core.describe(name)
    if not downloaded:
        downloads.check_space(info)
    return info, downloaded
