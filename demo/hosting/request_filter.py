"""What the server answers at all, and to whom; before Gradio sees a request.

Gradio brings routes that this page does not need, and takes requests from pages of other sites.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.hosting import disk_quota as disk

MAX_UPLOAD = 30 * 10**6  # bytes
_MAX_BODY = 64 * 1024  # of any other request
_PATIENCE = 600  # seconds for an upload

# What page and clients use: reading, and changing something. Deep links are not among them, nor
# server functions of components, recordings, the proxy, run history, or live code.
_READ = (
    r"/quiz/?",
    r"/(config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon(/\d+)?)?",
    r"/(assets|static|svelte)/.+",
    r"/gradio_api/(info/?|startup-events|theme\.css|app_id/?|login_check/?|upload_progress)",
    r"/gradio_api/heartbeat/\w+",
    r"/gradio_api/queue/(data|status)",
    r"/gradio_api/call/\w+/\w+",
    r"/gradio_api/file=.+",
)
_CHANGE = (
    r"/gradio_api/upload",
    r"/gradio_api/queue/join",
    r"/gradio_api/call/\w+",
    r"/gradio_api/(cancel|reset)",
)
READ_PATHS, CHANGE_PATHS = (
    re.compile("|".join(f"(?:{p})" for p in paths)) for paths in (_READ, _CHANGE)
)

# The page loads nothing from elsewhere. Gradio's own scripts stand in its HTML and make functions
# of text, so those two must be let in. Spaces shows the page in a frame of its own. The visitor's
# browser may fetch a picture whose address they give: as data only, which is then uploaded.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self' data:; connect-src 'self' https:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
)

# The camera is for the page itself; nothing else of the visitor's machine is asked for.
_DEVICES = "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=()"


class Doors:
    """Middleware: refuses strange hosts, strange origins, unneeded routes and large bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no route of the page is a websocket
        refused = _refusal(scope)
        if refused is not None:
            await PlainTextResponse(refused[1], refused[0])(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = _POLICY
                headers["permissions-policy"] = _DEVICES
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
            await send(message)

        if scope["path"].endswith("/upload"):
            receive = _counted(_bounded(receive, MAX_UPLOAD + _MAX_BODY))
        elif scope["method"] == "POST":
            body = await _body(_bounded(receive, _MAX_BODY))
            if body is None or not _is_plain(body):
                await PlainTextResponse(_WRONG_SHAPE, 422)(scope, receive, send)
                return
            receive = _again(body, receive)
        with contextlib.suppress(ClientDisconnect):  # in the middle of an upload: nobody to tell
            await self._app(scope, receive, sent)


async def wrong_shape(request: Request, error: Exception) -> PlainTextResponse:
    """Answer a request that does not fit the route, without its own words."""
    return PlainTextResponse(_WRONG_SHAPE, 422)


_WRONG_SHAPE = "The request does not have the shape that this address takes."
HANDLERS = {RequestValidationError: wrong_shape}


def allowed_host(host: str, settings: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a request's Host is one of ours.

    Every IP address is: who turns a name of theirs to this machine (DNS rebinding) cannot make a
    browser send one. Of names, those of this machine, `GRADIO_SERVER_NAME`, `SPACE_HOST`, and those
    of `GRADCAM_ALLOWED_HOSTS` (with commas; `*` for all, `*.example.org` for all below it).
    """
    name = _hostname(host)
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    of_machine = {"localhost", socket.gethostname().lower(), settings.get("GRADIO_SERVER_NAME")}
    return name in of_machine or _is_named(name, settings)


def _is_named(name: str, settings: Mapping[str, str] = os.environ, *, all_too: bool = True) -> bool:
    """Tell whether the settings name a host."""
    listed = f"{settings.get('SPACE_HOST', '')},{settings.get('GRADCAM_ALLOWED_HOSTS', '')}"
    return any(
        (pattern == "*" and all_too)
        or pattern == name
        or (pattern.startswith("*.") and name.endswith(pattern[1:]))
        for pattern in (each.strip().lower() for each in listed.split(","))
        if pattern
    )


def _hostname(netloc: str) -> str:
    """Return the host of `host:port`; "" if it is none."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _refusal(scope: Scope) -> tuple[int, str] | None:
    """Return status and sentence for a request that is not let in; None for one that is."""
    headers = Headers(scope=scope)
    if not allowed_host(headers.get("host", "")):
        return 400, "This host is not known here; see GRADCAM_ALLOWED_HOSTS."
    reading = scope["method"] in ("GET", "HEAD")
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if not (READ_PATHS if reading else CHANGE_PATHS).fullmatch(path) or (
        not reading and scope["method"] != "POST"
    ):
        return 404, "There is nothing here."
    if b"deep_link" in scope["query_string"]:
        return 404, "There are no deep links here."
    # Browsers send it with what pages post; other programs need not.
    origin = headers.get("origin")
    if origin is not None and not reading:
        site = origin.partition("://")[2]
        if site != headers.get("host") and not _is_named(_hostname(site), all_too=False):
            return 403, "Requests from pages of other sites are not taken."
    length = headers.get("content-length", "0")
    limit = MAX_UPLOAD + _MAX_BODY if path.endswith("/upload") else _MAX_BODY
    if not length.isdigit() or int(length) > limit:
        return 413, f"The request is too large: at most {limit:,} bytes."
    return None


def _bounded(receive: Receive, limit: int) -> Receive:
    """Cut off a body that is longer than it said."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return {"type": "http.disconnect"} if taken > limit else message

    return bounded


def _counted(receive: Receive) -> Receive:
    """Make room on the disk for a body as it comes, and give up on one that takes for ever."""
    end = asyncio.get_running_loop().time() + _PATIENCE

    async def counted() -> Message:
        try:
            async with asyncio.timeout_at(end):
                message = await receive()
        except TimeoutError:
            return {"type": "http.disconnect"}
        await asyncio.to_thread(disk.wrote, len(message.get("body", b"")))
        return message

    return counted


async def _body(receive: Receive) -> bytes | None:
    """Return a whole body; None if it broke off."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _is_plain(body: bytes) -> bool:
    """Tell whether a body is JSON proper (NaN is not), and its event tells plain values only.

    Gradio takes what looks like a file in an event's data for one, wherever it stands.
    """
    try:
        request = json.loads(body, parse_constant=_refused)
    except (ValueError, RecursionError):
        return False
    event = request.get("event_data") if isinstance(request, dict) else None
    if event is None:
        return True
    return isinstance(event, dict) and not any(
        isinstance(value, dict | list) for value in event.values()
    )


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON.")


def _again(body: bytes, receive: Receive) -> Receive:
    """Let a body that was read be read once more; then what comes after it."""
    left = [body]

    async def again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return again
