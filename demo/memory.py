"""What a request used goes back to the system when it is done."""

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE = 4 * 2**20  # bytes: a CNN's first maps; giving back smaller ones costs more than it saves


def give_back_large() -> None:
    """Let the C library keep no large block for later, where it can be told so (glibc).

    Left alone it keeps blocks of up to 32 MB after the first of that size. Between them lies what
    is cached of photos, so the holes are never given back, and the process grows: to twice its
    size in some hundred requests.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
