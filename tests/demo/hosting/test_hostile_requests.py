"""Requests as no browser or client library would send them, against a running server."""

import http.client
import json
import os
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.session import Session, default_data

WAIT = 60  # seconds
HOSTILE = "evil.example"
META = {"meta": {"_type": "gradio.FileData"}}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=WAIT, trust_env=False) as client:
        yield client


@pytest.fixture
def no_traceback(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Any:
    """Return a check that the server has logged no traceback since the last check."""

    def check() -> None:
        captured = capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err + caplog.text
        caplog.clear()

    return check


def raw(address: str, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Send a request byte by byte as it is given; return status, headers and body."""
    url = urlsplit(address)
    assert url.hostname is not None
    with closing(socket.create_connection((url.hostname, url.port or 80), WAIT)) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read(10**6)


def get(address: str, target: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
    host = urlsplit(address).netloc
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return raw(address, "\n".join(lines))


def upload(client: httpx.Client, content: bytes, name: str) -> str:
    answer = client.post("gradio_api/upload", files={"files": (name, content)})
    answer.raise_for_status()
    (path,) = answer.json()
    return str(path)


# Files.


def test_only_files_below_the_upload_folder_are_served(
    address: str, client: httpx.Client, cat_file: Path
) -> None:
    mine = upload(client, cat_file.read_bytes(), "cat.png")
    folder = Path(mine).parents[1]
    assert get(address, f"/gradio_api/file={mine}")[0] == 200
    link = folder / f"{uuid.uuid4().hex}.png"
    link.symlink_to(cat_file)
    inner_link = folder / f"{uuid.uuid4().hex}.png"
    inner_link.symlink_to(mine)
    linked_folder = folder / uuid.uuid4().hex
    linked_folder.symlink_to(Path(mine).parent)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        site = f"127.0.0.1:{listener.getsockname()[1]}/x.png"
        refused = [
            *(f"{scheme}{site}" for scheme in ("http://", "https://", "HTTP://", "ftp://", "//")),
            *(f"http{separator}{site}" for separator in (":/", ":%2f%2f", "%3a//", ":\\\\")),
            f"http://93.184.216.34/{mine}",
            f"%09http://{site}",
            f"file://{mine}",
            "data:text/html,x",
            "",
            ".",
            "/",
            "/etc/passwd",
            str(cat_file),
            str(folder),
            str(Path(mine).parent),
            str(link),
            str(inner_link),
            f"{linked_folder}/cat.png",
            f"{folder}/../../../../../etc/passwd",
            f"{folder}/{'..' * 3}/x",
            f"{folder}/%2e%2e/%2e%2e/{Path(__file__).name}",
            f"{Path(mine).parent}/../{Path(mine).parent.name}/cat.png",
            f"{Path(mine).parent}/./cat.png",
            f"{Path(mine).parent}//cat.png",
            f"{mine}/",
            f"{mine}%00",
            f"{mine}%0a",
            f"{folder}/{'a' * 5000}",
            os.path.relpath(mine),
            f"./{os.path.relpath(mine)}",
            "~/x",
        ]
        for path in refused:
            status, headers, _ = get(address, f"/gradio_api/file={path}")
            assert (status, headers.get("x-refused")) == (404, "route"), path
        for target in (f"/gradio_api/file/{mine}", f"/gradio_api/proxy=http://{site}"):
            assert get(address, target)[0] == 404, target
        with pytest.raises(TimeoutError):  # and nobody came asking
            listener.accept()


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("cat.png", "image/png"),
        ("cat.JPG", "image/jpeg"),
        ("100%.png", "image/png"),
        ("cat.svg", None),
        ("cat.html", None),
        ("cat.xhtml", None),
        ("cat.png.html", None),
        ("cat.pdf", None),
        ("cat.xml", None),
        ("cat.js", None),
        ("cat", None),
    ],
)
def test_files_are_pictures_or_saved(client: httpx.Client, name: str, media_type: str) -> None:
    page = b"<html><script>alert(1)</script></html>"
    path = upload(client, page, name)
    answer = client.get("gradio_api/file=" + path.replace("%", "%25"))
    assert answer.content == page
    disposition = answer.headers["content-disposition"].partition(";")[0]
    assert answer.headers["content-type"] == (media_type or "application/octet-stream")
    assert disposition == ("inline" if media_type else "attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_addresses_of_files_cannot_be_guessed(
    address: str, client: httpx.Client, cat_file: Path
) -> None:
    """Whoever has the same photo finds neither another's upload nor another's results."""
    content = cat_file.read_bytes()
    first, second = (upload(client, content, "cat.png") for _ in range(2))
    assert Path(first).parent != Path(second).parent

    def results(path: str, endpoint: str) -> set[str]:
        data = default_data(address, endpoint, picture={"path": path} | META)
        url = f"gradio_api/call/{endpoint}"
        event = client.post(url, json={"data": data}).json()["event_id"]
        answer = client.get(f"{url}/{event}").text
        found = set(re.findall(r'"path": "([^"]+)"', answer))
        assert found
        assert all(client.get(f"gradio_api/file={file}").status_code == 200 for file in found)
        return found

    for endpoint in ("classify", "caption"):
        assert not results(first, endpoint) & results(second, endpoint)


# Uploads and other bodies.


def form(*parts: str) -> tuple[bytes, dict[str, str]]:
    body = "".join(f"--B\r\nContent-Disposition: form-data; {part}\r\n" for part in parts)
    return f"{body}--B--\r\n".encode(), {"Content-Type": "multipart/form-data; boundary=B"}


FILE = 'name="files"; filename="a.png"\r\n\r\nx'
FIELD = 'name="a"\r\n\r\nx'


@pytest.mark.parametrize(
    "parts",
    [
        (FIELD,),
        (FILE, FIELD),
        (FIELD, FILE),
        (FILE, FILE),
        (FILE,) * 50,
        ('name="files"\r\n\r\nx',),
        ('name="other"; filename="a.png"\r\n\r\nx',),
        ('filename="a.png"\r\n\r\nx',),
        ("x\r\n\r\nx",),
        (),
    ],
)
def test_a_form_is_one_file(client: httpx.Client, parts: tuple[str, ...]) -> None:
    content, headers = form(*parts)
    answer = client.post("gradio_api/upload", content=content, headers=headers)
    assert (answer.status_code, answer.headers["x-refused"]) == (400, "form")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "B" * 300,
        "multipart/mixed; boundary=B",
        "multipart/form-data; boundary=\xff",
    ],
)
def test_malformed_types_of_uploads(address: str, content_type: str, no_traceback: Any) -> None:
    body = form(FILE)[0]
    head = (
        f"POST /gradio_api/upload HTTP/1.1\nHost: {urlsplit(address).netloc}\n"
        f"Content-Length: {len(body)}\nContent-Type: {content_type}"
    )
    assert raw(address, head, body)[0] == 400
    no_traceback()


def test_character_sets_do_not_count(client: httpx.Client) -> None:
    for charset in ("punycode", "idna", "utf-7", "unicode_escape", "zip", "\xff", "x" * 3000):
        content, _ = form(FILE.replace("a.png", "\xe4-a.png"))
        kind = f"multipart/form-data; charset={charset}; boundary=B".encode("latin-1")
        answer = client.post("gradio_api/upload", content=content, headers={"Content-Type": kind})
        assert answer.status_code == 200
        assert Path(answer.json()[0]).name == "\xe4-a.png", charset


@pytest.mark.parametrize(
    "name", ["", ".", "..", "...", "a/../../b.png", "..\\b.png", "\x00", "%2e%2e", "n" * 4000, "/"]
)
def test_names_of_uploads_stay_in_their_folder(client: httpx.Client, name: str) -> None:
    answer = client.post("gradio_api/upload", files={"files": (name, b"x", "image/png")})
    if answer.status_code == 200:
        path = Path(answer.json()[0])
        assert path.is_file()
        assert path.parents[1] == Path(upload(client, b"x", "x")).parents[1]
        assert path.resolve() == path
    else:
        assert answer.status_code == 400


@pytest.mark.parametrize(
    "route",
    [
        "queue/join",
        "call/classify",
        "call/upload",
        "cancel",
        "reset",
        "call/upload/",
        "queue/../upload",
        "upload/",
        "%75pload%2f",
        "call%2fupload",
        "UPLOAD",
        "upload?x=/gradio_api/upload",
    ],
)
def test_bodies_are_bounded(address: str, route: str) -> None:
    """By what they say and by what they send; only what is routed as an upload may be large."""
    host = urlsplit(address).netloc
    head = f"POST /gradio_api/{route} HTTP/1.1\nHost: {host}\n" + "Content-Type: application/json\n"
    limit = 31_000_000 if route.startswith("upload?") else 70_000
    for length in ("9" * 18, str(limit), "9" * 40, "-1", "x", "1_0"):
        assert raw(address, f"{head}Content-Length: {length}")[0] in (400, 404, 413), length
    chunks = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    endless = chunks * (limit // 0x10000 + 1)
    try:
        status = raw(address, f"{head}Transfer-Encoding: chunked", endless)[0]
    except (ConnectionError, http.client.HTTPException):
        return  # closed while we were sending
    assert status in (404, 411)


# What counts as a request.

TEXTS = st.text(max_size=20) | st.sampled_from(["", "a_1", "<gradio-sep>", "/etc/passwd", "\x00"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS, inner, max_size=3)
        | st.builds(lambda path: {"path": path, "url": path} | META, inner)
    ),
    max_leaves=8,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "data": st.lists(VALUES, max_size=10) | VALUES,
        "fn_index": st.integers(-2, 40) | VALUES,
        "session_hash": st.just("abc") | VALUES,
        "event_id": st.just("0" * 32) | VALUES,
        "event_data": st.dictionaries(TEXTS, VALUES, max_size=3) | VALUES,
        "trigger_id": VALUES,
        "simple_format": VALUES,
        "batched": VALUES,
        "oauth_token": VALUES,
    },
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    route=st.sampled_from(
        ["queue/join", "call/classify", "call/page_first", "call/x", "cancel", "reset"]
    ),
    body=BODIES | VALUES,
)
def test_any_json_is_taken_or_refused(
    client: httpx.Client, no_traceback: Any, route: str, body: Any
) -> None:
    content = json.dumps(body)
    answer = client.post(f"gradio_api/{route}", content=content, headers=JSON)
    assert answer.status_code in (200, 404, 422, 503), content
    if answer.status_code == 200 and "event_id" in answer.json():
        event = answer.json()["event_id"]
        client.post("gradio_api/cancel", json=body | {"event_id": event})
    no_traceback()


@pytest.mark.parametrize(
    "body",
    [
        {"session_hash": "a_1"},
        {"session_hash": "a<gradio-sep>b"},
        {"session_hash": "a" * 65},
        {"session_hash": ""},
        {"session_hash": "\ud800"},
        {"session_hash": None},
        {"event_data": {"a": {"path": "/etc/passwd"} | META}},
        {"event_data": {"a": [1]}},
        {"event_data": float("nan")},
        {"data": [{"path": "/etc/passwd"} | META]},
        {"data": ["x"]},
        {"data": [float("inf")]},
        {"data": {}},
        {"fn_index": "0"},
        {"fn_index": 10**400},
    ],
)
def test_malformed_events_are_refused(client: httpx.Client, body: dict[str, Any]) -> None:
    valid = {"data": [], "fn_index": 0, "session_hash": "abc", "event_data": {}}
    content = json.dumps(valid | body)
    answer = client.post("gradio_api/queue/join", content=content, headers=JSON)
    assert (answer.status_code, answer.headers["x-refused"]) == (422, "invalid")
    assert len(answer.text) < 200


def test_only_pictures_are_files(address: str, client: httpx.Client, no_traceback: Any) -> None:
    """Gradio would download an address given for a text, and copy files."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        elsewhere = f"http://127.0.0.1:{listener.getsockname()[1]}/cat.png"
        for value in ({"path": elsewhere} | META, {"path": "/etc/passwd"} | META, [elsewhere]):
            data = default_data(address, "classify", target=value)
            answer = client.post("gradio_api/call/classify", json={"data": data})
            assert answer.status_code == 422
        with pytest.raises(TimeoutError):
            listener.accept()
    no_traceback()


ODD_HEADERS = [
    "X-Nothing: 1",
    "Range: bytes=0-0,1-1",
    "Range: bytes=1-0-2",
    "Origin: http://[",
    "Accept-Encoding: br;q=x, gzip",
    "Cookie: \xff=;=,;; a",
    "X-Forwarded-Host: [",
    "X-Forwarded-Proto: https, x",
    "X-Gradio-Server: http://[",
    "Content-Length: 0",
    "Upgrade: websocket\nConnection: upgrade",
]


@pytest.mark.parametrize(
    "target",
    [
        "/?page=x",
        "/quiz?page=x",
        "/config?page=x",
        "/gradio_api/info?page=x&all_endpoints=1",
        "/?" + "a=1&" * 50,
        "/?%ff=%00",
        "//",
        "//evil.example/..",
        "/..",
        "/static",
        "/static/",
        "/static/img",
        "/static/%00",
        "/static/..%2f..%2findex.html",
        "/assets/" + "a/" * 2000,
        "/assets/" + "a" * 5000,
        "/svelte/..%5c..",
        "/svelte/svelte.js%0a",
        "/browser/x/main.js",
        "/config%0a",
        "/config/",
        "/gradio_api/config",
        "/pwa_icon/9999999",
        "/gradio_api/queue/data",
        "/gradio_api/queue/data?session_hash=",
        "/gradio_api/queue/data?session_hash=unknown",
        "/gradio_api/queue/data?session_hash=a_b",
        "/gradio_api/queue/data?session_hash=a&session_hash=unknown",
        f"/gradio_api/call/classify/{'0' * 32}",
        "/gradio_api/call/classify/x",
        "/gradio_api/heartbeat/abc",
        "/gradio_api/upload_progress?upload_id=x",
        "/gradio_api/deep%5flink?session_hash=x",
        "/gradio_api/deep%255flink?session_hash=x",
        "/gradio_api/deep_link?session_hash=x",
        "/gradio_api/startup-events?x=y",
    ],
)
def test_no_get_request_is_an_error_of_ours(address: str, target: str, no_traceback: Any) -> None:
    for header in ODD_HEADERS:
        assert get(address, target, header)[0] < 500, header
    no_traceback()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:99999", 400),
        ("127.0.0.1:", 400),
        ("127.0.0.1:x", 400),
        ("127.0.0.1@evil.example", 400),
        ("evil.example#127.0.0.1", 400),
        ("[::1", 400),
        ("[::1]:80", 200),
        ("[::1%25eth0]", 400),
        ("localhost/x", 400),
        ("LOCALHOST", 200),
        ("localhost.", 400),
        ("\xe9", 400),
        ("", 400),
    ],
)
def test_host_headers(address: str, host: str, status: int, no_traceback: Any) -> None:
    for path in ("/config", "/gradio_api/info"):
        found, _, _ = raw(address, f"GET {path} HTTP/1.1\nHost: {host}\nConnection: close")
        assert found == status
    no_traceback()


def test_unknown_sessions_are_told_so(client: httpx.Client, no_traceback: Any) -> None:
    answer = client.get("gradio_api/queue/data", params={"session_hash": "unknown"})
    message = json.loads(answer.text.removeprefix("data:"))
    assert (message["msg"], message["session_not_found"]) == ("unexpected_error", True)
    answer = client.get(f"gradio_api/call/classify/{'0' * 32}")
    assert (answer.status_code, answer.headers["x-refused"]) == (404, "session")
    no_traceback()


def test_cancelling_works_beside_odd_sessions(address: str, client: httpx.Client) -> None:
    """Gradio tells its tasks apart by names with the session in them."""
    odd = {"data": [], "fn_index": 0, "session_hash": "a<gradio-sep>b", "event_data": {"id": 1}}
    assert client.post("gradio_api/queue/join", json=odd).status_code == 422
    mine = {"fn_index": 0, "session_hash": "abc", "event_id": "0" * 32}
    assert client.post("gradio_api/cancel", json=mine).status_code == 200


# What one request tells another.


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": HOSTILE},
        {"X-Forwarded-Host": f"{HOSTILE}, 127.0.0.1"},
        {"X-Gradio-Server": f"http://{HOSTILE}"},
        {"Forwarded": f"host={HOSTILE}"},
        {"X-Forwarded-Host": HOSTILE, "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
        {"X-Original-URL": f"http://{HOSTILE}/", "X-Forwarded-Prefix": f"//{HOSTILE}"},
        {"Host": "203.0.113.9"},
        {"Origin": f"http://{HOSTILE}", "Referer": f"http://{HOSTILE}/"},
    ],
)
def test_nothing_of_a_request_is_told_to_others(start_fresh: str, headers: dict[str, str]) -> None:
    paths = ("gradio_api/info", "gradio_api/info?all_endpoints=True", "config", "", "quiz")
    paths += ("manifest.json", "theme.css")
    with httpx.Client(base_url=start_fresh, timeout=WAIT, trust_env=False) as client:
        for path in paths:
            assert HOSTILE not in client.get(path, headers=headers).text
        for path in paths:
            text = client.get(path).text
            assert HOSTILE not in text
            assert "203.0.113.9" not in text
        assert start_fresh.rstrip("/") in client.get("gradio_api/info").text


@pytest.fixture(scope="module")
def start_fresh() -> Iterator[str]:
    """A server that has answered nobody yet."""
    from demo.build import build_demo, launch_options
    from demo.compute.local import LocalCompute

    demo = build_demo(LocalCompute())
    _, url, _ = demo.launch(**launch_options(), prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()


def test_pages_of_other_sites_read_nothing(client: httpx.Client) -> None:
    for origin in (f"https://{HOSTILE}", "null", "http://localhost:1"):
        for path in ("", "config", "gradio_api/info", "gradio_api/queue/status"):
            answer = client.get(path, headers={"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers, (origin, path)


# Slow clients.


@pytest.mark.slow
def test_half_sent_requests_are_closed(address: str) -> None:
    """Heads, bodies of JSON and of uploads; whoever sends the whole request is answered."""
    url = urlsplit(address)
    host = f"Host: {url.netloc}\r\n"
    post = "POST /gradio_api/{} HTTP/1.1\r\n" + host + "Content-Length: 1000\r\nContent-Type: {}"
    upload_type = "multipart/form-data; boundary=B"
    halves = [
        "",
        "GET",
        f"GET / HTTP/1.1\r\n{host}",
        f"GET /config HTTP/1.1\r\n{host}\r\nGET / HTTP/1.1\r\n",
        post.format("queue/join", "application/json") + "\r\n\r\n{",
        post.format("upload", upload_type) + "\r\n\r\n--B\r\n",
        post.format("none", "text/plain") + "\r\n\r\n",
    ]
    opened = []
    for half in halves:
        connection = socket.create_connection((url.hostname or "", url.port or 80), WAIT)
        connection.sendall(half.encode())
        opened.append(connection)
    try:
        for half, connection in zip(halves, opened, strict=True):
            try:
                while connection.recv(2**20):
                    pass
            except ConnectionResetError:
                pass
            except TimeoutError:
                pytest.fail(f"still open: {half!r}")
    finally:
        for connection in opened:
            connection.close()
    assert httpx.get(f"{address}config").status_code == 200


def test_a_session_works_as_the_page_uses_it(address: str) -> None:
    """What all the refusals above must leave alone."""
    session = Session(address)
    request = {"task": "classification", "example": "cat", "method": "grad-cam"}
    session.send("first", id=1, **request)
    with session.messages() as messages:
        answer = next(each for each in messages if each["msg"] == "process_completed")
    assert answer["output"]["data"][0]["answer"]["target"]
