"""What one visitor does neither stops the server for others nor fills its memory."""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from io import BytesIO
from itertools import count
from typing import Any

import httpx
import pytest
from PIL import Image

from demo.hosting import cancellation, sessions
from demo.hosting.fair_queue import FairQueue
from demo.hosting.sessions import Mailbox, Mailboxes
from gradcam_core.models.backbone import Backbone
from tests.support import bombs
from tests.support.session import RISE, WAIT, Session

VISITOR = "127.0.0.3"
QUICK = {"task": "classification", "example": "lion"}


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


_numbers = count(2)


@pytest.fixture
def attacker() -> str:
    """An address that no other test uses."""
    return f"127.0.1.{next(_numbers)}"


@cache
def all_mailboxes() -> list[Mailboxes]:
    return [each for each in gc.get_objects() if isinstance(each, Mailboxes)]


def mailboxes_of(source: str) -> dict[str, Mailbox]:
    """What the sessions of an address have not fetched yet, by their names."""
    return {
        n: box for boxes in all_mailboxes() for n, box in boxes.items() if box.address == source
    }


def is_answered(address: str) -> bool:
    """Whether another visitor gets an answer."""
    return "answer" in Session(address, VISITOR).answer("first", id=1, **QUICK)


def waiting(address: str) -> int:
    status = httpx.get(f"{address}gradio_api/queue/status", timeout=WAIT).json()
    return int(status["queue_size"])


class Work:
    """The passes through the network, which wait while it is held."""

    def __init__(self) -> None:
        self.started = 0
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._free = threading.Event()
        self._free.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        with self._lock:
            self.started += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            assert self._free.wait(WAIT)
            yield
        finally:
            with self._lock:
                self._at_once -= 1


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    found, head_inputs = Work(), Backbone.head_inputs

    def watched(self: Backbone, pixels: Any) -> list[Any]:
        with found.one_pass():
            return head_inputs(self, pixels)

    monkeypatch.setattr(Backbone, "head_inputs", watched)
    yield found
    wait_for(lambda: cancellation.running() == 0)


def by_gradios_route(session: Session, request: str) -> None:
    session.cancel("long", request)


def by_leaving(session: Session, request: str) -> None:
    with session.messages() as messages:
        next(messages)


@pytest.mark.parametrize("end", [by_gradios_route, by_leaving])
def test_a_place_is_free_when_the_work_has_ended(
    address: str, attacker: str, work: Work, end: Callable[[Session, str], None]
) -> None:
    with work.held():
        for number in range(4):
            session = Session(address, attacker)
            request = session.send("long", id=number, **RISE | {"target": str(number)})
            if number == 0:
                wait_for(lambda: work.started)
            end(session, request)
        patient = Session(address, VISITOR)
        patient.send("long", id=9, **RISE | {"method": "occlusion", "example": "palace"})
        assert is_answered(address)  # quick requests have places of their own
        assert waiting(address) == 1
        assert (work.started, work.most_at_once) == (1, 1)
    with patient.messages() as messages:
        answers = [each for each in messages if each["msg"] == "process_completed"]
    assert "answer" in answers[0]["output"]["data"][0]
    assert work.most_at_once == 1


def test_who_never_fetches_an_answer_is_cancelled(
    address: str, attacker: str, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PATIENCE", 0.0)
    Session(address, attacker).send("long", id=1, **RISE | {"target": "moped"})
    wait_for(lambda: work.started and cancellation.running() == 0)
    assert work.started < 600
    wait_for(lambda: not mailboxes_of(attacker))


def test_very_many_sessions_leave_others_alone(
    address: str, attacker: str, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS_PER_ADDRESS", 12)
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 20)
    with work.held():
        slow = [Session(address, attacker) for _ in range(4)]
        requests = [
            session.send("long", id=number, **RISE | {"target": str(number)})
            for number, session in enumerate(slow)
        ]
        patient = Session(address, VISITOR)
        patient.send("long", id=9, **RISE | {"method": "occlusion", "example": "palace"})
        many = Session(address, attacker)
        for number in range(40):
            many.name = f"session-{number}"
            many.send("stop", stop=1)
        assert len(mailboxes_of(attacker)) <= 12
        assert {session.name for session in slow} <= set(mailboxes_of(attacker))
        assert is_answered(address)
        for session, request in zip(slow, requests, strict=True):
            session.cancel("long", request)
    with patient.messages() as messages:
        answers = [each for each in messages if each["msg"] == "process_completed"]
    assert "answer" in answers[0]["output"]["data"][0]


def test_an_error_in_the_queue_stops_nobody(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = []
    may_start = FairQueue.may_start

    def failing(self: FairQueue, *arguments: Any) -> bool:
        if len(failures) < 3:
            failures.append(arguments)
            raise KeyError("a session")
        return may_start(self, *arguments)

    monkeypatch.setattr(FairQueue, "may_start", failing)
    with caplog.at_level(logging.ERROR):
        assert is_answered(address)
    assert len(failures) == 3
    assert [record.exc_info is not None for record in caplog.records] == [True] * 3


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "x" * 60_000, "a<gradio-sep>b", "a b", "ä", "a/b", "\n", "a\0"]
)
def test_odd_names_of_sessions_are_refused(address: str, attacker: str, name: str) -> None:
    session = Session(address, attacker)
    session.name = name
    for event, payload in (("stop", {"stop": 1}), ("first", {"id": 1, **QUICK})):
        with pytest.raises(httpx.HTTPStatusError) as refused:
            session.send(event, **payload)
        assert 400 <= refused.value.response.status_code < 500
    assert name not in mailboxes_of(attacker)
    assert is_answered(address)


def test_answers_that_nobody_fetches_are_bounded(
    address: str, attacker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_BYTES", 1_000_000)
    pages = [Session(address, attacker) for _ in range(3)]
    kept = Session(address, VISITOR)  # small, and not fetched either
    kept.send("first", id=1, **QUICK)
    sizes = []
    for number in range(24):
        page = pages[number % len(pages)]
        page.send("first", id=number, **QUICK, new_picture=True)
        wait_for(lambda: waiting(address) == 0)
        sizes.append(sum(box.size for box in mailboxes_of(attacker).values()))
    wait_for(lambda: cancellation.running() == 0)
    assert 200_000 < max(sizes) <= 1_000_000
    with kept.messages() as messages:
        assert "process_completed" in [each["msg"] for each in messages]


def test_a_session_has_to_fetch_its_answers_before_it_asks_on(address: str, attacker: str) -> None:
    session = Session(address, attacker)
    statuses = set()
    for _ in range(30):
        try:
            session.send("stop", stop=1)
        except httpx.HTTPStatusError as error:
            statuses.add(error.response.status_code)
        wait_for(lambda: waiting(address) == 0)
    assert statuses == {503}
    with session.messages() as messages:
        assert len([each for each in messages if each["msg"] == "process_completed"]) < 50
    assert "answer" in session.answer("first", id=1, **QUICK)


def test_few_connections_listen_to_a_session(address: str, attacker: str) -> None:
    session = Session(address, attacker)
    with ExitStack() as streams:
        request = session.send("long", id=1, **RISE)
        for _ in range(4):
            next(streams.enter_context(session.messages()), None)
        box = mailboxes_of(attacker)[session.name]
        wait_for(lambda: box.readers == 4)
        urls = (f"queue/data?session_hash={session.name}", f"call/x/{request}")
        answers = [session.client.get(f"gradio_api/{url}") for url in urls]
        assert [answer.headers["x-refused"] for answer in answers] == ["listeners"] * 2
    wait_for(lambda: cancellation.running() == 0)


def test_progress_that_nobody_makes_is_not_remembered(address: str) -> None:
    from gradio import routes

    def kept() -> int:
        return sum(
            len(vars(routes.file_upload_statuses)[name])
            for name in vars(routes.file_upload_statuses)
        )

    url = f"{address}gradio_api/upload_progress"
    for number in range(5):
        assert httpx.get(url, params={"upload_id": f"x{number}"}).status_code == 404
        files = {"files": ("a.jpg", b"x")}
        httpx.post(f"{address}gradio_api/upload?upload_id=y{number}", files=files)
    assert kept() == 0


def photo(number: int = 0) -> bytes:
    buffer = BytesIO()
    Image.effect_noise((60, 40 + number), 50).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def test_hard_photos_of_one_visitor_do_not_delay_anothers(address: str, attacker: str) -> None:
    hard = bombs.jpeg_scans()
    visitor, sender = Session(address, VISITOR), Session(address, attacker)
    paths = [sender.upload(hard + bytes([number])) for number in range(12)]
    easy = [visitor.upload(photo(number)) for number in range(3)]
    with ExitStack() as pages:
        for number, path in enumerate(paths):
            page = Session(address, attacker)
            page.send("first", id=number, task="classification", upload=path, new_picture=True)
            pages.enter_context(page.messages())
        for number, path in enumerate(easy):
            answer = visitor.answer("first", id=number, task="classification", upload=path)
            assert "answer" in answer
        assert waiting(address) + cancellation.running() > 8
    wait_for(lambda: cancellation.running() == 0)  # who leaves costs nothing more
