"""Logging in with a password: the form is read here, guessing is slowed down, Gradio compares."""

import logging
from urllib.parse import urlencode

from cachetools import TTLCache
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.hosting import bodies, logs, metrics
from demo.hosting.gradio_internals import address_of
from demo.hosting.refusals import INVALID, NOT_FOUND, Refusal, RefusedError, too_large
from demo.hosting.settings import settings

_MAX_FORM = 4096  # bytes
_MAX_FAILURES = 10  # of an address in a minute
_TOO_OFTEN = Refusal(429, "login", "Too many wrong passwords. Please try again in a minute.")

_failures: TTLCache[str, int] = TTLCache(10_000, 60.0)  # by address

_log = logging.getLogger(__name__)


async def answer(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a login to Gradio, as a plain form with a name and a password.

    Raises:
        RefusedError: The host has no passwords, the form is not as expected, or too many passwords
            of the address were wrong.
    """
    if not settings().users:
        raise RefusedError(NOT_FOUND)
    address = address_of(Request(scope))
    if _failures.get(address, 0) >= _MAX_FAILURES:
        raise RefusedError(_TOO_OFTEN)
    body = await bodies.read(receive)
    if len(body) > _MAX_FORM:
        raise RefusedError(too_large(_MAX_FORM))
    try:
        form = await Request(scope, bodies.replay(body, receive)).form(max_files=0, max_fields=8)
        sent = {name: str(form[name]) for name in ("username", "password")}
    except (KeyError, ValueError, LookupError, MultiPartException):
        raise RefusedError(INVALID) from None
    content = urlencode(sent).encode()
    kept = [
        pair for pair in scope["headers"] if pair[0] not in (b"content-type", b"content-length")
    ]
    headers = [
        *kept,
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-length", str(len(content)).encode()),
    ]

    async def send_counted(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            _failures[address] = _failures.get(address, 0) + 1
            metrics.refused.labels("password").inc()
            facts = {"code": "password", "address": address, "user": sent["username"]}
            logs.write(_log, logging.WARNING, "Refused.", **facts)
        await send(message)

    await app({**scope, "headers": headers}, bodies.replay(content, receive), send_counted)
