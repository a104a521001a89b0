"""What sessions have not fetched yet: bounded in sessions, messages, bytes and time.

A session is an open page, or one call of an API client. Its messages wait in a mailbox until the
client reads them.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Collection
from typing import Any

MAX_SESSIONS = 2000
MAX_SESSIONS_PER_ADDRESS = 200
MAX_ANSWERS = 16  # of a session that are not fetched; it has to fetch them before it asks again
MAX_BYTES = 64 * 2**20  # of all messages that are not fetched
PATIENCE = 120.0  # seconds until a session that nobody listens to is closed

# Further messages of a session are dropped: first progress and ranks, then all.
_MAX_NOTICES = 64
_MAX_MESSAGES = 256


class Mailbox(asyncio.Queue[Any]):
    """The messages of a session.

    Attributes:
        address: Of the client.
        readers: How many connections wait for a message.
        left: When the last one stopped waiting, as of `time.monotonic`.
        answers: How many of the messages are answers.
        size: Of the messages in bytes, about.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.readers = 0
        self.left = time.monotonic()
        self.answers = 0
        self.size = 0
        self._sizes: deque[int] = deque()

    async def get(self) -> Any:
        self.readers += 1
        try:
            return await super().get()
        finally:
            self.readers -= 1
            self.left = time.monotonic()

    def put_nowait(self, item: Any) -> None:
        """Add a message, unless there are too many."""
        if self.qsize() < (_MAX_MESSAGES if _is_answer(item) else _MAX_NOTICES):
            super().put_nowait(item)

    def is_idle(self) -> bool:
        """Return whether nobody reads the messages at the moment."""
        return not self.readers

    def _put(self, item: Any) -> None:
        self._sizes.append(_size(vars(item)))
        self.size += self._sizes[-1]
        self.answers += _is_answer(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.size -= self._sizes.popleft()
        self.answers -= _is_answer(item)
        return item


class Mailboxes(dict[str, Mailbox]):
    """The mailboxes of all sessions, by the session's name."""

    def __delitem__(self, session: str) -> None:
        """Forget a session, if it is known."""
        self.pop(session, None)

    def to_close(self, address: str, busy: Collection[str]) -> str | None:
        """Return the session to close before an address opens another one; None if none must be.

        It is the one left longest of those nobody listens to: of the same address if that has too
        many, else of the address that has most.

        Args:
            address: Of the new session.
            busy: The sessions with requests that wait or run: they are not closed.

        Raises:
            LookupError: All are in use.
        """
        counts = Counter(box.address for box in self.values())
        if counts[address] < MAX_SESSIONS_PER_ADDRESS:
            if len(self) < MAX_SESSIONS:
                return None
            ((address, _),) = counts.most_common(1)
        unused = [
            session
            for session, box in self.items()
            if box.address == address and box.is_idle() and session not in busy
        ]
        if not unused:
            raise LookupError
        return min(unused, key=lambda session: self[session].left)

    def abandoned(self) -> list[str]:
        """Return the sessions that nobody has listened to for `PATIENCE`."""
        end = time.monotonic() - PATIENCE
        return [session for session, box in self.items() if box.is_idle() and box.left < end]

    def over_limit(self) -> list[str]:
        """Return the sessions to close, so that all messages together keep within `MAX_BYTES`.

        The address with the most bytes loses its oldest ones.
        """
        sizes: Counter[str] = Counter()
        for box in self.values():
            sizes[box.address] += box.size
        closed: list[str] = []
        while sizes.total() > MAX_BYTES:
            ((address, _),) = sizes.most_common(1)
            unread = [
                session
                for session, box in self.items()
                if box.address == address and box.size and box.is_idle() and session not in closed
            ]
            if not unread:  # all are being read
                break
            closed.append(min(unread, key=lambda session: self[session].left))
            sizes[address] -= self[closed[-1]].size
        return closed


def _is_answer(message: Any) -> bool:
    return message.msg == "process_completed"


def _size(value: Any) -> int:
    """Return about how many bytes a message takes."""
    if isinstance(value, str | bytes):
        return 50 + len(value)
    if isinstance(value, dict):
        return 50 + sum(_size(key) + _size(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return 50 + sum(map(_size, value))
    return 30
