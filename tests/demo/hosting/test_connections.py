"""Connections: which there are, and what watches them."""

import asyncio
import contextlib
import logging
import socket
from urllib.parse import urlsplit

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


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_nothing_becomes_a_websocket(address: str, version: str) -> None:
    """These are connections of another kind, which nothing watches."""
    head = f"GET /robots.txt HTTP/{version}\r\nHost: HOST\r\n{UPGRADE}\r\n"
    with connected(address, head) as connection:
        assert connection.recv(12).endswith(b" 200")


def test_half_a_head_is_closed_after_upgrades(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_HEAD_TIMEOUT", 0.5)
    for _ in range(50):
        connected(address, f"GET /robots.txt HTTP/1.1\r\nHost: HOST\r\n{UPGRADE}\r\n").close()
    half = connected(address, "GET / HTTP/1.1\r\n")
    with half, contextlib.suppress(ConnectionResetError):
        assert half.recv(1) == b""


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
