"""Who is next in the queue: visitors take turns, and nobody can fill it alone."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

from fastapi import Request
from gradio.blocks import Blocks
from gradio.context import LocalContext
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event, Queue
from gradio.server_messages import ProcessCompletedMessage

MOST = 64  # requests that wait
_MOST_OF_A_VISIT = 16
_MOST_OF_AN_ADDRESS = MOST // 2
AT_ONCE = 4

_Refusal = Literal["success", "error", "queue_full", "validator_error"]


class Turns(Queue):
    """Gradio's queue, but not first come, first served."""

    def __init__(self, demo: Blocks, at_once: int) -> None:
        """Take the place of a page's own queue; so many requests are answered at a time."""
        super().__init__(
            live_updates=True,
            concurrency_count=demo.max_threads,
            update_intervals=1,
            max_size=None,  # `push` knows better
            blocks=demo,
            default_concurrency_limit=at_once,
        )

    async def push(
        self, body: PredictBodyInternal, request: Request, username: str | None
    ) -> tuple[bool, str | list[dict[str, Any]], _Refusal]:
        """Let a request wait for its turn, unless too many do."""
        refused = self._refusal(body, request)
        if refused:
            return False, refused, "queue_full"
        done = await super().push(body, request, username)
        for kind, queue in self.event_queue_per_concurrency_id.items():
            queue.queue = in_turn(queue.queue, self._running(kind))
            self.broadcast_estimations(kind)
        return done

    def _refusal(self, body: PredictBodyInternal, request: Request) -> str:
        """Say that too many wait; "" if there are not too many."""
        fn = self.blocks.fns.get(-1 if body.fn_index is None else body.fn_index)
        if fn is None or fn.concurrency_limit is None:  # it waits for nobody
            return ""
        waiting = self.waiting()
        of_visit = sum(event.session_hash == body.session_hash for event in waiting)
        of_address = sum(_address(event.request) == _address(request) for event in waiting)
        if of_visit >= _MOST_OF_A_VISIT or of_address >= _MOST_OF_AN_ADDRESS:
            return f"Busy: {of_address} requests of yours wait already."
        return f"Busy: {MOST} requests wait. Please try again soon." if len(waiting) >= MOST else ""

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """Return what is next, and put the rest in order."""
        found = super().get_events()
        if found:
            started, _, kind = found
            queue = self.event_queue_per_concurrency_id[kind]
            queue.queue = in_turn(queue.queue, [*self._running(kind), *started])
        return found

    def waiting(self) -> list[Event]:
        """Return all that wait, whatever for."""
        return [
            event for each in self.event_queue_per_concurrency_id.values() for event in each.queue
        ]

    def _running(self, kind: str) -> list[Event]:
        jobs = [event for job in self.active_jobs if job for event in job]
        return [event for event in jobs if event.concurrency_id == kind]


def drop(visit: str | None, number: int, answer: dict[str, Any]) -> None:
    """Answer a visitor's request in place of its handler, if it still waits.

    To be called by a handler in the thread of the server, that is an asynchronous one.

    Args:
        visit: Gradio's name of the open page (`gr.Request.session_hash`).
        number: Of the request, the "id" in its data.
        answer: What its handler would have returned first.
    """
    blocks = LocalContext.blocks.get(None)
    assert blocks is not None
    queue = blocks._queue
    assert isinstance(queue, Turns)
    for event in queue.waiting():
        asked = event.data.event_data if event.data else None
        if event.session_hash == visit and isinstance(asked, dict) and asked.get("id") == number:
            queue.event_queue_per_concurrency_id[event.concurrency_id].queue.remove(event)
            queue.event_ids_to_events.pop(event._id, None)
            output = {"data": [answer, *[None] * (len(event.fn.outputs) - 1)]}
            queue.send_message(event, ProcessCompletedMessage(output=output, success=True))


def in_turn(waiting: Iterable[Event], running: Iterable[Event]) -> list[Event]:
    """Order requests so that each visitor's first is before anybody's second.

    A visit is an open page, or a client; among those of the same rank, addresses take turns, so
    that somebody with very many pages is not before everybody else.
    """
    running = list(running)
    visits = Counter(event.session_hash for event in running)
    addresses = Counter(_address(event.request) for event in running)
    ranks: dict[str, tuple[int, int]] = {}
    arrived = sorted(waiting, key=lambda event: event.enqueue_time)
    for event in arrived:
        address = _address(event.request)
        ranks[event._id] = visits[event.session_hash], addresses[address]
        visits[event.session_hash] += 1
        addresses[address] += 1
    return sorted(arrived, key=lambda event: ranks[event._id])


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
