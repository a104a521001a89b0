"""Many visitors at once: answers per second, response times, wrong answers, and memory.

    python -m benchmarks.load --users 1 --users 8 --users 32 --users 64 --seconds 60

Visitors send the page's requests, for all three tasks. Every fourth photo is new to the server,
every sixteenth is hostile (`tests.support.bombs`). A new photo is an example with random bytes
appended, so every answer can be compared with the one that was computed alone.
"""

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer

from demo.examples import example_pictures
from tests.support import bombs

_TIMEOUT = 600  # seconds
_HOSTILE = ("bmp_deltas.bmp", "jpeg_scans.jpeg", "png_exif_table.png", "webp_exif_table.webp")
_QUERIES: tuple[dict[str, Any], ...] = (
    {"task": "classification"},
    {"task": "captioning"},
    {"task": "vqa", "question": "What animal is this?"},
    {"task": "classification", "target": "tabby"},
    {"task": "vqa", "question": "What is this?"},
)


@dataclass
class Load:
    """The result of a run.

    Attributes:
        seconds: Response time of each good answer, without uploads.
        busy: Requests refused because too many wait.
        errors: Other failures.
        wrong: Answers that differ from the one computed alone.
        hostile: Hostile files that were refused.
        beside: Answers of the other model.
    """

    seconds: list[float] = field(default_factory=list)
    busy: int = 0
    errors: list[str] = field(default_factory=list)
    wrong: int = 0
    hostile: int = 0
    beside: int = 0


def main(
    users: Annotated[list[int], typer.Option(help="How many visitors at once")] = [1, 8, 32, 64],  # noqa: B006
    seconds: Annotated[float, typer.Option(help="For each number of visitors")] = 60.0,
    running: Annotated[
        str | None, typer.Option(help="Address of a running server; else a new one is started")
    ] = None,
    beside: Annotated[
        str | None,
        typer.Option(help="Another model, which one more visitor uses for new photos"),
    ] = None,
) -> None:
    """Print throughput, times, errors and memory for each number of visitors."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(folder) if running is None else nullcontext((running, None)) as (address, process),
    ):
        alone = asyncio.run(answers_alone(address))
        if beside is not None:  # load it
            asyncio.run(drive(address, 0, alone, lambda turn: turn < 1, beside))
        print(f"after all answers alone: {_usage(process, folder)}", flush=True)
        for count in users:
            start = time.monotonic()
            load = asyncio.run(drive(address, count, alone, _until(start + seconds), beside))
            took = time.monotonic() - start
            p50, p95, p99 = np.percentile(load.seconds or [0], [50, 95, 99])
            print(
                f"{count:3} visitors: {len(load.seconds) / took:.2f} answers/s; "
                f"p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s; {load.busy} refused as busy, "
                f"{len(load.errors)} errors, {load.wrong} wrong, {load.hostile} hostile; "
                f"{_usage(process, folder)}",
                flush=True,
            )
            if beside is not None:
                print(
                    f"    {beside} at the same time: {load.beside / took:.2f} answers/s", flush=True
                )
            for error in dict.fromkeys(load.errors):
                print("   ", error[:300])


def _until(end: float) -> Callable[[int], bool]:
    return lambda _: time.monotonic() < end


async def answers_alone(address: str) -> dict[str, Any]:
    """Return the server's answer to each query about each example, one after the other."""
    async with _client(address) as client:
        lane, page = await _first_lane(client), uuid.uuid4().hex
        return {
            _key(name, query): _content(await _send(client, lane, page, 0, example=name, **query))
            for name in _photos()
            for query in _QUERIES
        }


async def drive(
    address: str,
    users: int,
    alone: dict[str, Any],
    more: Callable[[int], bool],
    beside: str | None = None,
) -> Load:
    """Run visitors at the same time.

    Args:
        address: Of the server.
        users: How many.
        alone: From `answers_alone`.
        more: Whether a visitor who has sent this many requests sends another one.
        beside: A model that one more visitor uses; its answers are counted separately.
    """
    load = Load()
    async with _client(address) as client:
        lane = await _first_lane(client)
        visits = [_visit(client, lane, user, alone, more, load) for user in range(users)]
        if beside is not None:
            visits.append(_visit_beside(client, lane, beside, more, load))
        await asyncio.gather(*visits)
    return load


async def _visit_beside(
    client: httpx.AsyncClient, lane: int, model: str, more: Callable[[int], bool], load: Load
) -> None:
    page, photos = uuid.uuid4().hex, itertools.cycle(_photos().values())
    for turn, photo in enumerate(photos):
        if not more(turn):
            return
        path = await _upload(client, photo.read_bytes() + os.urandom(8), "photo.jpg")
        reply = await _send(client, lane, page, turn, upload=path, model=model)
        if "answer" in reply:
            load.beside += 1
        else:
            load.errors.append(str(reply))


async def _visit(
    client: httpx.AsyncClient,
    lane: int,
    user: int,
    alone: dict[str, Any],
    more: Callable[[int], bool],
    load: Load,
) -> None:
    names, page = list(_photos()), uuid.uuid4().hex
    for turn in itertools.count():
        if not more(turn):
            return
        number = user * 7 + turn  # so that visitors differ
        name, query = names[number % len(names)], _QUERIES[number % len(_QUERIES)]
        try:
            if number % 16 == 15:
                kind = _HOSTILE[number // 16 % len(_HOSTILE)]
                path = await _upload(client, _bomb(kind) + os.urandom(8), kind)
                reply = await _send(client, lane, page, turn, upload=path, **query)
                load.hostile += "error" in reply and "answer" not in reply
                continue
            where = {"example": name}
            if number % 4 == 3:
                content = _photos()[name].read_bytes() + os.urandom(8)
                where = {"upload": await _upload(client, content, "photo.jpg")}
            start = time.monotonic()
            reply = await _send(client, lane, page, turn, **where, **query)
            load.seconds.append(time.monotonic() - start)
            load.wrong += _content(reply) != alone[_key(name, query)]
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                load.errors.append(repr(error))
                continue
            load.busy += 1
            await asyncio.sleep(1)
        except Exception as error:  # every failure counts
            load.errors.append(repr(error))


def _photos() -> dict[str, Path]:
    return dict(itertools.islice(example_pictures().items(), 6))


@cache
def _bomb(kind: str) -> bytes:
    return bombs.BOMBS[kind]()


def _client(address: str) -> httpx.AsyncClient:
    # New connections only: the server closes those that are idle for five seconds.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=address, timeout=_TIMEOUT, limits=limits)


def _key(name: str, query: dict[str, Any]) -> str:
    return json.dumps([name, query])


def _content(reply: dict[str, Any]) -> dict[str, Any]:
    """Return what is the same in every answer to a query, whatever the file's name."""
    return {**reply["answer"], "milliseconds": None, "source": None}


async def _first_lane(client: httpx.AsyncClient) -> int:
    known = (await client.get("config")).json()["dependencies"]
    return next(each["id"] for each in known for target in each["targets"] if target[1] == "first")


async def _upload(client: httpx.AsyncClient, content: bytes, name: str) -> str:
    answer = await client.post("gradio_api/upload", files={"files": (name, content)})
    answer.raise_for_status()
    return str(answer.json()[0])


async def _send(
    client: httpx.AsyncClient, lane: int, page: str, number: int, **event: Any
) -> dict[str, Any]:
    """Send a request as an open page does, and return the answer."""
    body = {"fn_index": lane, "data": [], "session_hash": page}
    event = {"id": number, **event}
    joined = await client.post("gradio_api/queue/join", json={**body, "event_data": event})
    joined.raise_for_status()
    reply = None
    url = "gradio_api/queue/data"
    async with client.stream("GET", url, params={"session_hash": page}) as stream:
        async for line in stream.aiter_lines():  # to its end, else the next request is cancelled
            if '"process_completed"' in line:
                reply = json.loads(line.removeprefix("data: "))["output"]["data"][0]
    if reply is None:
        raise RuntimeError("The connection was closed without an answer.")
    return dict(reply)


@contextmanager
def serving(folder: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the app with an upload folder; yields its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": folder}
    root = Path(__file__).parents[1]
    command = [sys.executable, "app.py"]
    process = subprocess.Popen(command, cwd=root, env=os.environ | settings)
    address = f"http://127.0.0.1:{port}/"
    try:
        while True:
            try:
                urllib.request.urlopen(address, timeout=_TIMEOUT).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield address, process
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children so far."""
    own = Path(f"/proc/{pid}")
    user, system = (own / "stat").read_text("ascii").rpartition(")")[2].split()[11:13]
    children = (file.read_text("ascii").split() for file in own.glob("task/*/children"))
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") + sum(
        cpu_seconds(int(child)) for some in children for child in some
    )


def _usage(process: subprocess.Popen[bytes] | None, folder: str) -> str:
    """Return what a server uses: memory without its decoders, CPU time with them."""
    if process is None:
        return "usage unknown"
    own = Path(f"/proc/{process.pid}")
    memory = int((own / "status").read_text("ascii").partition("VmRSS:")[2].split()[0]) / 1000
    written = [file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()]
    return (
        f"{memory:.0f} MB, {cpu_seconds(process.pid):.0f} CPU seconds, "
        f"{len([*(own / 'fd').iterdir()])} open files, "
        f"{len(written)} uploads of {sum(written) / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    typer.run(main)
