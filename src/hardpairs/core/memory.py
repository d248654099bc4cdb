"""Arrays that take memory only where they are written, and give it back on request."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # a name of Python 3.12, a number of Linux
_libc = ctypes.CDLL(None, use_errno=True)


def reserve(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array of zeros that has addresses for all rows, and memory for those written.

    Args:
        shape: May be larger than the memory of the machine.
        dtype: The kind of numbers.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    pages = mmap.mmap(-1, max(size, 1), flags=kind)
    return np.frombuffer(pages, dtype, int(np.prod(shape))).reshape(shape)


def release(rows: np.ndarray) -> None:
    """Give back the memory of an array's whole pages.

    What was written into an array of ``reserve`` is zero afterwards. An array that is mapped from a
    file is read from there again.

    Args:
        rows: Consecutive rows of an array of ``reserve``, or of a mapped file.
    """
    first = -(-rows.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    size = (rows.ctypes.data + rows.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - first
    if size > 0:
        advice = ctypes.c_void_p(first), ctypes.c_size_t(size), ctypes.c_int(mmap.MADV_DONTNEED)
        _libc.madvise(*advice)
