"""Pictures of every kind are opened rightly or refused with a sentence."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradcam_core.image import MAX_PIXELS, open_image


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    sideways = Image.new("RGB", (40, 20), "blue")
    sideways.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture = open_image(saved(sideways, tmp_path / "a.png", exif=exif))
    assert picture.size == (20, 40)
    assert picture.getpixel((10, 5)) == (255, 0, 0)
    assert picture.getpixel((10, 35)) == (0, 0, 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    clear = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    clear.putpixel((1, 0), (0, 0, 0, 255))
    picture = open_image(clear.convert(mode))
    assert [picture.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 0)]


def test_transparent_palette_is_laid_on_white(tmp_path: Path) -> None:
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([10, 20, 30])
    assert open_image(palette).getpixel((0, 0)) == (10, 20, 30)
    path = saved(palette, tmp_path / "p.png", transparency=0)
    assert open_image(path).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "HSV", "RGB"])
def test_other_modes_become_rgb(mode: str) -> None:
    picture = open_image(Image.new("RGB", (3, 2), "white").convert(mode))
    assert (picture.mode, picture.size) == ("RGB", (3, 2))
    assert picture.getpixel((0, 0)) == pytest.approx((255, 255, 255), abs=1)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_sixteen_bits_are_scaled_not_clipped(dtype: type) -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype)
    picture = open_image(Image.fromarray(values))
    assert np.asarray(picture)[0, :, 0].tolist() == [0, 100, 255]


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_image(path).getpixel((0, 0)) == (255, 0, 0)


def test_array_and_picture_stay_the_callers() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(np.asarray(open_image(array)), array)
    picture = Image.fromarray(array)
    opened = open_image(picture)
    opened.putpixel((0, 0), (9, 9, 9))
    assert np.array_equal(np.asarray(picture), array)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3))]
)
def test_wrong_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        open_image(array)


def test_empty_array_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        open_image(np.zeros((0, 5, 3), np.uint8))


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="not list"):
        open_image([1, 2, 3])  # type: ignore[arg-type]


def test_size_is_refused_from_the_header(tmp_path: Path) -> None:
    """A PNG that says it has 10^10 pixels and holds none: it must not even be decoded."""
    side = 100_000
    chunks = {b"IHDR": struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), b"IDAT": b"nothing"}
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks.items()
        )
    )
    with pytest.raises(ValueError, match="too large"):
        open_image(path)


def test_size_limit_is_25_megapixels(tmp_path: Path) -> None:
    assert MAX_PIXELS == 25_000_000
    assert open_image(saved(Image.new("L", (5000, 5000)), tmp_path / "a.png")).size == (5000, 5000)
    with pytest.raises(ValueError, match="25 megapixels"):
        open_image(saved(Image.new("L", (5001, 5000)), tmp_path / "b.png"))
    with pytest.raises(ValueError, match="25 megapixels"):
        open_image(np.zeros((5001, 5000, 3), np.uint8))


def test_truncated_file_is_refused(tmp_path: Path, cat_file: Path) -> None:
    for suffix in ("jpg", "png", "webp"):
        buffer = io.BytesIO()
        Image.open(cat_file).save(buffer, "JPEG" if suffix == "jpg" else suffix)
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        with pytest.raises(ValueError, match=r"damaged|not a picture"):
            open_image(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
        (b"hello", "not a picture"),
        (b"", "not a picture"),
    ],
)
def test_what_is_no_photo_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "file.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        open_image(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "no.png", tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no file"):
            open_image(path)
