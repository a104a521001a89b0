"""What a replica of the page on Ray Serve does: it answers questions, several at a time."""

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.schema import LoggingConfig

import gradcam_core
from demo.hosting.cancellation import Cancelled
from demo.hosting.gradio_internals import ReportedProgress, active_progress
from gradcam_core.feature_cache import Unseen, encode_together, open_unseen
from gradcam_core.models.backbone import pictures_a_pass

AT_ONCE = 4  # questions that a replica answers
_WAITING = 64  # more of them for a network, wherever they were asked


@dataclass(frozen=True)
class Question:
    """What a replica computes.

    Attributes:
        function: It takes a picture or a file first, or none.
        picture: The content of a file; a picture of which nothing is kept; or None.
        name: The file's name.
        settings: What else the function takes.
    """

    function: Callable[..., Any]
    picture: bytes | Image.Image | None
    name: str
    settings: dict[str, Any]

    @contextmanager
    def begun(self) -> Iterator[Callable[[], Any]]:
        """Give what computes it, returning what the function returns or raises; its file is there.

        (An error is returned since one that is raised in a replica would come as another one.)
        """
        with tempfile.TemporaryDirectory() as folder:
            first: tuple[Any, ...] = () if self.picture is None else (self.picture,)
            if isinstance(self.picture, bytes):
                first = (Path(folder) / self.name,)
                first[0].write_bytes(self.picture)
            yield partial(self._answer, *first)

    def _answer(self, *first: Path | Image.Image) -> Any:
        try:
            return self.function(*first, **self.settings)
        except (ValueError, OSError) as error:
            return error


@dataclass(frozen=True)
class Step:
    """How far the work at a question is.

    Attributes:
        what: Is done.
        done: So much of it.
        total: None if nobody knows.
    """

    what: str | None
    done: float
    total: float | None

    @property
    def shown(self) -> tuple[str | None, float | None]:
        """By which bar."""
        return self.what, self.total


@serve.deployment(
    max_ongoing_requests=AT_ONCE,
    max_queued_requests=_WAITING,
    health_check_timeout_s=60,
    request_router_config=RequestRouterConfig(
        request_router_class="ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
    ),
    logging_config=LoggingConfig(enable_access_log=False),
)
class Explainer:
    """Holds models, and the feature maps of the pictures that it was asked about."""

    def __init__(self, models: Sequence[str]) -> None:
        for name in models:
            gradcam_core.load(name)
        self.check_health()
        self._asked = 0
        self._encode.set_max_batch_size(pictures_a_pass())

    async def answer(self, question: Question) -> Any:
        """Answer beside other questions."""
        self._asked += 1
        try:
            with question.begun() as work:
                try:
                    await self._encode_with_others(question, *work.args)
                except (ValueError, OSError) as error:
                    return error
                return await asyncio.to_thread(work)
        finally:
            self._asked -= 1

    async def follow(self, question: Question) -> AsyncIterator[Any]:
        """Answer what takes long: first how far it is, step by step, then the answer.

        It ends where nobody listens any more.
        """
        loop, gone = asyncio.get_running_loop(), threading.Event()
        told: asyncio.Queue[Step | None] = asyncio.Queue()

        def tell(step: Step) -> None:
            if gone.is_set():
                raise Cancelled
            loop.call_soon_threadsafe(told.put_nowait, step)

        def work() -> Any:
            progress = ReportedProgress(lambda *step: tell(Step(*step)))
            try:
                with active_progress(progress), question.begun() as answer, suppress(Cancelled):
                    return answer()
            finally:
                loop.call_soon_threadsafe(told.put_nowait, None)

        working = asyncio.create_task(asyncio.to_thread(work))
        try:
            while step := await told.get():
                yield step
            yield await working
        finally:
            gone.set()

    async def _encode_with_others(self, question: Question, *first: Any) -> None:
        """Let the CNN see a picture in one pass with others that wait; nobody else asks: later."""
        if self._asked == 1 or question.function is not gradcam_core.explain_file:
            return
        model, layer = question.settings["model"], question.settings.get("layer")
        # Opened before, each for itself: a file may be made to take long.
        unseen = await asyncio.to_thread(open_unseen, *first, model, layer)
        if unseen:
            await self._encode(unseen)

    # None waits for another one to come: while a pass runs, others wait for the next.
    @serve.batch(batch_wait_timeout_s=0)
    async def _encode(self, unseen: list[Unseen]) -> list[None]:
        await asyncio.to_thread(encode_together, unseen)
        return [None for _ in unseen]

    def check_health(self) -> None:
        """Explain a small picture; Serve replaces a replica that cannot."""
        gradcam_core.explain(Image.new("RGB", (8, 8)))
