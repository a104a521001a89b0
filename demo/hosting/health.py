"""For operators: GET /health says whether the server works, GET /metrics how it is used."""

import asyncio
import logging
import time
from weakref import WeakKeyDictionary

import gradio as gr
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo.compute.base import Compute
from demo.hosting import logs, metrics, routes
from demo.hosting.disk_quota import quota
from demo.hosting.gradio_internals import QueueState, blocks_of, queue_state
from demo.hosting.settings import settings

KEPT = 10.0  # seconds; who asks more often gets the same answer
_TIMEOUT = 30.0  # seconds for explaining a small picture

_log = logging.getLogger(__name__)

Problems = dict[str, str | None]


class _Health:
    """Checks the server, at most every `KEPT` seconds."""

    def __init__(self, compute: Compute) -> None:
        self.compute = compute
        self._checked: asyncio.Task[Problems] | None = None
        self._since = 0.0

    async def problems(self, queue: QueueState) -> Problems:
        """Return what is wrong with each part, None if nothing is."""
        now = time.monotonic()
        if self._checked is None or (self._checked.done() and now - self._since > KEPT):
            self._since = now
            self._checked = asyncio.create_task(self._check(queue))
        return await asyncio.shield(self._checked)

    async def _check(self, queue: QueueState) -> Problems:
        disk = await asyncio.to_thread(quota.problem)
        compute, full = await self._explains(), queue.waiting >= settings().max_waiting
        problems = {
            "compute": compute,
            "disk": disk,
            "queue": "The queue is full." if full else None,
        }
        if any(problems.values()):
            found = {name: problem for name, problem in problems.items() if problem}
            logs.write(_log, logging.ERROR, "The server is not healthy.", **found)
        return problems

    async def _explains(self) -> str | None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                await asyncio.to_thread(self.compute.check)
        except TimeoutError:
            return f"A small picture was not explained in {_TIMEOUT:g} seconds."
        except Exception as error:
            _log.exception("A small picture cannot be explained.")
            return f"A small picture cannot be explained: {type(error).__name__}."
        return None


_watched: WeakKeyDictionary[gr.Blocks, _Health] = WeakKeyDictionary()


def watch(demo: gr.Blocks, compute: Compute) -> None:
    """Let the routes of a demo tell how it is."""
    _watched[demo] = _Health(compute)


async def _health(request: Request) -> Response:
    problems = await _watched[blocks_of(request.app)].problems(queue_state(request.app))
    healthy = not any(problems.values())
    answer = {"status": "ok" if healthy else "failing"}
    answer |= {name: problem or "ok" for name, problem in problems.items()}
    return JSONResponse(answer, 200 if healthy else 503, {"cache-control": "no-store"})


async def _metrics(request: Request) -> Response:
    queue, compute = queue_state(request.app), _watched[blocks_of(request.app)].compute
    used, limit, free = await asyncio.to_thread(quota.usage)
    values = {
        "queue_waiting": queue.waiting,
        "queue_running": queue.running,
        "queue_restarts": queue.restarts,
        "sessions": queue.sessions,
        "uploads_bytes": used,
        "uploads_limit_bytes": limit,
        "disk_free_bytes": free,
    }
    text = metrics.exposition(values, compute.cache_lookups())
    return Response(text, media_type=CONTENT_TYPE_LATEST)


ROUTES = [Route(routes.HEALTH, _health), Route(routes.METRICS, _metrics)]
"""For `app_kwargs` of `launch`; `demo.hosting.request_filter` lets operators only pass."""
