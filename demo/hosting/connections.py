"""Closes connections that only wait: uvicorn has no time-out for heads or for slow readers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import FastAPI

from demo.hosting.gradio_internals import Connection, bound_parsing, connections
from demo.hosting.periodic import periodically

with contextlib.suppress(ImportError):  # not on Windows
    import resource

_HEAD_TIMEOUT = 20.0  # seconds
_SEND_TIMEOUT = 60.0  # seconds without the client taking a byte
_INTERVAL = 1.0  # seconds between two checks
_MAX_FILES = 16_384  # open at once, if the system lets us
_FOR_OTHERS = 200  # of them, for files and pipes


@asynccontextmanager
async def close_idle(app: FastAPI) -> AsyncIterator[None]:
    """Watch the connections while the server runs; a Starlette lifespan."""
    limit = _open_files() - _FOR_OTHERS
    since: WeakKeyDictionary[Connection, tuple[Any, float]] = WeakKeyDictionary()

    async def watch() -> None:
        bound_parsing(app)
        _close(connections(app), since, limit)

    async with periodically(watch, _INTERVAL):
        yield


def _close(
    found: list[Connection], since: WeakKeyDictionary[Connection, tuple[Any, float]], limit: int
) -> None:
    """Close what is too slow, and of too many what waits longest.

    Args:
        found: The open connections.
        since: What each waits for, and since when; updated.
        limit: How many there may be.
    """
    now = asyncio.get_running_loop().time()
    waiting = []
    for connection in found:
        state, timeout = _state(connection)
        previous, start = since.get(connection, (None, now))
        if state != previous:
            start = now
        since[connection] = state, start
        if timeout is not None:
            if now - start > timeout:
                connection.transport.abort()
            elif timeout == _HEAD_TIMEOUT:
                waiting.append((start, connection))
    waiting.sort(key=lambda each: each[0])
    for _, connection in waiting[: max(0, len(found) - limit)]:
        connection.transport.abort()


def _state(connection: Connection) -> tuple[Any, float | None]:
    """Return what a connection waits for, and for how long it may; None for ever."""
    request, unsent = connection.cycle, connection.transport.get_write_buffer_size()
    if unsent:
        return ("send", unsent), _SEND_TIMEOUT
    if request is None or request.response_complete or connection.transport.is_closing():
        return ("head", request and id(request)), _HEAD_TIMEOUT
    return "answer", None


def _open_files() -> int:
    """Raise the limit of open files, each connection being one, and return it."""
    if "resource" not in globals():
        return 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    wanted = _MAX_FILES if hard == infinite else min(_MAX_FILES, hard)
    if soft != infinite and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _MAX_FILES if soft == infinite else soft
