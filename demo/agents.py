"""The endpoints as tools for AI agents, by the Model Context Protocol; on with `GRADCAM_MCP=1`.

Gradio's own MCP server opens any path on this server and any web address that an agent names for a
picture, and calls the endpoints from this machine's address, so that all agents count as one
visitor. Here a tool's call becomes the requests that any other program would send, in the agent's
name: an upload, a call, its answer. So the request filter, the queue and all limits hold. Nothing
is kept between two requests of an agent.
"""

import asyncio
import base64
import binascii
import contextlib
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent, Tool
from PIL import Image
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from demo.hosting import bodies, routes
from demo.hosting.gradio_internals import named_endpoints

_SIDE = 512  # pixels of the pictures that agents get
_FORWARDED = ("host", "authorization", "cookie", "x-forwarded-proto")

_PICTURE = (
    "The picture: the content of a file (JPEG, PNG, WebP, ...) as base64 or as a data: URL; or, "
    f"for one of more than {bodies.MAX_PICTURE // 10**6} MB, the path that POST {routes.UPLOAD} "
    "returned for it. Web addresses and other paths are not opened."
)
_TOO_LONG = "picture: please send a picture as base64; paths and web addresses are not opened."
_NAMES = {
    "textbox": "summary",
    "json": "numbers",
    "label": "predictions",
    "highlightedtext": "words",
    "dataframe": "captions",
}


class Agents:
    """An ASGI app that answers agents; `running` has to surround its use."""

    def __init__(self) -> None:
        server: Server[Any, Request] = Server(
            "Grad-CAM",
            instructions="Shows which parts of a picture made a neural network say that.",
        )
        self._server = server
        self._described: dict[str, Any] = {}
        self._manager = StreamableHTTPSessionManager(
            server,
            json_response=True,
            stateless=True,
            max_request_body_size=bodies.MAX_PICTURE_JSON,
        )
        server.list_tools()(self._list)  # type: ignore[no-untyped-call]
        server.call_tool()(self._call)

    def routes(self) -> list[Route]:
        """Return the routes of agents, for `app_kwargs` of `launch`."""
        return [Route(path, self, methods=["POST"]) for path in routes.MCP]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer requests inside."""
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what it has started ends when the agent leaves."""
        body = await bodies.read(receive, bodies.MAX_PICTURE_JSON)
        replayed = bodies.replay(body, receive)
        answer = asyncio.create_task(self._manager.handle_request(scope, replayed, send))

        async def leave() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            answer.cancel()

        leaving = asyncio.create_task(leave())
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await answer
        finally:
            answer.cancel()
            leaving.cancel()

    async def _list(self) -> list[Tool]:
        return _tools(self._endpoints(self._request().app))

    async def _call(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
        request = self._request()
        endpoint = self._endpoints(request.app)[f"/{name}"]
        headers = {key: request.headers[key] for key in _FORWARDED if key in request.headers}
        address, port = request.client or ("", 0)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(request.app, client=(address, port)),
            base_url="http://127.0.0.1",
            headers=headers,
        ) as client:
            path = await _uploaded(client, str(arguments.get("picture", "")))
            data = [
                {"path": path}
                if each["parameter_name"] == "picture"
                else arguments.get(each["parameter_name"], each["parameter_default"])
                for each in endpoint["parameters"]
            ]
            started = _checked(await client.post(f"{routes.CALLS}/{name}", json={"data": data}))
            event = started.json()["event_id"]
            answer = _checked(await client.get(f"{routes.CALLS}/{name}/{event}"))
        values = _answer(answer.text)
        return await asyncio.to_thread(_result, endpoint, values)

    def _endpoints(self, app: FastAPI) -> dict[str, Any]:
        if not self._described:
            self._described = named_endpoints(app)
        return self._described

    def _request(self) -> Request:
        request = self._server.request_context.request
        assert request is not None
        return request


def _tools(endpoints: dict[str, Any]) -> list[Tool]:
    return [
        Tool(
            name=path.strip("/"),
            description=f"{endpoint['description']} Returns: "
            + "; ".join(each["label"] for each in endpoint["returns"]),
            inputSchema={
                "type": "object",
                "properties": {
                    each["parameter_name"]: _schema(each) for each in endpoint["parameters"]
                },
                "required": [
                    each["parameter_name"]
                    for each in endpoint["parameters"]
                    if not each["parameter_has_default"]
                ],
                "additionalProperties": False,
            },
        )
        for path, endpoint in endpoints.items()
    ]


def _schema(parameter: dict[str, Any]) -> dict[str, Any]:
    if parameter["parameter_name"] == "picture":
        return {"type": "string", "description": _PICTURE}
    kind, default = parameter["type"]["type"], parameter["parameter_default"]
    kinds = [kind, "null"] if default is None else kind
    return {"type": kinds, "description": parameter["label"], "default": default}


async def _uploaded(client: httpx.AsyncClient, picture: str) -> str:
    """Return the path of an upload: one that is named, or made from what was sent."""
    *_, named = picture.rpartition("/gradio_api/file=")
    if re.fullmatch(r"/[^\n]{1,500}\.\w{1,5}", named):
        return named  # the endpoint refuses all but uploads
    try:
        content = base64.b64decode(re.sub(r"^data:[\w/+.-]*;base64,", "", picture), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        raise ValueError(_TOO_LONG)
    sent = _checked(await client.post(routes.UPLOAD, files={"files": ("picture", content)}))
    path: str = sent.json()[0]
    return path


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code != 200:
        raise ValueError(response.text)
    return response


def _answer(events: str) -> list[Any]:
    """Return the values in the stream of an endpoint's events."""
    *_, last = events.strip().split("\n\n")
    kind, _, data = last.partition("\n")
    content = json.loads(data.removeprefix("data:"))
    if kind != "event: complete":
        message = content.get("error") if isinstance(content, dict) else content
        raise ValueError(message or "Something went wrong on the server.")
    values: list[Any] = content
    return values


def _result(endpoint: dict[str, Any], values: list[Any]) -> CallToolResult:
    numbers: dict[str, Any] = {}
    pictures: dict[str, ImageContent] = {}
    for described, value in zip(endpoint["returns"], values, strict=True):
        name = _NAMES.get(described["component"].casefold())
        if name is not None:
            numbers[name] = value
        for path in _paths(value) if name is None else ():
            if path.stem != "picture":  # the agent's own
                pictures.setdefault(str(path), _image(path))
    content: list[ContentBlock] = [
        TextContent(type="text", text=json.dumps(numbers, ensure_ascii=False))
    ]
    for path_of, image in pictures.items():
        content += [TextContent(type="text", text=f"{Path(path_of).stem}:"), image]
    return CallToolResult(content=content, structuredContent=numbers)


def _paths(value: Any) -> list[Path]:
    """Return the files in an endpoint's value."""
    if isinstance(value, dict):
        return [Path(value["path"])] if "path" in value else _paths(list(value.values()))
    return [path for each in value for path in _paths(each)] if isinstance(value, list) else []


def _image(path: Path) -> ImageContent:
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=90)
    data = base64.b64encode(buffer.getvalue()).decode()
    return ImageContent(type="image", data=data, mimeType="image/jpeg")
