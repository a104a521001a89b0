"""What a request used goes back to the system when it is done."""

import ctypes
import sys

# Of glibc's malloc.h, and what they are set to.
_M_MMAP_THRESHOLD, _LARGE = -3, 4 * 2**20  # bytes: the maps of a CNN's first layers
_M_ARENA_MAX, _ARENAS = -8, 2


def give_back() -> None:
    """Let the C library give back what is freed, where it can be told so (glibc).

    Left alone it keeps blocks of up to 32 MB after the first of that size, in a heap for each of
    many threads. Between them lies what is cached of photos, so the holes are never given back,
    and the process grows: to twice its size in some hundred requests.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
            library.mallopt(_M_ARENA_MAX, _ARENAS)
