"""Bodies of requests: bounded in size and time, and JSON in the form that each route expects.

What Gradio gets is written anew from what was understood. Unknown fields do not reach it, nor
files, web addresses and nested values where an endpoint takes a text or a number.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json
from starlette.types import Message, Receive

from demo.hosting import routes
from demo.hosting.gradio_internals import Endpoints
from demo.hosting.refusals import INVALID, NOT_FOUND, TIMEOUT, RefusedError, too_large

MAX_JSON = 64 * 1024  # bytes; small enough to be read on the event loop
MAX_PICTURE = 8 * 10**6  # bytes of a picture within JSON
MAX_PICTURE_JSON = MAX_PICTURE * 4 // 3 + MAX_JSON  # in base64
_JSON_TIMEOUT = 30.0  # seconds
_IDLE_TIMEOUT = 30.0  # seconds between two pieces of a body
_PICTURE_TIMEOUT = 120.0
_PICTURE_TEXT = re.compile(rb'"[A-Za-z0-9+/=:;,.-]{1024,}"')
_MAX_VALUES = 32  # of an endpoint, or of an event's data

_Session = Annotated[str, StringConstraints(pattern=f"^{routes.SESSION}$")]
_Event = Annotated[str, StringConstraints(pattern=f"^{routes.EVENT}$")]
_Int = Annotated[int, Field(ge=-(2**53), le=2**53)]
_Float = Annotated[float, Field(allow_inf_nan=False)]
_Value = str | bool | _Int | _Float | None


class _Schema(BaseModel):
    model_config = ConfigDict(strict=True)


class _Picture(_Schema):
    """A file by its path on the server; what else clients send of it is dropped."""

    path: str | None = None


class _Call(_Schema):
    data: Annotated[list[_Value | _Picture], Field(max_length=_MAX_VALUES)]
    session_hash: _Session | None = None


class _Join(_Call):
    fn_index: _Int
    session_hash: _Session
    # Gradio would take nested values for files, and hand them out.
    event_data: Annotated[dict[str, _Value], Field(max_length=_MAX_VALUES)] | None = None


class _Cancel(_Schema):
    fn_index: _Int
    session_hash: _Session
    event_id: _Event


class _Reset(_Schema):
    event_id: _Event


_SCHEMAS: dict[str, type[_Schema]] = {
    routes.JOIN: _Join,
    routes.CALL: _Call,
    routes.CANCEL: _Cancel,
    routes.RESET: _Reset,
}


def checked(route: str, parameters: Mapping[str, str], body: bytes, endpoints: Endpoints) -> bytes:
    """Return the JSON for Gradio.

    Args:
        route: A route of `routes.POST`.
        parameters: Those in its path.
        body: What was sent.
        endpoints: What the server offers.

    Raises:
        RefusedError: The body is not in the form of the route, or there is no such endpoint.
    """
    try:
        request = _SCHEMAS[route].model_validate_json(body)
    except ValidationError:
        raise RefusedError(INVALID) from None
    if isinstance(request, _Call):
        wanted = request.fn_index if isinstance(request, _Join) else parameters["name"]
        takes_file = endpoints.get(wanted)
        if takes_file is None:
            raise RefusedError(NOT_FOUND)
        if len(request.data) != len(takes_file) or any(
            isinstance(value, _Picture) and not may_be_file
            for value, may_be_file in zip(request.data, takes_file, strict=True)
        ):
            raise RefusedError(INVALID)
    return request.model_dump_json().encode()


async def read(receive: Receive, limit: int = MAX_JSON) -> bytes:
    """Return a whole JSON body.

    Raises:
        RefusedError: It is too large, takes too long, or is cut short.
    """
    receive = bounded(receive, limit, _JSON_TIMEOUT if limit == MAX_JSON else _PICTURE_TIMEOUT)
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RefusedError(INVALID)
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def read_with_picture(receive: Receive) -> bytes:
    """Return a JSON body that is small but for a few texts such as a picture in base64.

    Raises:
        RefusedError: As for `read`; or the rest is not small.
    """
    body = await read(receive, MAX_PICTURE_JSON)
    if len(body) > MAX_JSON:
        # JSON of a few megabytes can take gigabytes and seconds; long strings do not.
        rest, pictures = await asyncio.to_thread(_PICTURE_TEXT.subn, b'""', body)
        if pictures > _MAX_VALUES or len(rest) > MAX_JSON:
            raise RefusedError(too_large(MAX_JSON))
    try:
        message = from_json(body)  # refuses what is nested too deeply for Python's own parser
    except ValueError:
        raise RefusedError(INVALID) from None
    if not isinstance(message, dict):
        raise RefusedError(INVALID)
    return body


def bounded(receive: Receive, max_bytes: int, timeout: float) -> Receive:
    """Raise `RefusedError` for a body of more than `max_bytes`, or that takes too long.

    Args:
        receive: ASGI's.
        max_bytes: Of the whole body.
        timeout: In seconds, for the whole body; between two pieces less.
    """
    size, loop = 0, asyncio.get_running_loop()
    end = loop.time() + timeout

    async def receive_bounded() -> Message:
        nonlocal size
        try:
            async with asyncio.timeout_at(min(end, loop.time() + _IDLE_TIMEOUT)):
                message = await receive()
        except TimeoutError:
            raise RefusedError(TIMEOUT) from None
        size += len(message.get("body", b""))
        if size > max_bytes:
            raise RefusedError(too_large(max_bytes))
        return message

    return receive_bounded


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` for a body that was read already, and for what follows it."""
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return unread.pop() if unread else await receive()

    return receive_again
