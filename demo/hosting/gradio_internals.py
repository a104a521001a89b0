"""Everything the demo uses of Gradio that Gradio does not document.

Any release may rename or drop these parts. All other modules import them from here, and
`tests/demo/hosting/test_gradio_internals.py` names the one that is missing. Written for 6.31.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import gradio as gr
from fastapi import FastAPI, Request
from gradio.context import LocalContext
from gradio.data_classes import ImageData, PredictBodyInternal
from gradio.queueing import Event, Queue
from gradio.routes import App
from gradio.server_messages import ProcessCompletedMessage
from gradio.utils import get_upload_folder
from pydantic import model_validator


def upload_folder() -> Path:
    """Return the folder of uploads and results: there is no public way to ask where it is."""
    return Path(get_upload_folder())


def forget_deleted_files(app: FastAPI) -> None:
    """Drop deleted files from Gradio's lists: it remembers every upload until it stops."""
    assert isinstance(app, App)
    for files in app.get_blocks().temp_file_sets:
        files -= {file for file in files if not Path(file).exists()}


def limit_sessions(demo: gr.Blocks, count: int) -> None:
    """Limit the sessions whose data is kept: `mount_gradio_app` lacks this option of `launch`."""
    demo.state_session_capacity = count


def event_payload(event: gr.EventData) -> Any:
    """Return all data of an event: `gr.EventData` only gives out values by name."""
    return event._data


class ImagePath(ImageData):
    """A client's image data; only the path is kept.

    Gradio itself would answer other shapes with its schema, and log a traceback.
    """

    @model_validator(mode="before")
    @classmethod
    def _path_only(cls, sent: Any) -> dict[str, str]:
        path = sent.get("path") if isinstance(sent, dict) else None
        return {"path": path if isinstance(path, str) else ""}


class UnfetchedImage(gr.Image):
    """A `gr.Image` whose client can only name a path: web addresses are refused."""

    data_model = ImagePath
    refusal: ClassVar[str]  # the message for a web address

    def get_block_name(self) -> str:
        """Return the name of the component that the browser shows."""
        return "image"

    async def async_move_resource_to_block_cache(
        self, url_or_file_path: str | Path | None
    ) -> str | None:
        """Refuse web addresses: Gradio would download them to the server."""
        if str(url_or_file_path).casefold().startswith(("http:", "https:")):
            raise gr.Error(self.refusal, print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)


# Progress: Gradio replaces methods of tqdm by ones that call the current context's `gr.Progress`.


@contextmanager
def active_progress(progress: gr.Progress) -> Iterator[None]:
    """Send the progress of all tqdm bars inside to `progress`."""
    previous = LocalContext.progress.get(None)
    LocalContext.progress.set(progress)
    try:
        yield
    finally:
        LocalContext.progress.set(previous)


class CheckedProgress(gr.Progress):
    """Gradio's progress bar, which calls `check` before each step; `check` may raise."""

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__(track_tqdm=True)
        self._check = check

    def tqdm(self, iterable: Iterable[Any] | None, *args: Any, **options: Any) -> Any:
        self._check()
        return super().tqdm(iterable, *args, **options)

    def __next__(self) -> Any:
        self._check()
        return super().__next__()  # type: ignore[no-untyped-call]

    def update(self, n: int | float = 1) -> None:
        self._check()
        super().update(n)


class ReportedProgress(gr.Progress):
    """A progress bar for processes without a page: calls `report(description, done, total)`."""

    def __init__(self, report: Callable[[str | None, float, float | None], None]) -> None:
        super().__init__(track_tqdm=True)
        self._report = report

    def _progress_callback(self) -> Callable[[list[Any]], None]:  # type: ignore[override]
        return self._report_last

    def _report_last(self, bars: list[Any]) -> None:
        if bars:
            self._report(bars[-1].desc, bars[-1].index, bars[-1].length)


# The queue: Gradio's is first come, first served, and has one limit for everybody together.


class Client(NamedTuple):
    """Who sent a request.

    Attributes:
        session: Gradio's name of the open page (`gr.Request.session_hash`) or API client.
        address: The IP address; "" if unknown.
    """

    session: str | None
    address: str


class ManagedQueue(Queue, ABC):
    """Gradio's queue with a policy: which requests are refused, and which is next."""

    def __init__(self, demo: gr.Blocks, concurrency_limit: int) -> None:
        """Create the queue, see `install`.

        Args:
            demo: The page.
            concurrency_limit: How many requests of an event run at once, unless it says otherwise.
        """
        super().__init__(
            live_updates=True,
            concurrency_count=demo.max_threads,
            update_intervals=1,
            max_size=None,  # `refusal` decides
            blocks=demo,
            default_concurrency_limit=concurrency_limit,
        )

    def install(self) -> None:
        """Replace the page's own queue: `Blocks.queue` always creates one of Gradio's class."""
        self.blocks._queue = self

    @abstractmethod
    def refusal(self, client: Client) -> str | None:
        """Return why a new request may not wait, as a sentence; None if it may."""

    @abstractmethod
    def order(self, waiting: Sequence[Client], running: Sequence[Client]) -> Sequence[int]:
        """Return the order in which to run requests.

        Args:
            waiting: The clients of the requests, in the order of their arrival.
            running: The clients of those that run already.
        """

    async def push(
        self, body: PredictBodyInternal, request: Request, username: str | None
    ) -> tuple[
        bool,
        str | list[dict[str, Any]],
        Literal["success", "error", "queue_full", "validator_error"],
    ]:
        """Add a request, or refuse it."""
        function = self.blocks.fns.get(-1 if body.fn_index is None else body.fn_index)
        if function is not None and function.concurrency_limit is not None:  # else it never waits
            refusal = self.refusal(Client(body.session_hash, _address(request)))
            if refusal is not None:
                return False, refusal, "queue_full"
        result = await super().push(body, request, username)
        for concurrency_id in self.event_queue_per_concurrency_id:
            self._reorder(concurrency_id)
            self.broadcast_estimations(concurrency_id)
        return result

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """Take the next request out of the queue, and reorder the rest."""
        taken = super().get_events()
        if taken is not None:
            self._reorder(taken[2], taken[0])
        return taken

    def waiting(self) -> list[Client]:
        """Return the clients of all requests that wait."""
        return [_client(event) for event in self._waiting()]

    def answer_waiting(self, session: str | None, request_id: int, answer: dict[str, Any]) -> None:
        """Answer a request of the page in place of its handler, if it still waits.

        Call it on the event loop only.

        Args:
            session: See `Client`.
            request_id: The "id" in the event's data.
            answer: What the handler would have returned first.
        """
        for event in self._waiting():
            payload = event.data.event_data if event.data else None
            same_id = isinstance(payload, dict) and payload.get("id") == request_id
            if same_id and event.session_hash == session:
                self.event_queue_per_concurrency_id[event.concurrency_id].queue.remove(event)
                self.event_ids_to_events.pop(event._id, None)
                output = {"data": [answer, *[None] * (len(event.fn.outputs) - 1)]}
                self.send_message(event, ProcessCompletedMessage(output=output, success=True))

    def _waiting(self) -> list[Event]:
        queues = self.event_queue_per_concurrency_id.values()
        return [event for queue in queues for event in queue.queue]

    def _reorder(self, concurrency_id: str, started: Sequence[Event] = ()) -> None:
        events = [event for job in self.active_jobs if job for event in job]
        running = [event for event in events if event.concurrency_id == concurrency_id]
        queue = self.event_queue_per_concurrency_id[concurrency_id]
        waiting = sorted(queue.queue, key=lambda event: event.enqueue_time)
        order = self.order([*map(_client, waiting)], [*map(_client, [*running, *started])])
        queue.queue = [waiting[i] for i in order]


def current_queue() -> ManagedQueue:
    """Return the queue of the page whose handler calls this."""
    blocks = LocalContext.blocks.get(None)
    assert blocks is not None
    assert isinstance(blocks._queue, ManagedQueue)
    return blocks._queue


def client_disconnected() -> bool:
    """Return whether the client whose handler calls this has closed its connection."""
    blocks, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if blocks is None or event_id is None:
        return False
    event = blocks._queue.event_ids_to_events.get(event_id)
    return event is not None and not event.alive


def _client(event: Event) -> Client:
    return Client(event.session_hash, _address(event.request))


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
