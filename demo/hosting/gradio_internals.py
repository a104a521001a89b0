"""Everything the demo uses of Gradio that Gradio does not document.

Any release may rename or drop these parts. All other modules import them from here, and
`tests/demo/hosting/test_gradio_internals.py` names the one that is missing. Written for 6.31.
"""

import asyncio
import inspect
import ipaddress
import logging
import random
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import gradio as gr
import gradio.routes
from fastapi import FastAPI, Request
from gradio.block_function import BlockFunction
from gradio.context import LocalContext
from gradio.data_classes import ImageData, PredictBodyInternal
from gradio.queueing import Event, Queue
from gradio.routes import App
from gradio.server_messages import EventMessage, ProcessCompletedMessage, UnexpectedErrorMessage
from gradio.state_holder import SessionState, StateHolder
from gradio.utils import get_upload_folder
from pydantic import model_validator
from uvicorn.protocols.http.h11_impl import H11Protocol

from demo.hosting import logs, metrics, shutdown
from demo.hosting.sessions import MAX_ANSWERS, Mailbox, Mailboxes

_log = logging.getLogger(__name__)

_TIDYING = 5.0  # seconds between two looks for abandoned sessions
_PAUSE = 0.5  # seconds until a loop that failed is started again
_POLL = 0.1  # seconds between two looks whether a server that stops has finished
_FETCHED = 3.0  # seconds for a client to ask for the files of its answer
_LISTENING = 5.0  # seconds without a listener after which nobody is expected to fetch an answer
_PARSED_AT_ONCE = 16 * 1024  # bytes of a connection


def upload_folder() -> Path:
    """Return the folder of uploads and results: there is no public way to ask where it is."""
    return Path(get_upload_folder())


def forget_deleted_files(app: FastAPI) -> None:
    """Drop deleted files from Gradio's lists: it remembers every upload until it stops."""
    assert isinstance(app, App)
    for files in app.get_blocks().temp_file_sets:
        files -= {file for file in files if not Path(file).exists()}


class _Stateless(SessionState):
    """The state of all sessions: nothing, since the page has no `gr.State`.

    Gradio keeps each session's last answers, which nothing reads again, and takes 40 ms of the
    event loop to set up a session.
    """

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


class _StatelessHolder(StateHolder):
    def __init__(self, blocks: gr.Blocks) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.set_blocks(blocks)
        self._state = _Stateless(blocks)

    def __getitem__(self, session_id: str) -> SessionState:
        return self._state


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


# What `request_filter` has to know about the app that it guards.

Endpoints = Mapping[int | str, Sequence[bool]]
"""The endpoints by number and by name, each with which of its inputs take a file."""


def endpoints(app: FastAPI) -> Endpoints:
    """Return what clients can call; parts of the page that run in the browser only are not."""
    assert isinstance(app, App)
    functions = [each for each in app.get_blocks().fns.values() if each.fn is not None]
    return {
        key: [isinstance(component, UnfetchedImage) for component in each.inputs]
        for each in functions
        for key in (each._id, each.api_name)
        if key is not None and key is not False
    }


def named_endpoints(app: FastAPI) -> dict[str, Any]:
    """Return what Gradio's API page says of each endpoint, by the endpoint's path."""
    assert isinstance(app, App)
    named: dict[str, Any] = app.get_blocks().get_api_info()["named_endpoints"]
    return named


async def is_logged_in(app: FastAPI, request: Request) -> bool:
    """Return whether Gradio would answer: always, unless `launch` was given `auth`."""
    assert isinstance(app, App)
    if app.auth_dependency is not None:
        user = app.auth_dependency(request)
        return (await user if inspect.isawaitable(user) else user) is not None
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return app.auth is None or any(request.cookies.get(name) in app.tokens for name in names)


def blocks_of(app: FastAPI) -> gr.Blocks:
    """Return the page that an app serves."""
    assert isinstance(app, App)
    return app.get_blocks()


def session_of(app: FastAPI, event: str) -> str | None:
    """Return the session of a request whose answer is under way, or was not fetched yet."""
    assert isinstance(app, App)
    queue = app.get_blocks()._queue
    if (found := queue.event_ids_to_events.get(event)) is not None:
        return found.session_hash
    sessions = queue.pending_event_ids_session.items()
    return next((session for session, events in sessions if event in events), None)


def listeners(app: FastAPI, session: str | None) -> int | None:
    """Return how many connections listen to a session; None if there is no such session."""
    assert isinstance(app, App)
    queue = app.get_blocks()._queue
    assert isinstance(queue, ManagedQueue)
    box = queue.mailboxes.get(session or "")
    return None if box is None else box.readers


SESSION_NOT_FOUND = UnexpectedErrorMessage(
    message="Session not found.", session_not_found=True
).model_dump_json()
"""What Gradio's own clients understand."""


class Connection(Protocol):
    """A client's connection to uvicorn; `cycle` is its last request."""

    transport: asyncio.Transport
    cycle: Any


def connections(app: FastAPI) -> list[Connection]:
    """Return the open connections; none if it is not `launch` that serves the app."""
    assert isinstance(app, App)
    server = getattr(app.get_blocks(), "server", None)
    found = [] if server is None else server.server_state.connections
    return [connection for connection in found if hasattr(connection, "cycle")]


class _Protocol(H11Protocol):
    """Parses little at a time: of many short chunks, a read of uvicorn's takes a second."""

    _unparsed = b""
    _scheduled = False

    def data_received(self, data: bytes) -> None:
        self._unparsed += data
        if not self._scheduled:
            self._parse()
        if self._unparsed:
            self.transport.pause_reading()

    def send_400_response(self, msg: str) -> None:
        if self.cycle is None:
            super().send_400_response(msg)
        else:  # what is malformed follows a request that is being answered
            self.transport.close()

    def _parse(self) -> None:
        part, self._unparsed = self._unparsed[:_PARSED_AT_ONCE], self._unparsed[_PARSED_AT_ONCE:]
        self._scheduled = False
        if self.transport.is_closing():
            self._unparsed = b""
            return
        super().data_received(part)
        if self._unparsed:
            self._scheduled = True
            self.loop.call_soon(self._parse)
        elif not self.flow.read_paused:
            self.transport.resume_reading()


def bound_parsing(app: FastAPI) -> None:
    """Serve new connections by h11, which bounds heads; httptools keeps those of any size.

    None becomes a WebSocket: the page has none, and those connections are of another kind.
    """
    assert isinstance(app, App)
    server = getattr(app.get_blocks(), "server", None)
    if server is not None:
        server.config.http_protocol_class = _Protocol
        server.config.ws_protocol_class = None


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


# The queue: Gradio's is first come, first served, has one limit for everybody together, keeps what
# nobody fetches, frees a place when a request is cancelled though its thread still computes, and
# stops for good at the first error.


class Client(NamedTuple):
    """Who sent a request.

    Attributes:
        session: Gradio's name of the open page (`gr.Request.session_hash`) or API client.
        address: The IP address; "" if unknown.
    """

    session: str | None
    address: str


class ManagedQueue(Queue, ABC):
    """Gradio's queue with a policy: which requests are refused, and which is next.

    Attributes:
        mailboxes: What each session has not fetched yet.
        restarts: How often a loop of the queue has failed and was started again.
    """

    def __init__(self, demo: gr.Blocks, concurrency_limit: int) -> None:
        """Create the queue, see `install`.

        Args:
            demo: The page.
            concurrency_limit: How many requests of an event run at once, unless it says otherwise.
        """
        self._closed = False
        super().__init__(
            live_updates=True,
            concurrency_count=demo.max_threads,
            update_intervals=1,
            max_size=None,  # `refusal` decides
            blocks=demo,
            default_concurrency_limit=concurrency_limit,
        )
        self.mailboxes = Mailboxes()
        self.pending_messages_per_session = self.mailboxes  # type: ignore[assignment]
        self.pending_event_ids_session = _EventIds()
        self.restarts = 0
        self._tasks: set[asyncio.Future[Any]] = set()  # else they could be collected as garbage

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

    @abstractmethod
    def may_start(self, client: Client, running: Sequence[Client], limit: int) -> bool:
        """Return whether a client's request may run now.

        Args:
            client: Who sent it.
            running: The clients of those that run already, with the same limit.
            limit: How many may run at once.
        """

    @property
    def stopped(self) -> bool:
        """Whether the server stops; Gradio's loop also says so when it fails."""
        return self._closed

    @stopped.setter
    def stopped(self, value: bool) -> None:
        pass

    def start(self) -> None:
        """Start the queue's loops, each with a watchdog."""
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self.active_jobs = [None] * self.max_thread_count
        for loop in (self.start_processing, self.start_progress_updates, self._tidy):
            self._run(self._keep_running(loop))

    def close(self) -> None:
        """Take no more requests, and end the loops."""
        self._closed = True

    def set_server_app(self, app: App) -> None:
        """Serve an app, which then keeps no state of sessions."""
        super().set_server_app(app)
        app.state_holder = _StatelessHolder(self.blocks)

    async def push(
        self, body: PredictBodyInternal, request: Request, username: str | None
    ) -> tuple[
        bool,
        str | list[dict[str, Any]],
        Literal["success", "error", "queue_full", "validator_error"],
    ]:
        """Add a request, or refuse it."""
        if body.session_hash is None:
            body.session_hash = uuid.uuid4().hex
        session = body.session_hash
        client = Client(session, address_of(request))
        refusal = self._refusal(client, body.fn_index) or self._open(client)
        if refusal is not None:
            metrics.refused.labels("queue").inc()
            logs.write(_log, logging.WARNING, "Refused.", why=refusal, address=client.address)
            return False, refusal, "queue_full"
        result = await super().push(body, request, username)
        for concurrency_id in self.event_queue_per_concurrency_id:
            self._reorder(concurrency_id)
            self.broadcast_estimations(concurrency_id)
        return result

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """Take the next request out of the queue, and reorder the rest."""
        for concurrency_id in random.sample(
            [*self.event_queue_per_concurrency_id], len(self.event_queue_per_concurrency_id)
        ):
            queue = self.event_queue_per_concurrency_id[concurrency_id]
            limit = queue.concurrency_limit
            if limit is not None and queue.current_concurrency >= limit:
                continue
            running = [*map(_client, self._running(concurrency_id))]
            for event in queue.queue:
                if limit is None or self.may_start(_client(event), running, limit):
                    queue.queue.remove(event)
                    self._reorder(concurrency_id, [event])
                    return [event], False, concurrency_id
        return None

    async def process_events(
        self, events: list[Event], batch: bool, begin_time: float, fn: BlockFunction
    ) -> None:
        """Run a request. If this is cancelled its place is taken until its thread has ended."""
        work = self._run(super().process_events(events, batch, begin_time, fn))
        start = time.monotonic()
        if events[0].enqueue_time:
            metrics.wait_seconds.observe(max(0.0, time.time() - events[0].enqueue_time))
        work.add_done_callback(
            lambda _: metrics.answer_seconds.labels(str(fn.api_name)).observe(
                time.monotonic() - start
            )
        )
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            for event in events:
                event.alive = False  # see `client_disconnected`
            raise

    def send_message(self, event: Event, event_message: EventMessage) -> None:
        """Put a message into the mailbox of a session, unless that is closed."""
        if isinstance(event_message, ProcessCompletedMessage) and not event_message.success:
            metrics.failed.labels("endpoint").inc()
            facts = {"code": "endpoint", "why": event_message.output.get("error")}
            facts |= {"event": str(event.fn.api_name), "address": address_of(event.request)}
            logs.write(_log, logging.WARNING, "Failed.", **facts)
        if event.session_hash in self.mailboxes:
            super().send_message(event, event_message)
            if isinstance(event_message, ProcessCompletedMessage):
                for session in self.mailboxes.over_limit():
                    self._close_session(session)

    async def clean_events(
        self, *, session_hash: str | None = None, event_id: str | None = None
    ) -> None:
        """Forget a session whose client has left, or cancel a single request."""
        await super().clean_events(session_hash=session_hash, event_id=event_id)
        if session_hash is not None:
            self._close_session(session_hash)

    def finish(self) -> None:
        """Finish what runs, and refuse what waits; call it from another thread than the loop's."""
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result()

    async def _finish(self) -> None:
        for event in self._waiting():
            self._remove(event)
            output = {"error": shutdown.STOPPING}
            self.send_message(event, ProcessCompletedMessage(output=output, success=False))
        await self._until_idle(shutdown.FINISHING)
        shutdown.ending.set()
        await self._until_idle(shutdown.CANCELLING)

    async def _until_idle(self, seconds: float) -> None:
        """Wait until nothing has run, and all has been fetched, for a moment."""
        loop = asyncio.get_running_loop()
        end, idle_since = loop.time() + seconds, loop.time()
        while loop.time() < min(end, idle_since + _FETCHED):
            await asyncio.sleep(_POLL)
            unread = any(map(_unread, self.mailboxes.values()))
            if self._running() or shutdown.open_requests or unread:
                idle_since = loop.time()

    def _remove(self, event: Event) -> None:
        """Take a request that waits out of the queue."""
        self.event_queue_per_concurrency_id[event.concurrency_id].queue.remove(event)
        self.event_ids_to_events.pop(event._id, None)

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
                self._remove(event)
                output = {"data": [answer, *[None] * (len(event.fn.outputs) - 1)]}
                self.send_message(event, ProcessCompletedMessage(output=output, success=True))

    def _refusal(self, client: Client, fn_index: int | None) -> str | None:
        box = self.mailboxes.get(client.session or "")
        if box is not None and box.answers >= MAX_ANSWERS:
            return f"Busy: {box.answers} of your answers have not been fetched yet."
        function = self.blocks.fns.get(-1 if fn_index is None else fn_index)
        if function is None or function.concurrency_limit is not None:
            return self.refusal(client)
        queue = self.event_queue_per_concurrency_id.get(function.concurrency_id)
        # It never waits, unless very many are sent at once.
        full = queue is not None and len(queue.queue) >= self.max_thread_count
        return "Busy: too many requests at once." if full else None

    def _open(self, client: Client) -> str | None:
        """Give a client's session a mailbox; return why there is none left."""
        session = client.session or ""
        if session not in self.mailboxes:
            events = [*self._waiting(), *self._running()]
            try:
                oldest = self.mailboxes.to_close(
                    client.address, {event.session_hash for event in events if event.alive}
                )
            except LookupError:
                return "Busy: too many pages are open. Please try again soon."
            if oldest is not None:
                self._close_session(oldest)
            self.mailboxes[session] = Mailbox(client.address)
        return None

    def _close_session(self, session: str) -> None:
        """Forget a session: drop its requests that wait, and cancel those that run."""
        del self.mailboxes[session]
        self.pending_event_ids_session.pop(session, None)
        for event in self._running():
            if event.session_hash == session:
                event.alive = False
        for event in self._waiting():
            if event.session_hash == session:
                self._remove(event)

    async def _tidy(self) -> None:
        """Close sessions that nobody listens to."""
        while not self._closed:
            await asyncio.sleep(_TIDYING)
            for session in self.mailboxes.abandoned():
                self._close_session(session)

    async def _keep_running(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop of the queue, again if it fails."""
        while not self._closed:
            task = self._run(loop())
            await asyncio.wait([task])
            if not self._closed:
                self.restarts += 1
                error = None if task.cancelled() else task.exception()
                _log.error("A loop of the queue ended; it is started again.", exc_info=error)
                await asyncio.sleep(_PAUSE)

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _cancel_asyncio_tasks(self) -> None:
        """Cancel running requests when the server stops, and not when Gradio's loop fails."""
        if self._closed:
            super()._cancel_asyncio_tasks()  # type: ignore[no-untyped-call]

    def _running(self, concurrency_id: str | None = None) -> list[Event]:
        """Return the requests that run, of one queue or all."""
        events = [event for job in self.active_jobs if job for event in job]
        return [event for event in events if concurrency_id in (None, event.concurrency_id)]

    def _waiting(self) -> list[Event]:
        queues = self.event_queue_per_concurrency_id.values()
        return [event for queue in queues for event in queue.queue]

    def _reorder(self, concurrency_id: str, started: Sequence[Event] = ()) -> None:
        running = self._running(concurrency_id)
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
    """Return whether the client whose handler calls this no longer waits for its answer."""
    event = _current_event()
    return event is not None and not event.alive


def current_address() -> str | None:
    """Return the address of the client whose handler calls this, as in `Client`."""
    event = _current_event()
    return None if event is None else address_of(event.request)


class QueueState(NamedTuple):
    """How full the queue is, and how often a loop of it has failed."""

    waiting: int
    running: int
    restarts: int
    sessions: int


def queue_state(app: FastAPI) -> QueueState:
    """Return the state of the queue of an app."""
    assert isinstance(app, App)
    queue = app.get_blocks()._queue
    assert isinstance(queue, ManagedQueue)
    return QueueState(
        len(queue._waiting()), len(queue._running()), queue.restarts, len(queue.mailboxes)
    )


def finish(demo: gr.Blocks) -> None:
    """Finish the answers of a server that stops, see `demo.hosting.shutdown`."""
    assert isinstance(demo._queue, ManagedQueue)
    demo._queue.finish()


def _unread(box: Mailbox) -> bool:
    """Return whether a client may be about to fetch an answer."""
    return bool(box.answers) and time.monotonic() - box.left < _LISTENING


def _current_event() -> Event | None:
    blocks, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if blocks is None or event_id is None:
        return None
    return blocks._queue.event_ids_to_events.get(event_id)


def _client(event: Event) -> Client:
    return Client(event.session_hash, address_of(event.request))


def address_of(request: Request) -> str:
    """Return a client's address, or the network of an IPv6 address: a visitor has all of that."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
        address = address.ipv4_mapped
    return str(address)


class _EventIds(dict[str, set[str]]):
    """The ids of requests by session; Gradio asks for sessions that are closed already, too."""

    def __missing__(self, session: str) -> set[str]:
        return set()
