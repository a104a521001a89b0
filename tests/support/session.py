"""A client's session with the demo, at the level of Gradio's HTTP routes."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

WAIT = 60  # seconds


class Session:
    """An open page, as the server sees it."""

    def __init__(self, address: str) -> None:
        self._hash = uuid.uuid4().hex
        self._client = httpx.Client(base_url=address, timeout=WAIT, verify=False)
        dependencies = self._client.get("config").json()["dependencies"]
        self._ids = {target[1]: each["id"] for each in dependencies for target in each["targets"]}

    def send(self, event: str, **payload: Any) -> None:
        """Trigger one of the page's events."""
        body = {"fn_index": self._ids[event], "data": [], "session_hash": self._hash}
        joined = self._client.post("gradio_api/queue/join", json={**body, "event_data": payload})
        joined.raise_for_status()

    @contextmanager
    def messages(self) -> Iterator[Iterator[dict[str, Any]]]:
        """The server's messages; leaving the block closes the page."""
        url = "gradio_api/queue/data"
        with self._client.stream("GET", url, params={"session_hash": self._hash}) as stream:
            lines = stream.iter_lines()
            yield (json.loads(line.removeprefix("data: ")) for line in lines if line)


def default_data(address: str, endpoint: str, **given: Any) -> list[Any]:
    """Return the data of a raw call of an endpoint: what is given, else the defaults."""
    info = httpx.get(f"{address}gradio_api/info", timeout=WAIT).json()
    parameters = info["named_endpoints"][f"/{endpoint}"]["parameters"]
    return [given.get(each["parameter_name"], each.get("parameter_default")) for each in parameters]


RISE = {"task": "classification", "example": "cat", "method": "rise"}  # slow work
