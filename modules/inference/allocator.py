"""A setting of the C library's allocator: freed memory is kept for reuse."""

import ctypes
import platform

# Names and values of malloc.h in the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory():
    """Let this process use memory again instead of giving it back.

    By default a large tensor gets new pages from the kernel, which must clear
    them first, and gives them back: about a sixth of an encoder's time on a
    CPU. The peak of the memory grows by about a tenth. It does nothing where
    the C library is not GNU's.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)  # never
    # Arenas of other threads hold no large blocks.
    mallopt(_M_ARENA_MAX, 1)
