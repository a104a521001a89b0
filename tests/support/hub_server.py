"""A local server that serves folders as the Hugging Face Hub serves models."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_COMMIT = "0" * 40


@contextmanager
def serve(models: dict[str, Path], seconds: float = 0.0) -> Iterator[str]:
    """Serve models.

    Args:
        models: "owner/name" -> folder.
        seconds: How long the download of a file takes.

    Yields:
        The hub's address.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            path = self.path.split("?")[0].strip("/")
            for name, folder in models.items():
                if path in (f"api/models/{name}", f"api/models/{name}/revision/main"):
                    return self._send(_description(name, folder), with_body, "application/json")
                if path.startswith(f"api/models/{name}/tree/"):
                    return self._send(_tree(folder), with_body, "application/json")
                for commit in ("main", _COMMIT):
                    prefix = f"{name}/resolve/{commit}/"
                    if path.startswith(prefix):
                        content = (folder / path.removeprefix(prefix)).read_bytes()
                        return self._send(content, with_body, "application/octet-stream")
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None

        def _send(self, content: bytes, with_body: bool, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", _COMMIT)
            self.end_headers()
            if with_body:
                step = max(1, len(content) // 20)
                for start in range(0, len(content), step):
                    self.wfile.write(content[start : start + step])
                    time.sleep(seconds / 20 if len(content) > 100_000 else 0)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _description(name: str, folder: Path) -> bytes:
    siblings = [{"rfilename": path.name, "size": path.stat().st_size} for path in _files(folder)]
    return json.dumps(
        {
            "id": name,
            "modelId": name,
            "sha": _COMMIT,
            "private": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "cardData": {"license": "apache-2.0"},
            "siblings": siblings,
        }
    ).encode()


def _tree(folder: Path) -> bytes:
    return json.dumps(
        [
            {
                "type": "file",
                "path": path.name,
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
            }
            for path in _files(folder)
        ]
    ).encode()
