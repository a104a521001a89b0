"""Which requests the server answers."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.build import build_demo, launch_options
from demo.compute.local import LocalCompute
from demo.hosting.request_filter import GET_ROUTES, POST_ROUTES, is_allowed_host
from demo.page import modules

# The routes of Gradio 6.31 that the page needs; all others are closed.
OPEN = {
    "GET": {
        "/",
        "/assets/{path:path}",
        modules().path,
        "/config",
        "/config/",
        "/favicon.ico",
        "/gradio_api/app_id",
        "/gradio_api/app_id/",
        "/gradio_api/call/{api_name}/{event_id}",
        "/gradio_api/file={path_or_url:path}",
        "/gradio_api/heartbeat/{session_hash}",
        "/gradio_api/info",
        "/gradio_api/info/",
        "/gradio_api/login_check",
        "/gradio_api/login_check/",
        "/gradio_api/queue/data",
        "/gradio_api/queue/status",
        "/gradio_api/startup-events",
        "/gradio_api/theme.css",
        "/gradio_api/upload_progress",
        "/manifest.json",
        "/pwa_icon",
        "/pwa_icon/{size}",
        "/quiz",
        "/quiz/",
        "/robots.txt",
        "/static/{path:path}",
        "/svelte/{path:path}",
        "/theme.css",
    },
    "POST": {
        "/gradio_api/call/{api_name}",
        "/gradio_api/cancel",
        "/gradio_api/queue/join",
        "/gradio_api/reset",
        "/gradio_api/upload",
    },
}


def test_only_the_routes_that_the_page_needs_are_open(address: str) -> None:
    """`address` is served by an app like the one made here."""
    demo = build_demo(LocalCompute())
    app, _, _ = demo.launch(**launch_options(), prevent_thread_lock=True, quiet=True)
    demo.close()
    routes: list[Any] = []
    for route in app.router.routes:
        routes += route.original_router.routes if hasattr(route, "original_router") else [route]
    found: dict[str, set[str]] = {"GET": set(), "POST": set()}
    closed = 0
    client = httpx.Client(base_url=address.rstrip("/"), timeout=10)
    for route in routes:
        for method in route.methods - {"HEAD"}:
            path = route.path.replace("{size}", "9")
            path = re.sub(r"\{[^}]*\}", "x", path)
            if (GET_ROUTES if method == "GET" else POST_ROUTES).fullmatch(path):
                found[method].add(route.path)
            else:
                answer = client.request(method, path)
                assert (answer.status_code, answer.headers["x-refused"]) == (404, "route"), path
                closed += 1
    assert found == OPEN
    assert closed > 40


def test_allowed_hosts() -> None:
    settings = {"SPACE_HOST": "us-grad-cam.hf.space", "GRADCAM_ALLOWED_HOSTS": "a.org, *.b.org"}
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
    assert is_allowed_host("any.example", {"GRADCAM_ALLOWED_HOSTS": "*"})
    assert is_allowed_host("gpu7", {"GRADIO_SERVER_NAME": "gpu7"})


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
