"""Who is next in the queue."""

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import Request
from gradio.queueing import Event

from demo.hosting import fair_queue as turns
from tests.support.visits import RISE, Visit


def event(visit: str, address: str) -> Event:
    request = Request({"type": "http", "client": (address, 9)})
    return Event(visit, SimpleNamespace(concurrency_id="long"), request, None)


def test_each_visitors_first_is_before_anybodys_second() -> None:
    running = [event("a", "1")]
    a = [event("a", "1") for _ in range(3)]
    b = [event("b", "2") for _ in range(2)]
    assert turns.in_turn([*a, *b], running) == [b[0], a[0], b[1], a[1], a[2]]
    assert turns.in_turn([*a, *b], []) == [a[0], b[0], a[1], b[1], a[2]]


def test_many_pages_of_one_address_are_not_before_all_others() -> None:
    many = [event(f"page {i}", "1") for i in range(9)]
    other = event("other", "2")
    assert turns.in_turn([*many, other], []).index(other) == 1
    assert turns.in_turn([*many, other], many[:2])[0] == other


def test_who_comes_second_is_next_and_told_so(address: str) -> None:
    first, second = Visit(address), Visit(address)
    for number in range(4):
        first.ask("long", id=number, **RISE | {"example": "palace"})
    with first.listening() as running:
        next(message for message in running if message["msg"] == "process_starts")
        second.ask("long", id=9, **RISE | {"example": "palace"})
        with second.listening() as messages:
            places = [next(messages) for _ in range(2)]
    assert [(place["rank"], place["queue_size"]) for place in places] == [(3, 4), (0, 4)]


@pytest.mark.parametrize("limit", ["MOST", "_MOST_OF_A_VISIT", "_MOST_OF_AN_ADDRESS"])
def test_above_a_limit_it_is_busy(
    address: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, limit, 2)
    visit = Visit(address)

    def asked(number: int) -> Any:
        return visit.ask("long", id=number, **RISE | {"example": "palace"})

    asked(0)
    with visit.listening() as messages:
        next(message for message in messages if message["msg"] == "process_starts")
        asked(1)
        asked(2)
        with pytest.raises(httpx.HTTPStatusError) as refused:
            asked(3)
        visit.ask("stop", stop=0)  # that is done all the same
        next(message for message in messages if message["msg"] == "process_completed")
    assert refused.value.response.status_code == 503
    assert refused.value.response.json()["detail"].startswith("Busy: ")
