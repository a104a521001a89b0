"""Which requests the server answers."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.build import build_demo, launch_options
from demo.compute.local import LocalCompute
from demo.hosting import routes
from demo.hosting.request_filter import is_allowed_host
from demo.hosting.settings import Settings
from demo.page import modules

ROOT = Path(__file__).parents[3]


def all_routes() -> set[tuple[str, str]]:
    """Every method and route of an app like the one that `address` serves, Gradio's included."""
    demo = build_demo(LocalCompute())
    app, _, _ = demo.launch(**launch_options(), prevent_thread_lock=True, quiet=True)
    demo.close()
    found: list[Any] = []
    for route in app.router.routes:
        found += route.original_router.routes if hasattr(route, "original_router") else [route]
    return {(method, route.path) for route in found for method in route.methods}


def listed_routes() -> set[tuple[str, str]]:
    """Those in the table of SECURITY.md."""
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    return set(re.findall(r"^\| `(GET|POST) (/\S*)` \|", text, re.MULTILINE))


def test_every_route_that_answers_is_listed_and_no_other_answers(address: str) -> None:
    listed = listed_routes()
    agents = {("POST", route) for route in routes.AGENTS}  # off, see test_agents.py
    assert listed - agents == {
        (method, route)
        for method, open_routes in (("GET", routes.GET), ("POST", routes.POST))
        for route in open_routes
    }
    found = {
        (method, route.replace(modules().path, "/browser/{version}/{name:path}"))
        for method, route in all_routes()
    }
    assert agents < listed
    assert listed - agents <= found
    closed = 0
    with httpx.Client(base_url=address, timeout=30) as client:
        for method, route in sorted(found - listed):
            path = re.sub(r"\{[^}]*\}", "9", route)
            if method == "HEAD" and ("GET", route) in listed:
                continue
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["x-refused"]) == (404, "route"), path
            closed += 1
        for method in ("OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "X"):
            preflight = {"Origin": address.rstrip("/"), "Access-Control-Request-Method": "POST"}
            for path in ("/", "/config", "/gradio_api/upload"):
                answer = client.request(method, path, headers=preflight)
                assert (answer.status_code, answer.headers["x-refused"]) == (404, "route"), path
    assert closed > 40


def test_allowed_hosts() -> None:
    settings = Settings(SPACE_HOST="us-grad-cam.hf.space", GRADCAM_ALLOWED_HOSTS="a.org, *.b.org")
    for host in (
        "localhost:7860",
        "127.0.0.1",
        "[::1]:7860",
        "192.168.0.7:7860",
        "us-grad-cam.hf.space",
        "A.org",
        "x.b.org:443",
    ):
        assert is_allowed_host(host, settings), host
    for host in (
        "evil.example",
        "",
        "b.org",
        "localhost.evil.example",
        "a.org.evil.example",
        "[::",
    ):
        assert not is_allowed_host(host, settings), host
    assert is_allowed_host("any.example", Settings(GRADCAM_ALLOWED_HOSTS="*"))
    assert is_allowed_host("gpu7", Settings(GRADIO_SERVER_NAME="gpu7"))


def test_other_hosts_and_origins_are_refused(address: str, cat_file: Path) -> None:
    own = address.rstrip("/")
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 400

    def upload(origin: str | None) -> int:
        headers = {} if origin is None else {"Origin": origin}
        files = {"files": cat_file.read_bytes()}
        return httpx.post(f"{address}gradio_api/upload", files=files, headers=headers).status_code

    assert [upload(None), upload(own)] == [200, 200]
    for origin in ("null", "https://evil.example", "http://127.0.0.1:1", "http://10.0.0.1", "x"):
        assert upload(origin) == 403, origin


@pytest.mark.parametrize(
    "path", ["?deep_link=x", "?deep%5flink=x", "gradio_api/deep_link?session_hash=x"]
)
def test_deep_links_are_refused(address: str, path: str) -> None:
    assert httpx.get(f"{address}{path}").status_code == 404


def test_invalid_requests_are_answered_without_their_content(address: str) -> None:
    json_type = {"Content-Type": "application/json"}
    cases: list[tuple[bytes, int]] = [
        (b'{"data": "' + b"word" * 10_000 + b'"}', 422),
        (b'{"data": [NaN], "session_hash": "x", "fn_index": 0, "event_data": NaN}', 422),
        (b'{"data": ' + b"[" * 30_000, 422),
        (b"not json", 422),
        (b'"' + b"word" * 100_000 + b'"', 413),
    ]
    for route in ("queue/join", "call/upload"):
        url = f"{address}gradio_api/{route}"
        for body, status in cases:
            answer = httpx.post(url, content=body, headers=json_type)
            assert answer.status_code == status, body[:40]
            assert len(answer.text) < 200
            assert "word" not in answer.text
    # A body without a Content-Length is cut off at the limit.
    endless = (b"x" * 10_000 for _ in range(100))
    answer = httpx.post(url, content=endless, headers=json_type)
    assert answer.status_code >= 400
