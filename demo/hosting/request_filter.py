"""Middleware that refuses requests before Gradio sees them.

Gradio has routes that this page does not need, and accepts requests from pages of other sites.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import socket
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_plus, urlsplit

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.hosting.disk_quota import quota

MAX_UPLOAD = 30 * 10**6  # bytes
_MAX_BODY = 64 * 1024  # of any other request, and of what surrounds an upload
_UPLOAD_TIMEOUT = 600  # seconds

# The routes that the page and API clients need. Gradio's deep links, server functions of
# components, recordings, proxy, run history and live code are not among them.
_GET = (
    r"/quiz/?",
    r"/(config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon(/\d+)?)?",
    r"/(assets|static|svelte|browser)/.+",
    r"/gradio_api/(info/?|startup-events|theme\.css|app_id/?|login_check/?|upload_progress)",
    r"/gradio_api/heartbeat/\w+",
    r"/gradio_api/queue/(data|status)",
    r"/gradio_api/call/\w+/\w+",
    r"/gradio_api/file=.+",
)
_UPLOAD = "/gradio_api/upload"
_POST = (
    _UPLOAD,
    r"/gradio_api/queue/join",
    r"/gradio_api/call/\w+",
    r"/gradio_api/(cancel|reset)",
)
GET_ROUTES, POST_ROUTES = (
    re.compile("|".join(f"(?:{route})" for route in routes)) for routes in (_GET, _POST)
)

_HEADERS = {
    # The page loads nothing from other sites. Gradio needs inline scripts and eval. Spaces shows
    # the page in a frame. The browser may fetch, as data, a picture whose address a visitor gives.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
        "font-src 'self' data:; connect-src 'self' https:; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
    ),
    "permissions-policy": (
        "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=()"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Refusal(NamedTuple):
    """Why a request is refused.

    Attributes:
        status: The HTTP status.
        code: The reason for programs; sent as the header `x-refused`.
        message: The reason for people.
    """

    status: int
    code: str
    message: str

    def response(self) -> PlainTextResponse:
        return PlainTextResponse(self.message, self.status, {"x-refused": self.code})


_INVALID = Refusal(422, "invalid", "The request does not have the form that this address expects.")


class RequestFilter:
    """ASGI middleware: checks host, route, origin and body, and adds security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # the page has no websockets
        refusal = _refusal(scope)
        if refusal is None and _path(scope) == _UPLOAD:
            receive = _counted(_bounded(receive, _max_body(scope), _UPLOAD_TIMEOUT))
        elif refusal is None and scope["method"] == "POST":
            body = await _read(_bounded(receive, _max_body(scope)))
            if body is not None and _is_valid(body):
                receive = _replay(body, receive)
            else:
                refusal = _INVALID
        if refusal is not None:
            await refusal.response()(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        with contextlib.suppress(ClientDisconnect):  # during an upload
            await self._app(scope, receive, send_with_headers)


async def _invalid_request(request: Request, error: Exception) -> PlainTextResponse:
    """Replace FastAPI's own answer, which repeats the request."""
    return _INVALID.response()


EXCEPTION_HANDLERS = {RequestValidationError: _invalid_request}


def is_allowed_host(host: str, settings: Mapping[str, str] = os.environ) -> bool:
    """Return whether the server answers requests with this Host header.

    It does for every IP address: DNS rebinding needs a name. It does for the names of this machine,
    `GRADIO_SERVER_NAME`, `SPACE_HOST`, and those in `GRADCAM_ALLOWED_HOSTS` (separated by commas;
    `*` for all, `*.example.org` for all subdomains).
    """
    name = _hostname(host)
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    local = {"localhost", socket.gethostname().lower(), settings.get("GRADIO_SERVER_NAME")}
    return name in local or "*" in _configured(settings) or _is_configured(name, settings)


def _configured(settings: Mapping[str, str]) -> list[str]:
    names = f"{settings.get('SPACE_HOST', '')},{settings.get('GRADCAM_ALLOWED_HOSTS', '')}"
    return [name.strip().lower() for name in names.split(",") if name.strip()]


def _is_configured(name: str, settings: Mapping[str, str] = os.environ) -> bool:
    """Return whether the settings name a host; `*` alone does not."""
    return any(
        pattern == name or (pattern.startswith("*.") and name.endswith(pattern[1:]))
        for pattern in _configured(settings)
    )


def _hostname(netloc: str) -> str:
    """Return the host of `host:port`; "" if there is none."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _refusal(scope: Scope) -> Refusal | None:
    """Return why a request is refused by its head; None if it is not."""
    headers = Headers(scope=scope)
    if not is_allowed_host(headers.get("host", "")):
        return Refusal(400, "host", "This host name is not allowed; see GRADCAM_ALLOWED_HOSTS.")
    routes = {"GET": GET_ROUTES, "HEAD": GET_ROUTES, "POST": POST_ROUTES}.get(scope["method"])
    if routes is None or not routes.fullmatch(_path(scope)):
        return Refusal(404, "route", "Not found.")
    if "deep_link" in unquote_plus(scope["query_string"].decode("latin-1")):
        return Refusal(404, "route", "Deep links are not supported.")
    if routes is POST_ROUTES and not _is_same_site(headers):
        return Refusal(403, "origin", "Requests from pages of other sites are not allowed.")
    length, limit = headers.get("content-length", "0"), _max_body(scope)
    if not length.isdigit() or int(length) > limit:
        return Refusal(413, "size", f"The request is too large: at most {limit:,} bytes.")
    return None


def _path(scope: Scope) -> str:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path


def _is_same_site(headers: Headers) -> bool:
    """Return whether a request comes from a page of ours, or from a program that sends no Origin.

    Browsers send it with every POST request.
    """
    origin = headers.get("origin")
    if origin is None:
        return True
    site = origin.partition("://")[2]
    return site == headers.get("host") or _is_configured(_hostname(site))


def _max_body(scope: Scope) -> int:
    return MAX_UPLOAD + _MAX_BODY if _path(scope) == _UPLOAD else _MAX_BODY


def _bounded(receive: Receive, max_bytes: int, timeout: float | None = None) -> Receive:
    """Disconnect when a body exceeds `max_bytes`, or takes longer than `timeout` seconds."""
    size = 0
    end = None if timeout is None else asyncio.get_running_loop().time() + timeout

    async def bounded() -> Message:
        nonlocal size
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                message = await receive()
            size += len(message.get("body", b""))
            if size <= max_bytes:
                return message
        return {"type": "http.disconnect"}

    return bounded


def _counted(receive: Receive) -> Receive:
    """Count a body towards the disk quota while it arrives."""

    async def counted() -> Message:
        message = await receive()
        await asyncio.to_thread(quota.add, len(message.get("body", b"")))
        return message

    return counted


async def _read(receive: Receive) -> bytes | None:
    """Return a whole body; None if it is cut short."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _is_valid(body: bytes) -> bool:
    """Return whether a body is strict JSON, without NaN, and its event data has no nested values.

    Gradio would take nested values for files, and hand them out, wherever in the data they are.
    """
    try:
        request = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    event = request.get("event_data") if isinstance(request, dict) else None
    return event is None or (
        isinstance(event, dict)
        and not any(isinstance(value, dict | list) for value in event.values())
    )


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a body that was read already, then what follows it."""
    unread = [body]

    async def replay() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return replay
