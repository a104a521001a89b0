"""Memory that a request used goes back to the system."""

import ctypes
import sys

# From glibc's malloc.h, and our values.
_M_MMAP_THRESHOLD, _MMAP_THRESHOLD = -3, 4 * 2**20  # bytes: the maps of a CNN's first layers
_M_ARENA_MAX, _ARENAS = -8, 2


def return_freed_memory() -> None:
    """Make the C library return freed memory to the system, where it can (glibc).

    By default glibc keeps blocks of up to 32 MB once one of that size was freed, in a heap per
    thread. Cached photos lie between them, so these heaps never shrink: after some hundred
    requests the process takes twice the memory that it needs.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            library.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
            library.mallopt(_M_ARENA_MAX, _ARENAS)
