"""What is done again and again while the server runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

_log = logging.getLogger(__name__)


@asynccontextmanager
async def periodically(work: Callable[[], Awaitable[None]], seconds: float) -> AsyncIterator[None]:
    """Do some work at once and every so many seconds, also after it has failed."""

    async def loop() -> None:
        while True:
            try:
                await work()
            except Exception:
                _log.exception("Periodic work failed; it is tried again.")
            await asyncio.sleep(seconds)

    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        task.cancel()
