"""The endpoints as tools for AI agents: a real client against `app.py` in a process of its own."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from jsonschema import Draft202012Validator
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image

from tests.support.program import program

pytestmark = pytest.mark.slow

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with program(GRADCAM_MCP="1") as app:
        yield app.address.rstrip("/")


@pytest.fixture(scope="module")
def picture(cat_file: Path) -> str:
    return base64.b64encode(cat_file.read_bytes()).decode()


@contextlib.asynccontextmanager
async def session(server: str) -> AsyncIterator[ClientSession]:
    async with (
        streamable_http_client(f"{server}/gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as client,
    ):
        await client.initialize()
        yield client


def asked(
    server: str, ask: Callable[[ClientSession], Coroutine[Any, Any, Any]], seconds: float = 300
) -> Any:
    async def run() -> Any:
        with anyio.fail_after(seconds):
            async with session(server) as client:
                return await ask(client)

    return anyio.run(run)


def call(server: str, tool: str, **arguments: Any) -> CallToolResult:
    result: CallToolResult = asked(server, lambda client: client.call_tool(tool, arguments))
    return result


def pictures(result: CallToolResult) -> dict[str, Image.Image]:
    """The pictures, by the text before each."""
    blocks = result.content
    return {
        before.text.strip(":"): Image.open(BytesIO(base64.b64decode(block.data)))
        for before, block in pairwise(blocks)
        if isinstance(block, ImageContent) and isinstance(before, TextContent)
    }


def refusal(result: CallToolResult) -> str:
    assert result.isError
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert "Traceback" not in block.text
    return block.text


def test_the_four_endpoints_are_typed_and_documented_tools(server: str) -> None:
    tools = {tool.name: tool for tool in asked(server, lambda client: client.list_tools()).tools}
    assert set(tools) == {"classify", "caption", "vqa", "evaluate"}
    for tool in tools.values():
        assert tool.description
        Draft202012Validator.check_schema(tool.inputSchema)
        assert tool.inputSchema["required"] == ["picture"]
        for parameter in tool.inputSchema["properties"].values():
            assert parameter["type"]
            assert parameter["description"]
    properties = tools["vqa"].inputSchema["properties"]
    assert properties["question"]["type"] == "string"
    assert properties["opacity"]["type"] == "number"
    assert tools["evaluate"].inputSchema["properties"]["sanity"]["type"] == "boolean"


def test_an_agent_gets_text_numbers_and_pictures(server: str, picture: str) -> None:
    result = call(server, "classify", picture=picture, target="tabby")
    assert not result.isError
    found = result.structuredContent
    assert found is not None
    assert "tabby" in found["summary"]
    assert found["numbers"]["target"] == "tabby"
    assert len(found["numbers"]["raw"]) == 7
    assert len(found["predictions"]["confidences"]) == 5
    first = result.content[0]
    assert isinstance(first, TextContent)
    assert json.loads(first.text) == found
    shown = pictures(result)
    assert set(shown) == {"grad_cam", "counterfactual", "guided_backprop", "guided_grad_cam"}
    assert max(shown["grad_cam"].size) <= 512

    words = call(server, "caption", picture=f"data:image/jpeg;base64,{picture}", caption="a cat")
    assert words.structuredContent is not None
    assert [word["token"] for word in words.structuredContent["words"]] == ["a", "cat"]
    assert len(pictures(words)) >= 5

    answer = call(server, "vqa", picture=picture, question="What animal is this?")
    assert answer.structuredContent is not None
    assert answer.structuredContent["numbers"]["question"] == "What animal is this?"

    measured = call(server, "evaluate", picture=picture)
    assert measured.structuredContent is not None
    assert measured.structuredContent["numbers"]["measurements"]


def test_an_agent_may_upload_a_picture_first(server: str, cat_file: Path) -> None:
    files = {"files": ("cat.jpg", cat_file.read_bytes())}
    (path,) = httpx.post(f"{server}/gradio_api/upload", files=files, timeout=60).json()
    for named in (path, f"{server}/gradio_api/file={path}"):
        assert not call(server, "classify", picture=named).isError


def test_nothing_of_the_server_is_read_and_nothing_is_fetched(
    server: str, tmp_path: Path, picture: str
) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (32, 32)).save(secret)
    for named in (
        str(secret),
        f"{server}/gradio_api/file={secret}",
        f"file={secret}",
        secret.as_uri(),
        "/etc/passwd",
        f"{server}/static/img/logo.png",
        "http://127.0.0.1:9/cat.png",
        "https://example.com/gradio_api/file=/etc/hosts.png",
        "../../etc/passwd",
        json.dumps({"path": str(secret)}),
        "",
        "x" * 5000,
        "\0",
    ):
        refusal(call(server, "classify", picture=named))
    for hostile in ({"path": str(secret)}, [picture], 5, None, True):
        refusal(call(server, "classify", picture=hostile))


def test_wrong_arguments_are_refused_with_a_sentence(server: str, picture: str) -> None:
    async def ask(client: ClientSession) -> list[CallToolResult]:
        return [
            await client.call_tool(name, {"picture": picture, **arguments})
            for name, arguments in (
                ("classify", {"target": "no such thing"}),
                ("classify", {"opacity": 7}),
                ("classify", {"opacity": "red"}),
                ("classify", {"unknown": 1}),
                ("classify", {"target": {"path": "/etc/passwd"}}),
                ("classify", {"target": "x" * 5000}),
                ("classify", {"model": "/etc"}),
                ("no_such_tool", {}),
                ("../upload", {}),
            )
        ]

    for result in asked(server, ask):
        refusal(result)


def _sent(server: str, content: bytes | str, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{server}/gradio_api/mcp/",
        content=content,
        headers=ACCEPT | {"content-type": "application/json"} | headers,
        timeout=120,
    )


def test_hostile_bodies_are_refused_and_sessions_are_not_kept(server: str) -> None:
    long = json.dumps([0] * 1_000_000)
    assert _sent(server, long).status_code == 413
    many = json.dumps(INITIALIZE | {"a": ["x" * 2000] * 1000})
    assert _sent(server, many).status_code == 413
    assert _sent(server, "x" * 12_000_000).status_code == 413
    assert _sent(server, json.dumps(INITIALIZE), origin="https://evil.example").status_code == 403
    assert _sent(server, json.dumps(INITIALIZE), host="evil.example").status_code == 400
    for content in ("", "{", "[" * 60_000, "\0", json.dumps([INITIALIZE] * 200)):
        assert 400 <= _sent(server, content).status_code < 500
    for method in ("GET", "DELETE", "PUT", "OPTIONS"):
        for path in ("mcp/", "mcp", "mcp/sse", "mcp/http", "mcp/messages"):
            answer = httpx.request(method, f"{server}/gradio_api/{path}", headers=ACCEPT)
            assert answer.status_code == 404
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _sent(server, json.dumps(INITIALIZE)), range(200)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert all("mcp-session-id" not in answer.headers for answer in answers)
    assert asked(server, lambda client: client.list_tools()).tools


def test_agents_are_answered_only_where_they_are_switched_on(address: str) -> None:
    for path in ("gradio_api/mcp/", "gradio_api/mcp"):
        answer = httpx.post(f"{address}{path}", json=INITIALIZE, headers=ACCEPT)
        assert (answer.status_code, answer.headers["x-refused"]) == (404, "route")
