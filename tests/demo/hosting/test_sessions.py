"""Which sessions are closed, and when."""

import asyncio

import pytest
from gradio.server_messages import HeartbeatMessage, ProcessCompletedMessage
from hypothesis import given
from hypothesis import strategies as st

from demo.hosting import sessions
from demo.hosting.sessions import Mailbox, Mailboxes


def answer(size: int = 100) -> ProcessCompletedMessage:
    return ProcessCompletedMessage(output={"data": ["x" * size]}, success=True)


def opened(*addresses: str) -> Mailboxes:
    """Sessions named by their numbers, opened one after the other."""
    boxes = Mailboxes()
    for number, address in enumerate(addresses):
        boxes[str(number)] = Mailbox(address)
        boxes[str(number)].left = number
    return boxes


def test_an_address_with_too_many_sessions_loses_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS_PER_ADDRESS", 3)
    boxes = opened("other", "many", "many", "many")
    assert boxes.to_close("other", busy=()) is None
    assert boxes.to_close("many", busy=()) == "1"
    assert boxes.to_close("many", busy=("1",)) == "2"
    boxes["2"].readers = 1
    assert boxes.to_close("many", busy=("1",)) == "3"
    with pytest.raises(LookupError):
        boxes.to_close("many", busy=("1", "3"))


def test_if_there_are_too_many_the_address_with_most_loses_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 4)
    boxes = opened("one", "many", "many", "many")
    assert boxes.to_close("new", busy=()) == "1"


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2000), st.booleans()), max_size=30),
    st.integers(0, 10_000),
)
def test_all_that_is_unread_keeps_within_the_limit(
    unread: list[tuple[str, int, bool]], limit: int
) -> None:
    boxes = opened(*(address for address, _, _ in unread))
    for (_, size, read), box in zip(unread, boxes.values(), strict=True):
        box.put_nowait(answer(size))
        box.readers = int(read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "MAX_BYTES", limit)
        closed = boxes.over_limit()
    assert len(set(closed)) == len(closed)
    assert not any(boxes[session].readers for session in closed)
    left = {name: box for name, box in boxes.items() if name not in closed}
    if not any(box.readers for box in left.values()):
        assert sum(box.size for box in left.values()) <= limit
    total = sum(box.size for box in boxes.values())
    assert bool(closed) <= (total > limit)


def test_a_mailbox_knows_its_size_and_drops_progress_first() -> None:
    async def read() -> list[str]:
        box = Mailbox("a")
        for _ in range(500):
            box.put_nowait(HeartbeatMessage())
        box.put_nowait(answer(10_000))
        assert box.answers == 1
        assert 10_000 < box.size < 40_000
        found = [(await box.get()).msg.value for _ in range(box.qsize())]
        assert (box.answers, box.size) == (0, 0)
        for _ in range(500):
            box.put_nowait(answer())
        assert box.qsize() < 300
        return found

    found = asyncio.run(read())
    assert found[-1] == "process_completed"
    assert len(found) < 100


def test_a_session_is_abandoned_when_nobody_has_listened_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def listen() -> None:
        boxes = Mailboxes(new=Mailbox("a"), old=Mailbox("a"), read=Mailbox("a"))
        boxes["old"].left -= 1000
        boxes["read"].left -= 1000
        reader = asyncio.create_task(boxes["read"].get())
        await asyncio.sleep(0)
        assert boxes.abandoned() == ["old"]
        reader.cancel()
        await asyncio.wait([reader])
        monkeypatch.setattr(sessions, "PATIENCE", -1)
        assert {*boxes.abandoned()} == {"new", "old", "read"}

    asyncio.run(listen())
