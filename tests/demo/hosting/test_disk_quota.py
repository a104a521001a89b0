"""What uploads and results take on the disk, whatever made them."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from demo import present
from demo.compute import service
from demo.hosting import disk_quota as disk

LIMIT = 2_000_000
FILE = os.urandom(300_000)


def taken(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def folder(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The server's upload folder, empty, with a small budget."""
    monkeypatch.setattr(disk, "LIMIT", 0)
    disk.tidy()
    monkeypatch.setattr(disk, "LIMIT", LIMIT)
    yield Path(os.environ["GRADIO_TEMP_DIR"])


def upload(address: str, *parts: tuple[str, bytes]) -> httpx.Response:
    files = [(field, (f"{os.urandom(4).hex()}.jpg", content)) for field, content in parts]
    url = f"{address}gradio_api/upload"
    return httpx.post(url, files=files, timeout=30, verify=False)  # certificates are slow to read


def of_one(address: str) -> None:
    upload(address, ("files", os.urandom(4) + FILE))


def of_many(address: str) -> None:
    upload(address, *[("files", os.urandom(4) + FILE[:20_000])] * 50)


def of_another_field(address: str) -> None:
    upload(address, ("pictures", FILE))


def that_breaks_off(address: str) -> None:
    """The connection closes in the middle of the file."""
    host = urlsplit(address)
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host.netloc}\r\nContent-Length: 900000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: "
        'form-data; name="files"; filename="x"\r\n\r\n'
    )
    before = begun()
    with socket.create_connection((host.hostname, host.port)) as connection:
        connection.sendall(head.encode() + FILE)
        while not begun() - before:
            time.sleep(0.01)


def begun() -> set[str]:
    """The files that Gradio has begun to write."""
    with os.scandir(os.environ["GRADIO_TEMP_DIR"]) as found:
        return {each.name for each in found if each.name.startswith("tmp") and each.stat().st_size}


@pytest.mark.parametrize("kind", [of_one, of_many, of_another_field, that_breaks_off])
def test_uploads_stay_within_the_budget(
    address: str, folder: Path, kind: Callable[[str], None]
) -> None:
    for _ in range(10):
        kind(address)
        # The last one may still be on its way to its place.
        assert taken(folder) <= LIMIT + len(FILE)
    disk.tidy()
    assert LIMIT / 3 < taken(folder) <= LIMIT  # and the newest are still there


def test_the_oldest_go_first_also_those_of_a_killed_process(folder: Path, address: str) -> None:
    left = folder / "left" / "behind.png"
    left.parent.mkdir(parents=True)
    left.write_bytes(FILE)
    os.utime(left, (time.time() - 3600,) * 2)
    os.utime(left.parent, (time.time() - 3600,) * 2)
    newest = [upload(address, ("files", os.urandom(4) + FILE)).json()[0] for _ in range(7)][-1]
    assert not left.exists()
    disk.tidy()
    assert not left.parent.exists()
    assert Path(newest).is_file()


def test_what_is_a_day_old_goes_in_any_case(folder: Path, address: str) -> None:
    (path,) = upload(address, ("files", FILE)).json()
    disk.tidy()
    assert Path(path).is_file()
    os.utime(path, (time.time() - 25 * 3600,) * 2)
    disk.tidy()
    assert not Path(path).exists()


def test_results_count_too(folder: Path, cat_file: Path) -> None:
    shown = service.explain(cat_file, service.Wanted("classification"))
    for _ in range(4):
        kept = present.written([shown], "zip", "jet", 0.5)
        assert taken(folder) <= LIMIT
    assert kept.is_file()


def test_the_folder_is_one_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beside it is not ours to delete; and it is there before the first upload."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "shared"))
    for _ in range(2):
        disk.take_folder()
        assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path / "shared" / "gradcam-demo")
    assert (tmp_path / "shared" / "gradcam-demo").is_dir()
