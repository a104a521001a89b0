"""Middleware that refuses requests before Gradio sees them.

Gradio has routes that this page does not need, and accepts requests from pages of other sites.
What passes is rewritten: the query holds known parameters only, JSON is written anew, and headers
that Gradio would believe from anybody are taken out. Uploads and files are answered here.
"""

import contextlib
import ipaddress
import logging
import re
import secrets
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo.hosting import bodies, login, logs, metrics, routes, shutdown
from demo.hosting.files import file_response
from demo.hosting.gradio_internals import (
    SESSION_NOT_FOUND,
    endpoints,
    is_logged_in,
    listeners,
    session_of,
)
from demo.hosting.refusals import INVALID, NOT_FOUND, Refusal, RefusedError, too_large
from demo.hosting.settings import Settings, settings
from demo.hosting.uploads import MAX_BODY, upload_response

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
# Gradio builds addresses from the first two, whoever sends them. It answers ranges itself, not
# always rightly, and lets pages of all sites in `Origin` read the answers. uvicorn has read
# `X-Forwarded-Proto` of trusted proxies; on Spaces there is always one.
_DROPPED = {b"x-forwarded-host", b"x-gradio-server", b"range", b"if-range", b"origin"}

_WORK = {routes.UPLOAD, routes.JOIN, routes.CALL, *routes.MCP}
# What needs a password on a host that has some; Gradio itself shows strangers a page to log in.
_FOR_USERS = {
    route for route in (*routes.GET, *routes.POST, *routes.MCP) if route.startswith("/gradio_api/")
}
_FOR_USERS -= {"/gradio_api/startup-events", "/gradio_api/app_id"}

_HOST = re.compile(r"([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_PRIVATE = [
    ipaddress.ip_network(each)
    for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
]
_MAX_LENGTHS = {routes.UPLOAD: MAX_BODY, **dict.fromkeys(routes.MCP, bodies.MAX_PICTURE_JSON)}
_MAX_LISTENERS = 4  # to a session; the page has one, and after a reconnection the lost one
_NO_ANSWER = Refusal(404, "session", "There is no such request, or it was answered.")
_CROWDED = Refusal(503, "listeners", "Too many connections wait for the answers of this page.")
_NO_LENGTH = Refusal(411, "length", "Please send the length of the request (Content-Length).")
_PASSED = "gradcam.passed"  # in the scope of what has passed the filter

# Requests of agents at once.
_MAX_AGENTS = 32
_MAX_AGENTS_PER_ADDRESS = 8
_agents: Counter[str] = Counter()  # by address

_log = logging.getLogger(__name__)


class RequestFilter:
    """ASGI middleware: checks host, route, origin and body, and adds security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _PASSED in scope:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":  # the page has none
            await send({"type": "websocket.close"})
            return
        started, status = False, 0

        async def send_with_headers(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        found = routes.find(scope["method"], _path(scope))
        route = found[0] if found else "other"
        if route not in (routes.QUEUE, routes.RESULT):  # which wait for answers, perhaps for ever
            shutdown.open_requests.add(id(scope))
        try:
            await self._answer(scope, receive, send_with_headers)
        except ClientDisconnect:  # during an upload
            pass
        except RefusedError as error:
            _log_refusal(scope, error.refusal)
            await error.refusal.response()(scope, receive, send_with_headers)
        except Exception as error:
            # Starlette has answered 500. A stream of Gradio's ends so when its session is gone.
            metrics.failed.labels("http").inc()
            why = f"{type(error).__name__}: {error}"
            logs.write(_log, logging.ERROR, "Failed.", why=why, **_sender(scope))
            if not started:
                failed = Refusal(500, "failed", "Something went wrong on the server.")
                await failed.response()(scope, receive, send_with_headers)
        finally:
            shutdown.open_requests.discard(id(scope))
            metrics.requests.labels(route, str(status)).inc()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, app = Headers(scope=scope), scope["app"]
        _check_host(headers)
        found = routes.find(scope["method"], _path(scope))
        if found is None:
            raise RefusedError(NOT_FOUND)
        if "transfer-encoding" in headers:  # chunks of a byte would take very long to parse
            raise RefusedError(_NO_LENGTH)
        route, parameters = found
        query = _query(scope)
        if "deep_link" in query:
            raise RefusedError(Refusal(404, "route", "Deep links are not supported."))
        if scope["method"] == "POST":
            _check_origin(headers)
            _check_length(headers, _MAX_LENGTHS.get(route, bodies.MAX_JSON))
            if shutdown.stopping.is_set() and route in _WORK:
                raise RefusedError(Refusal(503, "stopping", shutdown.STOPPING))
        if route in (routes.HEALTH, routes.METRICS):
            _check_operator(scope, headers)
        elif route in _FOR_USERS and not await is_logged_in(app, Request(scope)):
            raise RefusedError(Refusal(401, "login", "Please log in."))
        if route == routes.LOGIN:
            await login.answer(self._app, _rewritten(scope, ""), receive, send)
            return
        if route in (routes.UPLOAD, routes.FILE):
            response = (
                await upload_response(scope, receive)
                if route == routes.UPLOAD
                else file_response(parameters["path"])
            )
            await response(_rewritten(scope, ""), receive, send)
            return
        if route in routes.POST:
            content = bodies.checked(route, parameters, await bodies.read(receive), endpoints(app))
            receive = bodies.replay(content, receive)
        if route in routes.MCP:
            with _admitted(scope):
                receive = bodies.replay(await bodies.read_with_picture(receive), receive)
                await self._app(_rewritten(scope, ""), receive, send)
            return
        if lost := _of_lost_session(app, route, parameters, query):
            await lost(scope, receive, send)
            return
        await self._app(_rewritten(scope, _known(route, query)), receive, send)


def install(app: FastAPI) -> None:
    """Put the filter around all other middleware of an app, while it starts.

    Gradio adds middleware of its own around that of `app_kwargs`, which answers preflight requests
    and fails on malformed headers. The filter belongs there too, in case this is never called.
    """
    app.middleware_stack = RequestFilter(app.middleware_stack or app.build_middleware_stack())


@contextlib.contextmanager
def _admitted(scope: Scope) -> Iterator[None]:
    """Count a request of an agent while it is answered, or refuse it."""
    address = scope["client"][0] if scope.get("client") else ""
    if _agents[address] >= _MAX_AGENTS_PER_ADDRESS or _agents.total() >= _MAX_AGENTS:
        raise RefusedError(Refusal(503, "busy", "Too many requests at once. Please try again."))
    _agents[address] += 1
    try:
        yield
    finally:
        _agents[address] -= 1
        if not _agents[address]:
            del _agents[address]


async def _invalid_request(request: Request, error: Exception) -> PlainTextResponse:
    """Replace FastAPI's own answer, which repeats the request."""
    return INVALID.response()


EXCEPTION_HANDLERS = {RequestValidationError: _invalid_request}


def is_allowed_host(host: str, settings: Settings) -> bool:
    """Return whether the server answers requests with this Host header.

    It does for every IP address: DNS rebinding needs a name. It does for the names of this machine,
    `GRADIO_SERVER_NAME`, `SPACE_HOST`, and those in `GRADCAM_ALLOWED_HOSTS` (separated by commas;
    `*` for all, `*.example.org` for all subdomains).
    """
    name = _hostname(host)
    if not name:
        return False
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    local = {"localhost", socket.gethostname().lower(), settings.server_name.lower()}
    return name in local or "*" in settings.allowed_hosts or _is_configured(name, settings)


def _is_configured(name: str, settings: Settings) -> bool:
    """Return whether the settings name a host; `*` alone does not."""
    return any(
        pattern == name or (pattern.startswith("*.") and name.endswith(pattern[1:]))
        for pattern in (*settings.allowed_hosts, settings.space_host.lower())
        if pattern
    )


def _hostname(netloc: str) -> str:
    """Return the host of `host:port`, in lower case; "" if it has another form."""
    found = _HOST.fullmatch(netloc)
    if found is None or int((found[2] or ":0")[1:]) > 65535:
        return ""
    return found[1].strip("[]").lower()


def _check_host(headers: Headers) -> None:
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not is_allowed_host(hosts[0], settings()):
        message = "This host name is not allowed; see GRADCAM_ALLOWED_HOSTS."
        raise RefusedError(Refusal(400, "host", message))


def _check_origin(headers: Headers) -> None:
    """Refuse requests of other sites' pages: browsers send an Origin with every POST request."""
    origin = headers.get("origin")
    if origin is not None:
        site = origin.partition("://")[2]
        if site != headers.get("host") and not _is_configured(_hostname(site), settings()):
            message = "Requests from pages of other sites are not allowed."
            raise RefusedError(Refusal(403, "origin", message))


def _check_length(headers: Headers, limit: int) -> None:
    length = headers.get("content-length", "0")
    if not re.fullmatch("[0-9]{1,18}", length) or int(length) > limit:
        raise RefusedError(too_large(limit))


def _check_operator(scope: Scope, headers: Headers) -> None:
    """Refuse strangers: who has no token, or, where none is set, does not come from nearby."""
    token = settings().monitoring_token
    if token is not None:
        wanted = f"Bearer {token.get_secret_value()}".encode()
        if not secrets.compare_digest(headers.get("authorization", "").encode(), wanted):
            raise RefusedError(Refusal(401, "token", "This is for operators, with a token."))
        return
    # Behind a proxy that does not say for whom it asks, every address is private, but no name is.
    host = _hostname(headers["host"])
    if not (_is_near(host) and _is_near(scope["client"][0] if scope.get("client") else "")):
        message = "This is for operators: see GRADCAM_MONITORING_TOKEN."
        raise RefusedError(Refusal(403, "private", message))


def _is_near(host: str) -> bool:
    """Return whether this is an address of this machine or of a private network."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or any(address in network for network in _PRIVATE)


def _log_refusal(scope: Scope, refusal: Refusal) -> None:
    metrics.refused.labels(refusal.code).inc()
    facts = {"code": refusal.code, "status": refusal.status, "why": refusal.message}
    logs.write(_log, logging.WARNING, "Refused.", **facts, **_sender(scope))


def _sender(scope: Scope) -> dict[str, str]:
    """Return who sent a request, and what it was for."""
    address = scope["client"][0] if scope.get("client") else ""
    return {"address": address, "method": scope["method"], "path": scope["path"]}


def _path(scope: Scope) -> str:
    """Return the path as Starlette's router sees it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _query(scope: Scope) -> dict[str, str]:
    """Return the parameters of the query as Starlette reads them."""
    try:
        return dict(parse_qsl(scope["query_string"].decode("latin-1"), True, max_num_fields=100))
    except ValueError:
        raise RefusedError(INVALID) from None


def _known(route: str, query: Mapping[str, str]) -> str:
    """Return the query for Gradio; that of a page is for its scripts only."""
    if route == routes.QUEUE:
        return urlencode({"session_hash": query["session_hash"]})
    if route == routes.INFO:
        # Without it, Gradio would keep for everybody what it made from the first request's host.
        return urlencode({"page": ""})
    return ""


def _of_lost_session(
    app: FastAPI, route: str, parameters: Mapping[str, str], query: Mapping[str, str]
) -> Response | None:
    """Return the answer to a client whose session is not known; None for all other requests."""
    if route not in (routes.QUEUE, routes.RESULT):
        return None
    session: str | None
    if route == routes.RESULT:
        session = session_of(app, parameters["event"])
    else:
        session = query.get("session_hash", "")
        if not re.fullmatch(routes.SESSION, session):
            raise RefusedError(INVALID)
    listening = listeners(app, session)
    if listening is None:
        if route == routes.RESULT:
            raise RefusedError(_NO_ANSWER)
        return Response(f"data: {SESSION_NOT_FOUND}\n\n", media_type="text/event-stream")
    if listening >= _MAX_LISTENERS:
        raise RefusedError(_CROWDED)
    return None


def _rewritten(scope: Scope, query: str) -> Scope:
    dropped = _DROPPED
    if settings().space_id is None:
        dropped = dropped | {b"x-forwarded-proto"}
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
    return {**scope, "headers": headers, "query_string": query.encode(), _PASSED: True}
