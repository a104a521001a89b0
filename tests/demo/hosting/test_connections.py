"""Connections: which there are, and what watches them."""

import asyncio
import contextlib
import logging
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import Request

from demo.hosting import connections
from demo.hosting.gradio_internals import address_of
from demo.hosting.periodic import periodically

WAIT = 60  # seconds
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def connected(address: str, head: str) -> socket.socket:
    url = urlsplit(address)
    connection = socket.create_connection((url.hostname or "", url.port or 80), WAIT)
    connection.sendall(head.replace("HOST", url.netloc).encode())
    return connection


def status(address: str, head: str) -> bytes:
    with connected(address, f"{head}\r\nHost: HOST\r\n{UPGRADE}\r\n") as connection:
        return connection.recv(12)[-3:]


def test_nothing_becomes_a_websocket(address: str) -> None:
    """These are connections of another kind, which nothing watches."""
    end = time.monotonic() + WAIT
    while status(address, "GET /robots.txt HTTP/1.1") != b"200":  # the watch has to begin
        assert time.monotonic() < end
        time.sleep(0.1)
    assert status(address, "GET /robots.txt HTTP/1.0") == b"200"


def test_half_a_head_is_closed_after_upgrades(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_HEAD_TIMEOUT", 0.5)
    for _ in range(50):
        connected(address, f"GET /robots.txt HTTP/1.1\r\nHost: HOST\r\n{UPGRADE}\r\n").close()
    half = connected(address, "GET / HTTP/1.1\r\n")
    with half, contextlib.suppress(ConnectionResetError):
        assert half.recv(1) == b""


@pytest.mark.parametrize(
    "request_line",
    ["GET /robots.txt", "HEAD /", "POST /gradio_api/upload", "POST /gradio_api/reset"],
)
def test_chunks_are_refused(address: str, request_line: str) -> None:
    """A body of 64 KiB in chunks of a byte keeps the event loop for seconds."""
    head = f"{request_line} HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(address, head + "1\r\nx\r\n" * 100) as connection:
        assert connection.recv(12).endswith(b" 411")


def test_requests_sent_at_once_are_answered_one_after_the_other(address: str) -> None:
    """Also where they are parsed in parts."""
    head = f"Host: HOST\r\nX-Filler: {'x' * 5000}\r\n"
    many = f"GET /robots.txt HTTP/1.1\r\n{head}\r\n" * 60
    last = f"GET /quiz HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
    with connected(address, many + last) as connection:
        answers = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert answers.count(b"HTTP/1.1 200") == 61
    assert b"</html>" in answers[-200:]


@pytest.mark.parametrize("rest", ["x\r\n\r\n", "\0" * 100_000, "GET / HTTP/9.9\r\n\r\n"])
def test_what_is_malformed_after_a_request_ends_the_connection_only(
    address: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, rest: str
) -> None:
    """Whether its answer has begun, is under way or was sent."""
    for path in ("/robots.txt", "/", "/none"):
        for body in ("", "Transfer-Encoding: chunked\r\n"):
            head = f"GET {path} HTTP/1.1\r\nHost: HOST\r\n{body}\r\n"
            with (
                contextlib.suppress(ConnectionError),
                connected(address, head + rest) as connection,
            ):
                for _ in iter(lambda: connection.recv(2**16), b""):
                    pass
    captured = capfd.readouterr()
    assert "Traceback" not in captured.out + captured.err + caplog.text
    assert httpx.get(f"{address}config", timeout=WAIT).status_code == 200


def test_periodic_work_is_repeated_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        done, times = asyncio.Event(), 0

        async def work() -> None:
            nonlocal times
            times += 1
            if times < 3:
                raise OSError("a disk is gone")
            done.set()

        async with periodically(work, 0.0):
            await asyncio.wait_for(done.wait(), WAIT)

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:0:ffff::1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
def test_who_counts_as_one_client(one: str, other: str, same: bool) -> None:
    first, second = (
        address_of(Request({"type": "http", "client": (host, 1)})) for host in (one, other)
    )
    assert (first == second) == same
