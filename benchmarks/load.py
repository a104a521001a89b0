"""Many visitors at once: what is answered, how soon, whether rightly, and what memory it takes.

    python -m benchmarks.load --users 1 --users 8 --users 32 --users 64 --seconds 60

Visitors ask as the page does, in all three tabs; every fourth photo is one that the server has not
seen, every sixteenth is hostile (tests/bombs.py). A new photo is an example with other bytes at its
end: so every answer can be compared with the one that was computed alone.
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

_PATIENCE = 600  # seconds
_HOSTILE = ("bmp_deltas.bmp", "jpeg_scans.jpeg", "png_exif_table.png", "webp_exif_table.webp")
_ASKED: tuple[dict[str, Any], ...] = (
    {"task": "classification"},
    {"task": "captioning"},
    {"task": "vqa", "question": "What animal is this?"},
    {"task": "classification", "target": "tabby"},
    {"task": "vqa", "question": "What is this?"},
)


@dataclass
class Load:
    """What came back.

    Attributes:
        seconds: Of each good answer, from asking to having it; uploads are not counted.
        busy: Requests refused because too many wait.
        errors: What else went wrong.
        wrong: Answers that differ from the one computed alone.
        hostile: Hostile files that were answered with a sentence.
        beside: Answers of the model that is asked beside.
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
        str | None, typer.Option(help="Address of a server to ask in place of a new one")
    ] = None,
    beside: Annotated[
        str | None,
        typer.Option(help="A model that one visitor more asks of new photos all the time"),
    ] = None,
) -> None:
    """Print throughput, times, errors and memory for each number of visitors."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(folder) if running is None else nullcontext((running, None)) as (address, process),
    ):
        alone = asyncio.run(answers_alone(address))
        if beside is not None:  # its network is loaded, wherever it is
            asyncio.run(drive(address, 0, alone, lambda turn: turn < 1, beside))
        print(f"after all answers alone: {_held(process, folder)}", flush=True)
        for count in users:
            start = time.monotonic()
            load = asyncio.run(drive(address, count, alone, _until(start + seconds), beside))
            took = time.monotonic() - start
            p50, p95, p99 = np.percentile(load.seconds or [0], [50, 95, 99])
            print(
                f"{count:3} visitors: {len(load.seconds) / took:.2f} answers/s; "
                f"p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s; {load.busy} told busy, "
                f"{len(load.errors)} errors, {load.wrong} wrong, {load.hostile} hostile; "
                f"{_held(process, folder)}",
                flush=True,
            )
            if beside is not None:
                print(f"    beside them {beside}: {load.beside / took:.2f} answers/s", flush=True)
            for error in dict.fromkeys(load.errors):
                print("   ", error[:300])


def _until(end: float) -> Callable[[int], bool]:
    return lambda _: time.monotonic() < end


async def answers_alone(address: str) -> dict[str, Any]:
    """Return what the server says of each example to each request, asked one after the other."""
    async with _client(address) as client:
        lane, page = await _first_lane(client), uuid.uuid4().hex
        return {
            _key(name, asked): _told(await _ask(client, lane, page, 0, example=name, **asked))
            for name in _photos()
            for asked in _ASKED
        }


async def drive(
    address: str,
    users: int,
    alone: dict[str, Any],
    more: Callable[[int], bool],
    beside: str | None = None,
) -> Load:
    """Let visitors ask at once.

    Args:
        address: Of the server.
        users: How many.
        alone: From `answers_alone`.
        more: Whether a visitor who has asked so many times asks once more.
        beside: A model that another one asks; its answers are counted apart.
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
        asked = {"task": "classification", "model": model}
        reply = await _ask(client, lane, page, turn, upload=path, **asked)
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
        number = user * 7 + turn  # so that they do not all ask the same
        name, asked = names[number % len(names)], _ASKED[number % len(_ASKED)]
        try:
            if number % 16 == 15:
                kind = _HOSTILE[number // 16 % len(_HOSTILE)]
                path = await _upload(client, _bomb(kind) + os.urandom(8), kind)
                reply = await _ask(client, lane, page, turn, upload=path, **asked)
                load.hostile += "error" in reply and "answer" not in reply
                continue
            where = {"example": name}
            if number % 4 == 3:
                content = _photos()[name].read_bytes() + os.urandom(8)
                where = {"upload": await _upload(client, content, "photo.jpg")}
            start = time.monotonic()
            reply = await _ask(client, lane, page, turn, **where, **asked)
            load.seconds.append(time.monotonic() - start)
            load.wrong += _told(reply) != alone[_key(name, asked)]
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                load.errors.append(repr(error))
                continue
            load.busy += 1
            await asyncio.sleep(1)
        except Exception as error:  # all that can go wrong is to be counted
            load.errors.append(repr(error))


def _photos() -> dict[str, Path]:
    return dict(itertools.islice(example_pictures().items(), 6))


@cache
def _bomb(kind: str) -> bytes:
    return bombs.BOMBS[kind]()


def _client(address: str) -> httpx.AsyncClient:
    # No connection is used twice: the server closes those that are idle for five seconds.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=address, timeout=_PATIENCE, limits=limits)


def _key(name: str, asked: dict[str, Any]) -> str:
    return json.dumps([name, asked])


def _told(reply: dict[str, Any]) -> dict[str, Any]:
    """Return of an answer what must always be the same."""
    return {**reply["answer"], "milliseconds": None}


async def _first_lane(client: httpx.AsyncClient) -> int:
    known = (await client.get("config")).json()["dependencies"]
    return next(each["id"] for each in known for target in each["targets"] if target[1] == "first")


async def _upload(client: httpx.AsyncClient, content: bytes, name: str) -> str:
    answer = await client.post("gradio_api/upload", files={"files": (name, content)})
    answer.raise_for_status()
    return str(answer.json()[0])


async def _ask(
    client: httpx.AsyncClient, lane: int, page: str, number: int, **event: Any
) -> dict[str, Any]:
    """Ask as an open page does, and return the answer."""
    body = {"fn_index": lane, "data": [], "session_hash": page}
    event = {"id": number, **event}
    joined = await client.post("gradio_api/queue/join", json={**body, "event_data": event})
    joined.raise_for_status()
    reply = None
    url = "gradio_api/queue/data"
    async with client.stream("GET", url, params={"session_hash": page}) as stream:
        async for line in stream.aiter_lines():  # to its end, or what is asked next is given up
            if '"process_completed"' in line:
                reply = json.loads(line.removeprefix("data: "))["output"]["data"][0]
    if reply is None:
        raise RuntimeError("The connection was closed without an answer.")
    return dict(reply)


@contextmanager
def serving(folder: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the app with an upload folder; give its address, and its process."""
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
                urllib.request.urlopen(address, timeout=_PATIENCE).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield address, process
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its children, its decoders, have taken so far."""
    own = Path(f"/proc/{pid}")
    user, system = (own / "stat").read_text("ascii").rpartition(")")[2].split()[11:13]
    children = (file.read_text("ascii").split() for file in own.glob("task/*/children"))
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") + sum(
        cpu_seconds(int(child)) for some in children for child in some
    )


def _held(process: subprocess.Popen[bytes] | None, folder: str) -> str:
    """Say what a server holds (memory without its decoders), and what CPU it took (with them)."""
    if process is None:
        return "what it holds is not known from here"
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
