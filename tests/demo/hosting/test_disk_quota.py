"""The disk quota of uploads and results."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from demo import present
from demo.compute.local import LocalCompute
from demo.hosting.disk_quota import DiskQuota, quota, use_own_folder
from gradcam_core import Query
from tests.support.session import Session

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
    left = folder / "of-a-killed-process"
    left.mkdir()
    for number in range(4):
        file = left / f"{number}.png"
        file.write_bytes(FILE)
        os.utime(file, (time.time() - 3600 + number,) * 2)
    os.utime(left, (time.time() - 3600,) * 2)
    mine = [Path(upload(address, ("files", FILE)).json()[0]) for _ in range(12)]
    assert not (left / "0.png").exists()
    exist = [file.exists() for file in mine]
    assert exist == sorted(exist)  # the newest
    assert 0 < sum(exist) < len(exist)


def test_who_uploads_much_loses_their_own_files(address: str, folder: Path) -> None:
    others = [
        Session(address, f"127.0.4.{number}").upload(FILE[: 100_000 * number]) for number in (1, 2)
    ]
    uploader = Session(address, "127.0.4.3")
    many = [Path(uploader.upload(FILE)) for _ in range(12)]
    quota.enforce()
    assert used(folder) <= LIMIT
    assert all(Path(other).exists() for other in others)
    assert not many[0].exists()
    assert many[-1].exists()


def test_uploads_are_written_once_and_in_the_upload_folder(
    address: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk is the one whose free space counts."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "none"))
    large = os.urandom(1_500_000)  # not kept in memory
    (path,) = upload(address, ("files", large)).json()
    assert Path(path).read_bytes() == large
    assert used(folder) < len(large) + 1000


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


def old(path: Path) -> Path:
    """Give a file, which is created if need be, the age of two days."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    os.utime(path, (time.time() - 200_000,) * 2)
    return path


def chosen(parent: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The upload folder of a server that is told to use `parent`, after its first check."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(parent))
    use_own_folder()
    DiskQuota(0).enforce()
    return Path(os.environ["GRADIO_TEMP_DIR"])


@pytest.mark.parametrize("place", ["gradcam-demo", "gradcam-demo/gradcam-demo", "uploads"])
def test_files_of_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Whatever the folder is called, and whatever is in it already."""
    names = ("notes.txt", "tmp123", "photos/mine.jpg", ".git/config", "gradcam-demo/thesis.doc")
    files = [old(tmp_path / place / name) for name in names]
    folder = chosen(tmp_path / place, monkeypatch)
    assert all(file.read_bytes() == b"mine" for file in files)
    assert folder.is_relative_to(tmp_path / place)
    assert not any(file.is_relative_to(folder) for file in files)
    own = old(folder / "upload" / "cat.jpg")
    assert chosen(tmp_path / place, monkeypatch) == folder  # of the next process, too
    assert not own.exists()
    assert all(file.exists() for file in files)


@pytest.mark.skipif(os.name == "nt", reason="links need privileges on Windows")
@pytest.mark.parametrize("target", ["home", "empty", "missing", "own"])
def test_links_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    file = old(tmp_path / "home" / "thesis.doc")
    (tmp_path / "empty").mkdir()
    own = chosen(tmp_path / "earlier", monkeypatch)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "gradcam-demo").symlink_to(own if target == "own" else tmp_path / target)
    folder = chosen(shared, monkeypatch)
    assert file.exists()
    assert folder.parent == shared
    assert not folder.is_symlink()
    (folder / "link").symlink_to(tmp_path / "home")
    (folder / "file").symlink_to(file)
    os.utime(folder / "file", (time.time() - 200_000,) * 2, follow_symlinks=False)
    DiskQuota(0).enforce()
    assert file.exists()
    assert not (folder / "file").is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_folder_that_others_can_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = chosen(tmp_path, monkeypatch)
    assert own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o777)
    file = old(own / "file")
    other = chosen(tmp_path, monkeypatch)
    assert other != own
    assert other.stat().st_mode & 0o777 == 0o700
    assert file.exists()


@pytest.mark.skipif(os.name == "nt", reason="the folder is swapped by a link")
def test_a_folder_that_somebody_swaps_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = chosen(tmp_path, monkeypatch)
    file = old(tmp_path / "home" / "thesis.doc")
    folder.rename(tmp_path / "moved")
    folder.symlink_to(file.parent)
    DiskQuota(0).enforce()
    assert file.exists()
    assert DiskQuota(10**9).problem() is not None


def test_a_deleted_folder_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = chosen(tmp_path, monkeypatch)
    shutil.rmtree(folder)
    quota = DiskQuota(10**9)
    quota.enforce()
    assert quota.problem() is None
    own = old(folder / "upload")
    quota.enforce()
    assert not own.exists()


def test_tiny_files_count_as_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = chosen(tmp_path, monkeypatch)
    for number in range(400):
        (folder / str(number)).mkdir()
        (folder / str(number) / "x").write_bytes(b"x")
    DiskQuota(2_000_000).enforce()
    left = [path for path in folder.rglob("x") if path.is_file()]
    assert 50 < len(left) < 250


_ON_A_SMALL_DISK = """
import os, sys
from pathlib import Path
from demo.hosting.disk_quota import DiskFullError, DiskQuota, is_disk_full, use_own_folder
use_own_folder()
folder, quota = Path(os.environ["GRADIO_TEMP_DIR"]), DiskQuota(10**9)
quota.enforce()
def written(name, size):
    quota.reserve(size)
    (folder / name).write_bytes(os.urandom(size))
    quota.add(size)
for number in range(12):
    written(str(number), 3_000_000)
    os.utime(folder / str(number), (number, 2 * 10**9 + number))
assert not (folder / "0").exists() and (folder / "11").exists(), os.listdir(folder)
assert quota.problem() is None, quota.problem()
try:
    written("too large", 30_000_000)
except DiskFullError as error:
    assert is_disk_full(error)
else:
    raise SystemExit("It was written.")
other = folder.parent / "of somebody else"
try:
    other.write_bytes(bytes(30_000_000))
except OSError as error:
    assert is_disk_full(error)
quota.add(0)
assert quota.problem().endswith("."), "full"
other.unlink()
assert quota.problem() is None, quota.problem()
written("again", 3_000_000)
for number in range(1000):  # 400 files at most
    quota.reserve(1)
    (folder / f"tiny {number}").write_bytes(b"x")
    quota.add(1)
"""


def test_room_is_made_on_a_small_disk(tmp_path: Path) -> None:
    """A file system of 20 MB and 400 files."""
    mount = f"mount -t tmpfs -o size=20m,nr_inodes=400 tmpfs {tmp_path}"
    command = ["unshare", "-rm", "sh", "-c", f'{mount} || exit 9; exec "$@"', "sh"]
    try:
        done = subprocess.run(
            [*command, sys.executable, "-c", _ON_A_SMALL_DISK],
            env=os.environ | {"GRADIO_TEMP_DIR": str(tmp_path)},
            check=False,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if done.returncode == 9:
        pytest.skip("nobody may mount file systems here")
    assert done.returncode == 0, done.stderr
