"""The order of the queue, and its limits."""

from typing import Any

import httpx
import pytest

from demo.hosting import fair_queue
from demo.hosting.fair_queue import fair_order
from demo.hosting.gradio_internals import Client
from demo.hosting.settings import Settings
from tests.support.session import RISE, Session

A, B = Client("a", "1"), Client("b", "2")


def test_each_sessions_first_request_comes_before_any_sessions_second() -> None:
    waiting = [A, A, A, B, B]
    assert fair_order(waiting, running=[A]) == [3, 0, 4, 1, 2]
    assert fair_order(waiting, running=[]) == [0, 3, 1, 4, 2]


def test_many_pages_of_one_address_do_not_come_before_all_others() -> None:
    many = [Client(f"page {i}", "1") for i in range(9)]
    other = Client("other", "2")
    assert fair_order([*many, other], running=[]).index(9) == 1
    assert fair_order([*many, other], running=many[:2])[0] == 9


def test_a_second_session_is_next_and_sees_its_rank(address: str) -> None:
    first, second = Session(address), Session(address)
    for number in range(4):
        first.send("long", id=number, **RISE | {"example": "palace"})
    with first.messages() as running:
        next(message for message in running if message["msg"] == "process_starts")
        second.send("long", id=9, **RISE | {"example": "palace"})
        with second.messages() as messages:
            ranks = [next(messages) for _ in range(2)]
    assert [(each["rank"], each["queue_size"]) for each in ranks] == [(3, 4), (0, 4)]


@pytest.mark.parametrize(
    "limit", ["GRADCAM_QUEUE", "GRADCAM_QUEUE_PER_PAGE", "GRADCAM_QUEUE_PER_ADDRESS"]
)
def test_requests_over_a_limit_are_refused(
    address: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_queue, "settings", lambda: Settings(**{limit: 2}))
    session = Session(address)

    def ask(number: int) -> Any:
        return session.send("long", id=number, **RISE | {"example": "palace"})

    ask(0)
    with session.messages() as messages:
        next(message for message in messages if message["msg"] == "process_starts")
        ask(1)
        ask(2)
        with pytest.raises(httpx.HTTPStatusError) as refused:
            ask(3)
        session.send("stop", stop=0)  # cancelling works all the same
        next(message for message in messages if message["msg"] == "process_completed")
    assert refused.value.response.status_code == 503
