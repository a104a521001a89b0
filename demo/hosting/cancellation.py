"""Long work ends where nobody waits for it any more.

Whatever takes long tells how far it is, by tqdm: methods and metrics that ask the network again
(`perturbation.ask`), and downloads. There, between two batches, it is asked whether the visitor
has left the page or pressed "stop"; if so `Stopped` is raised, just as Ctrl-C raises
KeyboardInterrupt there on the command line.

Work of the page can be stopped if it shows a bar of tqdm, or calls what does, and its handler in
`ask` takes `progress: gr.Progress = PROGRESS` and answers by `ask.answered`. What may take more
than two seconds belongs into the lane "long": few of them run at once, one after the other. In
the browser `trigger('stop', {stop: ID})` stops the request of that id, in whatever lane; it then
answers `{id: ID, stopped: true, error: "Stopped."}`, also if it still waits for its turn.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio.context import LocalContext


class Stopped(BaseException):
    """Nobody waits for this work any more; no failure, so nothing on the way takes it for one."""


_running: dict[tuple[str | None, int], threading.Event] = {}  # their flags, by visit and id


@contextmanager
def stoppable(visit: str | None = None, number: int = 0) -> Iterator[None]:
    """Raise `Stopped` out of what runs inside, where it tells its progress.

    Args:
        visit: Gradio's name of the open page (`gr.Request.session_hash`); None for programs, which
            can only leave.
        number: The request's id, by which `stop` finds it.

    Raises:
        Stopped: The visitor has left, or pressed "stop".
    """
    key, pressed = (visit, number), threading.Event()
    _running[key] = pressed
    former = LocalContext.progress.get(None)
    LocalContext.progress.set(_Watched(pressed))
    try:
        yield
    finally:
        LocalContext.progress.set(former)
        _running.pop(key, None)


def stop(visit: str | None, number: int) -> None:
    """Stop a visitor's request, if it runs."""
    pressed = _running.get((visit, number))
    if pressed:
        pressed.set()


class _Watched(gr.Progress):
    """Gradio's bar, which also asks at each step whether anybody looks at it."""

    def __init__(self, pressed: threading.Event) -> None:
        super().__init__(track_tqdm=True)
        self._pressed = pressed

    def _check(self) -> None:
        if self._pressed.is_set() or _has_left():
            raise Stopped

    def tqdm(self, iterable: Iterable[Any] | None, *args: Any, **options: Any) -> Any:
        self._check()
        return super().tqdm(iterable, *args, **options)

    def __next__(self) -> Any:
        self._check()
        return super().__next__()  # type: ignore[no-untyped-call]

    def update(self, n: int | float = 1) -> None:
        self._check()
        super().update(n)


def _has_left() -> bool:
    """Tell whether the connection is closed by which the running request would be answered."""
    blocks, number = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if blocks is None or number is None:
        return False
    event = blocks._queue.event_ids_to_events.get(number)
    return event is not None and not event.alive
