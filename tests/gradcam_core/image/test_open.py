"""Pictures of every kind are opened rightly or refused with a sentence."""

import io
import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from gradcam_core.image.open import KEPT_PIXELS, MAX_PIXELS, decoders, open_image
from tests.support import bombs, costs, fuzz


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


def stretched(values: np.ndarray) -> np.ndarray:
    """Values over their own range, pixel by pixel."""
    low, high = values.min(), values.max()
    shares = [(float(v) - float(low)) / (float(high) - float(low)) for v in values.ravel()]
    return np.array([round(255 * share) for share in shares]).reshape(values.shape)


# Kinds of numbers -> lowest and highest value of a picture.
_RANGES = {
    "8 bits in 32": (np.int32, 0, 255),
    "12 bits in 16": (np.uint16, 16, 4095),
    "16 bits": (np.uint16, 0, 65535),
    "Hounsfield units": (np.int32, -1024, 3071),
    "31 bits": (np.int32, 0, 2**31 - 1),
    "floats up to 1": (np.float32, 0, 1),
    "floats far from 0": (np.float32, 1e6, 2e6),
    "small floats": (np.float32, -1e-6, 1e-6),
}


@pytest.mark.parametrize(("dtype", "low", "high"), _RANGES.values(), ids=_RANGES)
def test_deep_grey_is_shown_over_its_own_range(
    tmp_path: Path, dtype: type, low: float, high: float
) -> None:
    values = np.random.default_rng(0).uniform(low, high, (300, 400)).astype(dtype)
    picture = Image.fromarray(values)
    for opened in (open_image(picture), open_image(saved(picture, tmp_path / "a.tif"))):
        found = np.asarray(opened).astype(int)
        assert (found[..., 0] == found[..., 2]).all()
        assert abs(found[..., 0] - stretched(values)).max() <= 1
        assert (found.min(), found.max()) == (0, 255)


@pytest.mark.parametrize("suffix", ["png", "pgm"])
def test_deep_grey_of_other_formats(tmp_path: Path, suffix: str) -> None:
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    opened = open_image(saved(Image.fromarray(values), tmp_path / f"a.{suffix}"))
    assert np.array_equal(np.asarray(opened)[..., 1], stretched(values))


def test_deep_grey_is_halved_over_the_range_of_the_whole() -> None:
    values = np.zeros((5002, 5002), np.uint16)
    values[:2500], values[-2:] = 100, 400
    found = np.asarray(open_image(Image.fromarray(values)))
    assert found.shape == (2501, 2501, 3)
    assert [found[row, 9, 0] for row in (9, 2000, -1)] == [64, 0, 255]


def test_non_finite_values_are_ignored() -> None:
    values = np.array([[np.nan, -np.inf, 2, 3, 4, np.inf]], np.float32)
    found = np.asarray(open_image(Image.fromarray(values)))[0, :, 0]
    assert found.tolist() == [0, 0, 0, 128, 255, 255]
    nothing = np.full((2, 2), np.nan, np.float32)
    assert not np.asarray(open_image(Image.fromarray(nothing))).any()


@pytest.mark.parametrize(("value", "shown"), [(0, 0), (7, 255), (-3, 0)])
def test_deep_grey_of_one_value(value: int, shown: int) -> None:
    found = np.asarray(open_image(Image.fromarray(np.full((2, 3), value, np.int32))))
    assert (found == shown).all()


def test_a_tiff_of_32_bits_without_sign(tmp_path: Path) -> None:
    values = np.array([[0, 10**9, 2 * 10**9, 4 * 10**9]], np.uint32)
    path = saved(Image.fromarray(values), tmp_path / "a.tif")
    signed, unsigned = (struct.pack("<HHIH", 339, 3, 1, kind) for kind in (2, 1))
    assert signed in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(signed, unsigned))
    assert np.asarray(open_image(path))[0, :, 0].tolist() == [0, 64, 128, 255]


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_heic_without_its_package_names_it(tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    path.write_bytes(HEIC)
    if find_spec("pillow_heif") is None:
        with pytest.raises(ValueError, match="pillow-heif"):
            open_image(path)
    else:
        with pytest.raises(ValueError, match=r"photo\.heic"):
            open_image(path)


def test_heic_is_read_by_its_package(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    halves = Image.new("RGB", (400, 200), "blue")
    halves.paste("red", (0, 0, 200, 200))
    opened = open_image(saved(halves, tmp_path / "a.heic"))
    assert opened.size == (400, 200)
    assert opened.getpixel((90, 90)) == pytest.approx((255, 0, 0), abs=4)
    assert opened.getpixel((310, 90)) == pytest.approx((0, 0, 255), abs=4)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_names_that_are_not_utf8(tmp_path: Path, cat_file: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    path.write_bytes(cat_file.read_bytes())
    assert open_image(path).size == (451, 300)
    path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"caf\\xe9\.jpg") as error:
        open_image(path)
    assert str(error.value).encode("utf-8")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"caf\\xe9\.jpg"):
        open_image(path)


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
    path = tmp_path / "bomb.png"
    path.write_bytes(bombs.png((100_000, 100_000), b"nothing"))
    with pytest.raises(ValueError, match=r"bomb\.png"):
        open_image(path)


def test_up_to_100_megapixels_are_accepted_and_more_refused(tmp_path: Path) -> None:
    assert (MAX_PIXELS, KEPT_PIXELS) == (100_000_000, 25_000_000)
    assert open_image(saved(Image.new("L", (5000, 5000)), tmp_path / "a.png")).size == (5000, 5000)
    assert open_image(saved(Image.new("1", (10_000, 10_000)), tmp_path / "b.png")).size == (
        5000,
        5000,
    )
    with pytest.raises(ValueError, match=r"10001 x 10000"):
        open_image(saved(Image.new("1", (10_001, 10_000)), tmp_path / "c.png"))
    with pytest.raises(ValueError, match="10000 x 10001"):
        open_image(np.zeros((1, 1, 1), np.uint8).repeat(3, 2).repeat(10_001, 0).repeat(10_000, 1))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", None])
def test_a_phones_photo_is_halved_and_stays_upright(tmp_path: Path, suffix: str | None) -> None:
    """50 megapixels, the left red and the right blue, to be turned by 90 degrees clockwise."""
    photo = Image.new("RGB", (8160, 6120), "blue")
    photo.paste("red", (0, 0, 4080, 6120))
    if suffix is None:
        opened, size = open_image(photo), (4080, 3060)
        ends = [opened.getpixel((9, 9)), opened.getpixel((4070, 3050))]
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        opened = open_image(saved(photo, tmp_path / f"photo.{suffix}", exif=exif))
        ends, size = [opened.getpixel((9, 9)), opened.getpixel((3050, 4070))], (3060, 4080)
    assert opened.size == size
    assert ends == [pytest.approx((255, 0, 0), abs=2), pytest.approx((0, 0, 255), abs=2)]


def test_halving_in_strips_is_halving(tmp_path: Path) -> None:
    """Also with an odd number of rows, and transparent: the same as all at once."""
    random = np.random.default_rng(0).integers(0, 256, (63, 3, 4), np.uint8)
    image = Image.fromarray(random).resize((8003, 3135), Image.Resampling.NEAREST)
    white = Image.new("RGBA", image.size, "white")
    expected = Image.alpha_composite(white, image).convert("RGB").reduce(2)
    assert np.array_equal(np.asarray(open_image(image)), np.asarray(expected))


def test_a_picture_of_100_megapixels_fits_into_the_memory_limit(tmp_path: Path) -> None:
    rows = zlib.compressobj(1)
    row = b"\0" + bytes(30_000)
    content = b"".join(rows.compress(row) for _ in range(10_000)) + rows.flush()
    path = tmp_path / "large.png"
    path.write_bytes(bombs.png((10_000, 10_000), content))
    cost = costs.of(path)
    assert json.loads(cost.answer) == {"size": [5000, 5000]}
    assert cost.memory <= 600e6


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
def test_a_tiff_in_ycbcr(tmp_path: Path, cat_file: Path, compression: str) -> None:
    with Image.open(cat_file) as photo:
        path = saved(photo.convert("YCbCr"), tmp_path / "cat.tif", compression=compression)
        difference = np.asarray(open_image(path)).astype(int) - np.asarray(photo.convert("RGB"))
    assert abs(difference).mean() < 6


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16", "F"])
def test_tiff_of_every_mode(tmp_path: Path, mode: str) -> None:
    ramp = Image.linear_gradient("L")
    image = ramp.convert("RGB").convert(mode) if mode not in ("I;16", "F") else ramp.convert(mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(ramp).astype(np.uint16) * 257)
    opened = np.asarray(open_image(saved(image, tmp_path / "ramp.tif")))
    assert np.array_equal(opened, np.asarray(open_image(image)))


_CHEAP = ("bmp", "ppm", "webp", "tiff_tags", "png_exif")
_BOMBS = [
    pytest.param(name, marks=() if name.startswith(_CHEAP) else pytest.mark.slow)
    for name in bombs.BOMBS
]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
@pytest.mark.parametrize("name", _BOMBS)
def test_no_file_costs_more_than_its_share(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(bombs.BOMBS[name]())
    assert path.stat().st_size < 30e6
    cost = costs.of(path)
    assert cost.seconds <= 3
    assert cost.memory <= 600e6
    try:
        assert min(open_image(path).size) >= 64
    except ValueError as error:
        assert str(error).startswith(f"{name} ")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such timer")
def test_nobody_waits_for_files_that_take_too_long(tmp_path: Path, cat_file: Path) -> None:
    path = tmp_path / "padding.jpg"
    path.write_bytes(bombs.jpeg_padding())
    with ThreadPoolExecutor(2) as pool:
        refused = [pool.submit(open_image, path) for _ in range(2)]  # as many as there are turns
        for _ in range(3):
            assert open_image(cat_file).size == (451, 300)
        assert not any(each.done() for each in refused)
        for each in refused:
            with pytest.raises(ValueError, match=r"padding\.jpg"):
                each.result()
    assert open_image(cat_file).size == (451, 300)


def test_a_decoder_that_does_not_answer_is_given_up(
    cat_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_image(cat_file)
    monkeypatch.setattr(decoders, "timeout", 0.2)
    for decoder in decoders.idle:
        os.kill(decoder.pid, signal.SIGSTOP)
    with pytest.raises(ValueError, match=cat_file.name):
        open_image(cat_file)
    monkeypatch.undo()
    decoders.close()
    assert open_image(cat_file).size == (451, 300)


def test_many_threads_get_their_own_pictures(tmp_path: Path) -> None:
    paths = [
        saved(Image.new("RGB", (9, 9 + i), (i, i, i)), tmp_path / f"{i}.png") for i in range(20)
    ]
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(open_image, paths * 5))
    assert [(p.size, p.getpixel((0, 0))) for p in opened] == [
        ((9, 9 + i), (i, i, i)) for i in range(20)
    ] * 5
    assert len(decoders.idle) <= 2


_FORK = """
import os, sys
from gradcam_core.image import open as image
image.open_image(sys.argv[1])
pid = os.fork()
for _ in range(20):
    image.open_image(sys.argv[1])
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(image.open_image(sys.argv[1]).size)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_script_without_a_main_guard_may_fork(cat_file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FORK, str(cat_file)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.stdout == "(451, 300)\n", done.stderr


@pytest.mark.parametrize("name", ["no\nline.png", "a b.png", "ü.png", "no\0.png"])
def test_odd_file_names(tmp_path: Path, cat_file: Path, name: str) -> None:
    if "\0" in name:
        with pytest.raises(FileNotFoundError):
            open_image(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(cat_file.read_bytes())
        assert open_image(tmp_path / name).size == (451, 300)


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_file_is_opened_or_refused_with_a_sentence(tmp_path: Path, seed: int) -> None:
    for name, content in itertools.islice(fuzz.damaged(seed), 100):
        path = tmp_path / name
        path.write_bytes(content)
        try:
            assert open_image(path).mode == "RGB"
        except ValueError as error:
            assert str(error).startswith(f"{name} ")
            assert str(error).endswith(".")


# What files of each format begin with.
_BEGINNINGS = [
    *(b"", b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"RIFF\x20\0\0\0WEBPVP8 "),
    *(b"GIF89a", b"BM", b"II*\0\x08\0\0\0", b"MM\0*", b"P6\n", b"\0\0\0\x1cftypavif"),
]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(_BEGINNINGS), st.binary(max_size=300))
def test_any_bytes_are_opened_or_refused(
    tmp_path_factory: pytest.TempPathFactory, beginning: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bytes"
    path.write_bytes(beginning + rest)
    try:
        assert open_image(path).mode == "RGB"
    except ValueError as error:
        assert str(error).startswith("any.bytes ")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32, bool]),
        array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
    )
)
def test_any_array_is_the_picture_or_refused(array: np.ndarray) -> None:
    try:
        opened = open_image(array)
    except ValueError as error:
        right = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
        assert not right or "empty" in str(error)
    else:
        assert np.array_equal(np.asarray(opened), array)


def test_truncated_file_is_refused(tmp_path: Path, cat_file: Path) -> None:
    for suffix in ("jpg", "png", "webp"):
        buffer = io.BytesIO()
        Image.open(cat_file).save(buffer, "JPEG" if suffix == "jpg" else suffix)
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        with pytest.raises(ValueError, match=f"cut.{suffix}"):
            open_image(path)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", r"file\.jpg"),
        (b"hello", r"file\.jpg"),
        (b"", r"file\.jpg"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "file.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=named):
        open_image(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "no.png", tmp_path):
        with pytest.raises(FileNotFoundError, match=path.name):
            open_image(path)
