"""The disk quota of uploads and results."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from demo import present
from demo.compute.local import LocalCompute
from demo.hosting.disk_quota import quota, use_own_folder
from gradcam_core import Query

LIMIT = 2_000_000
FILE = os.urandom(300_000)


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def folder(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The server's upload folder, empty, with a small quota."""
    monkeypatch.setattr(quota, "limit", 0)
    quota.enforce()
    monkeypatch.setattr(quota, "limit", LIMIT)
    yield Path(os.environ["GRADIO_TEMP_DIR"])


def upload(address: str, *parts: tuple[str, bytes]) -> httpx.Response:
    files = [(field, (f"{os.urandom(4).hex()}.jpg", content)) for field, content in parts]
    url = f"{address}gradio_api/upload"
    return httpx.post(url, files=files, timeout=30, verify=False)  # loading certificates is slow


def one_file(address: str) -> None:
    upload(address, ("files", os.urandom(4) + FILE))


def many_files(address: str) -> None:
    upload(address, *[("files", os.urandom(4) + FILE[:20_000])] * 50)


def another_field(address: str) -> None:
    upload(address, ("pictures", FILE))


def unfinished(address: str) -> None:
    """The connection closes in the middle of the file."""
    host = urlsplit(address)
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host.netloc}\r\nContent-Length: 900000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: "
        'form-data; name="files"; filename="x"\r\n\r\n'
    )
    with socket.create_connection((host.hostname, host.port)) as connection:
        connection.sendall(head.encode() + FILE)


def test_uploads_stay_within_the_quota(address: str, folder: Path) -> None:
    for _ in range(10):
        one_file(address)
        assert used(folder) <= LIMIT + len(FILE)
    quota.enforce()
    assert LIMIT / 3 < used(folder) <= LIMIT  # the newest files are kept


def test_refused_and_unfinished_uploads_leave_nothing(address: str, folder: Path) -> None:
    before = used(folder)
    for kind in (many_files, another_field, unfinished):
        kind(address)
        assert used(folder) == before
    one_file(address)
    assert used(folder) > before + len(FILE)


def test_the_oldest_files_are_deleted_first(folder: Path, address: str) -> None:
    left = folder / "of-a-killed-process" / "result.png"
    left.parent.mkdir(parents=True)
    left.write_bytes(FILE)
    os.utime(left, (time.time() - 3600,) * 2)
    os.utime(left.parent, (time.time() - 3600,) * 2)
    newest = [upload(address, ("files", os.urandom(4) + FILE)).json()[0] for _ in range(7)][-1]
    assert not left.exists()
    quota.enforce()
    assert not left.parent.exists()
    assert Path(newest).is_file()


def test_files_older_than_a_day_are_deleted(folder: Path, address: str) -> None:
    (path,) = upload(address, ("files", FILE)).json()
    quota.enforce()
    assert Path(path).is_file()
    os.utime(path, (time.time() - 25 * 3600,) * 2)
    quota.enforce()
    assert not Path(path).exists()


def test_results_count(folder: Path, cat_file: Path) -> None:
    explanation = LocalCompute().explain(cat_file, Query())
    for _ in range(4):
        kept = present.write_file([explanation], "zip", "jet", 0.5)
        assert used(folder) <= LIMIT
    assert kept.is_file()


def test_the_upload_folder_is_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other files in `GRADIO_TEMP_DIR` are not ours to delete."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "shared"))
    for _ in range(2):
        use_own_folder()
        assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path / "shared" / "gradcam-demo")
    assert (tmp_path / "shared" / "gradcam-demo").is_dir()
