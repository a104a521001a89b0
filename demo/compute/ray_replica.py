"""A replica of a model's deployment on Ray Serve: answers several remote calls at a time."""

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.schema import LoggingConfig

import gradcam_core
from demo.compute.base import Picture
from demo.compute.local import LocalCompute
from demo.hosting.cancellation import Cancelled
from demo.hosting.gradio_internals import ReportedProgress, active_progress

CONCURRENCY = 4  # calls that a replica answers at the same time
_MAX_QUEUED = 64  # further calls to a deployment


@dataclass(frozen=True)
class RemoteCall:
    """A call of a function in a replica.

    Attributes:
        function: Takes the replica's `LocalCompute`, the picture if there is one, and `arguments`.
        picture: The content of a file; a picture; or None.
        file_name: Of the file.
        arguments: By name.
        client: The address of the visitor, for whom the picture is decoded.
    """

    function: Callable[..., Any]
    picture: bytes | Image.Image | None
    file_name: str
    arguments: dict[str, Any]
    client: str | None = None

    @contextmanager
    def local_picture(self) -> Iterator[Picture | None]:
        """Give the picture; a file exists inside only."""
        if not isinstance(self.picture, bytes):
            yield self.picture
            return
        with gradcam_core.decoding_for(self.client), tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / self.file_name
            file.write_bytes(self.picture)
            yield file

    def run(self, compute: LocalCompute, picture: Picture | None) -> Any:
        """Return the function's result, or the error that it raises.

        Ray would wrap a raised error in one of its own.
        """
        try:
            return self.function(compute, *([] if picture is None else [picture]), **self.arguments)
        except (ValueError, OSError) as error:
            return error


class Step(NamedTuple):
    """The progress of a call.

    Attributes:
        description: What is being done.
        done: Steps that are done.
        total: All steps; None if unknown.
    """

    description: str | None
    done: float
    total: float | None


class Replica:
    """Holds models, and the feature maps of recent pictures."""

    def __init__(self, models: Sequence[str]) -> None:
        for name in models:
            gradcam_core.load(name)
        self._compute = LocalCompute()
        self.check_health()
        self._running = 0
        self._encode.set_max_batch_size(gradcam_core.batch_size())  # type: ignore[attr-defined]

    async def answer(self, call: RemoteCall) -> Any:
        """Answer a call; the CNN runs once for the pictures of calls that wait for it."""
        self._running += 1
        try:
            with call.local_picture() as picture:
                try:
                    await self._encode_in_batch(call, picture)
                except (ValueError, OSError) as error:
                    return error
                return await asyncio.to_thread(call.run, self._compute, picture)
        finally:
            self._running -= 1

    async def follow(self, call: RemoteCall) -> AsyncIterator[Any]:
        """Answer a slow call: first its progress, step by step, then the result.

        The work ends if the caller closes the stream.
        """
        loop, closed = asyncio.get_running_loop(), threading.Event()
        steps: asyncio.Queue[Step | None] = asyncio.Queue()

        def report(description: str | None, done: float, total: float | None) -> None:
            if closed.is_set():
                raise Cancelled
            loop.call_soon_threadsafe(steps.put_nowait, Step(description, done, total))

        def work() -> Any:
            try:
                with (
                    suppress(Cancelled),
                    active_progress(ReportedProgress(report)),
                    call.local_picture() as picture,
                ):
                    return call.run(self._compute, picture)
            finally:
                loop.call_soon_threadsafe(steps.put_nowait, None)

        working = asyncio.create_task(asyncio.to_thread(work))
        try:
            while step := await steps.get():
                yield step
            yield await working
        finally:
            closed.set()

    async def _encode_in_batch(self, call: RemoteCall, picture: Picture | None) -> None:
        """Encode a new picture together with others; alone, `answer` does it as well."""
        if self._running == 1 or call.function is not LocalCompute.explain:
            return
        if isinstance(picture, Path):
            # Opened outside of the batch: some files take long.
            new = await asyncio.to_thread(
                self._compute.explainer.open_new, picture, call.arguments["query"]
            )
            if new is not None:
                await self._encode(new)

    # Without waiting for more: while a pass runs, the next batch gathers.
    @serve.batch(batch_wait_timeout_s=0)
    async def _encode(self, pictures: list[Any]) -> list[None]:
        await asyncio.to_thread(self._compute.explainer.encode_many, pictures)
        return [None for _ in pictures]

    def check_health(self) -> None:
        """Explain a small picture; Serve replaces a replica that cannot."""
        self._compute.check()


replica: Any = serve.deployment(
    Replica,
    max_ongoing_requests=CONCURRENCY,
    max_queued_requests=_MAX_QUEUED,
    health_check_timeout_s=60,
    request_router_config=RequestRouterConfig(
        request_router_class="ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"  # type: ignore[arg-type]
    ),
    logging_config=LoggingConfig(enable_access_log=False),
)
