"""An open page, as far as the server knows: what it asks, and what comes back."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

WAIT = 60  # seconds


class Visit:
    """An open page, as far as the server knows."""

    def __init__(self, address: str) -> None:
        self._session = uuid.uuid4().hex
        self._client = httpx.Client(base_url=address, timeout=WAIT, verify=False)
        known = self._client.get("config").json()["dependencies"]
        # The page's lanes stand in its order; each is followed by what hears of its failure.
        self._lanes = {target[1]: each["id"] for each in known for target in each["targets"]}

    def ask(self, lane: str, **event: Any) -> None:
        body = {"fn_index": self._lanes[lane], "data": [], "session_hash": self._session}
        joined = self._client.post("gradio_api/queue/join", json={**body, "event_data": event})
        joined.raise_for_status()

    @contextmanager
    def listening(self) -> Iterator[Iterator[dict[str, Any]]]:
        """What comes back; to leave the block is to leave the page."""
        url = "gradio_api/queue/data"
        with self._client.stream("GET", url, params={"session_hash": self._session}) as stream:
            lines = stream.iter_lines()
            yield (json.loads(line.removeprefix("data: ")) for line in lines if line)


RISE = {"task": "classification", "example": "cat", "method": "rise"}
