"""The routes that exist: what the page and API clients need. Everything else answers 404.

Gradio's server functions of components, deep links, recordings, proxy, heartbeat, progress of
uploads, run history, monitoring and live code are not among them.
"""

import re

from demo.hosting.settings import settings

SESSION = r"[A-Za-z0-9-]{1,64}"  # the page sends 11 characters, gradio_client a UUID
EVENT = r"[0-9a-f]{32}"
_NAME = r"[a-z0-9_]{1,64}"
_PART = r"[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]{0,200}"
_FILE = f"(?:{_PART}/){{0,8}}{_PART}"

UPLOAD = "/gradio_api/upload"
FILE = "/gradio_api/file={path_or_url:path}"
INFO = "/gradio_api/info"
QUEUE = "/gradio_api/queue/data"
RESULT = "/gradio_api/call/{api_name}/{event_id}"
JOIN = "/gradio_api/queue/join"
CALL = "/gradio_api/call/{api_name}"
CANCEL = "/gradio_api/cancel"
RESET = "/gradio_api/reset"
LOGIN = "/login"
HEALTH = "/health"
METRICS = "/metrics"
CALLS = "/gradio_api/call"
# Of AI agents, only where they are switched on; with and without a slash.
MCP = ("/gradio_api/mcp/", "/gradio_api/mcp")

# The pattern of each route by Gradio's name for it.
GET = {
    "/": "/",
    "/quiz": "/quiz",
    "/quiz/": "/quiz/",
    "/config": "/config",
    "/theme.css": r"/theme\.css",
    "/favicon.ico": r"/favicon\.ico",
    "/robots.txt": r"/robots\.txt",
    "/manifest.json": r"/manifest\.json",
    "/assets/{path:path}": f"/assets/{_FILE}",
    "/static/{path:path}": f"/static/{_FILE}",
    "/svelte/{path:path}": f"/svelte/{_FILE}",
    "/browser/{version}/{name:path}": f"/browser/{_FILE}",
    "/gradio_api/app_id": "/gradio_api/app_id",
    "/gradio_api/startup-events": "/gradio_api/startup-events",
    "/gradio_api/queue/status": "/gradio_api/queue/status",
    HEALTH: HEALTH,
    METRICS: METRICS,
    INFO: INFO,
    QUEUE: QUEUE,
    RESULT: f"/gradio_api/call/(?P<name>{_NAME})/(?P<event>{EVENT})",
    FILE: r"/gradio_api/file=(?P<path>.+)",
}
POST = {
    UPLOAD: UPLOAD,
    JOIN: JOIN,
    CALL: f"/gradio_api/call/(?P<name>{_NAME})",
    CANCEL: CANCEL,
    RESET: RESET,
    LOGIN: LOGIN,
}
# Further ones, while `GRADCAM_MCP` is 1.
AGENTS = {path: path for path in MCP}
_METHODS = {
    method: {name: re.compile(pattern, re.DOTALL) for name, pattern in routes.items()}
    for method, routes in (("GET", GET), ("HEAD", GET), ("POST", {**POST, **AGENTS}))
}


def find(method: str, path: str) -> tuple[str, dict[str, str]] | None:
    """Return the name of a route and the parameters in its path; None if there is none.

    Args:
        method: "GET", "POST", ...
        path: Decoded once, as Starlette's router sees it.
    """
    if path in MCP and not has_agents():
        return None
    for name, pattern in _METHODS.get(method, {}).items():
        if found := pattern.fullmatch(path):
            return name, found.groupdict()
    return None


def has_agents() -> bool:
    """Return whether AI agents are answered."""
    return settings().agents
