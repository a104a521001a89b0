"""Photos are found in folders: every kind of picture, links followed, names of any bytes."""

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from gradcam_core.batch.photos import find_photos


def touched(folder: Path, *names: str) -> list[Path]:
    """Create empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return sorted(folder / name for name in names)


def test_every_suffix_of_a_known_format_is_found(tmp_path: Path) -> None:
    Image.init()
    formats = {"JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"}
    suffixes = [suffix for suffix, name in Image.EXTENSION.items() if name in formats]
    assert {".jfif", ".jpe", ".pgm", ".apng"} <= set(suffixes)
    names = [f"photo{suffix}" for suffix in (*suffixes, ".heic", ".HEIF", ".hif", ".JPG")]
    expected = touched(tmp_path, *names)
    touched(tmp_path, "notes.txt", "drawing.eps", "jpg", ".hidden.jpg", ".hidden/a.jpg")
    assert find_photos(str(tmp_path)) == expected


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links")
@pytest.mark.parametrize("pattern", ["", "**/*.jpg"])
def test_links_are_followed_once(tmp_path: Path, pattern: str) -> None:
    photos, other = tmp_path / "photos", tmp_path / "other"
    expected = touched(photos, "a.jpg", "b/c.jpg", "b/d/e.jpg")
    touched(other, "f.jpg", "deep/g.jpg")
    (photos / "b" / "loop").symlink_to(photos)
    (photos / "b" / "again").symlink_to(photos / "b" / "d")
    (photos / "aa").symlink_to(photos / "b")  # the folder itself comes later
    (photos / "itself").symlink_to("itself")
    (photos / "other").symlink_to(other)
    (other / "back").symlink_to(photos)
    (photos / "link.jpg").symlink_to(other / "f.jpg")
    expected += [photos / "other" / "f.jpg", photos / "other" / "deep" / "g.jpg"]
    expected += [photos / "link.jpg"]
    assert find_photos(str(photos / pattern)) == sorted(expected)


def test_results_are_no_photos(tmp_path: Path) -> None:
    expected = touched(tmp_path, "a.jpg")
    touched(tmp_path, "out/a/picture.png")
    assert find_photos(str(tmp_path), tmp_path / "out") == expected


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jpg", ["a.jpg"]),
        ("**/*.jpg", ["a.jpg", "b/c.jpg", "b/d/e.jpg"]),
        ("**", ["a.jpg", "b/c.jpg", "b/d/e.jpg", "b/d/f.png"]),
        ("b/**/e.*", ["b/d/e.jpg"]),
        ("*/*/[ef].*", ["b/d/e.jpg", "b/d/f.png"]),
        ("*/d/**", ["b/d/e.jpg", "b/d/f.png"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, found: list[str]) -> None:
    touched(tmp_path, "a.jpg", "b/c.jpg", "b/d/e.jpg", "b/d/f.png", "b/x.txt", ".h/z.jpg")
    assert find_photos(str(tmp_path / pattern)) == [tmp_path / name for name in found]


@pytest.mark.parametrize("pattern", ["", "*.png", "**/*.png"])
def test_a_folder_without_photos_is_an_error(tmp_path: Path, pattern: str) -> None:
    touched(tmp_path, "notes.txt")
    with pytest.raises(ValueError, match=tmp_path.name):
        find_photos(str(tmp_path / pattern))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_names_of_any_bytes_are_found(tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"caf\xe9.jpg", b"\xff/\xfe.png", "猫.jpg".encode())]
    expected = touched(tmp_path, *names)
    assert find_photos(str(tmp_path)) == expected
