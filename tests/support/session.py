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

    def __init__(self, address: str, source: str = "127.0.0.1") -> None:
        """Open a page.

        Args:
            address: Of the server.
            source: The client's own address; all of 127.0.0.0/8 are this machine.
        """
        self.name = uuid.uuid4().hex
        # Gradio closes a connection after some errors.
        transport = httpx.HTTPTransport(verify=False, local_address=source, retries=1)
        self.client = httpx.Client(base_url=address, timeout=WAIT, transport=transport)
        dependencies = self.client.get("config").json()["dependencies"]
        self._ids = {target[1]: each["id"] for each in dependencies for target in each["targets"]}

    def send(self, event: str, **payload: Any) -> str:
        """Trigger one of the page's events; return Gradio's name for the request."""
        body = {"fn_index": self._ids[event], "data": [], "session_hash": self.name}
        joined = self.client.post("gradio_api/queue/join", json={**body, "event_data": payload})
        joined.raise_for_status()
        return str(joined.json()["event_id"])

    def cancel(self, event: str, request: str) -> None:
        """Cancel a request as Gradio's own page does."""
        body = {"session_hash": self.name, "fn_index": self._ids[event], "event_id": request}
        self.client.post("gradio_api/cancel", json=body).raise_for_status()

    def upload(self, content: bytes) -> str:
        """Upload a file; return its path on the server."""
        sent = self.client.post("gradio_api/upload", files={"files": ("photo.jpg", content)})
        sent.raise_for_status()
        return str(sent.json()[0])

    def answer(self, event: str, **payload: Any) -> dict[str, Any]:
        """Trigger an event, and wait for its answer."""
        request = self.send(event, **payload)
        with self.messages() as messages:
            for message in messages:
                if message["msg"] == "process_completed" and message["event_id"] == request:
                    found: dict[str, Any] = message["output"]["data"][0]
                    return found
        raise AssertionError("The stream ended.")

    @contextmanager
    def messages(self) -> Iterator[Iterator[dict[str, Any]]]:
        """The server's messages; leaving the block closes the page."""
        url = "gradio_api/queue/data"
        with self.client.stream("GET", url, params={"session_hash": self.name}) as stream:
            lines = stream.iter_lines()
            yield (json.loads(line.removeprefix("data: ")) for line in lines if line)


def default_data(address: str, endpoint: str, **given: Any) -> list[Any]:
    """Return the data of a raw call of an endpoint: what is given, else the defaults."""
    info = httpx.get(f"{address}gradio_api/info", timeout=WAIT).json()
    parameters = info["named_endpoints"][f"/{endpoint}"]["parameters"]
    return [given.get(each["parameter_name"], each.get("parameter_default")) for each in parameters]


RISE = {"task": "classification", "example": "cat", "method": "rise"}  # slow work
