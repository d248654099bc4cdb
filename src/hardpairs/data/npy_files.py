"""Arrays of strangers: a memory map, arrays by name, or ``ValueError`` and nothing else.

Mapped arrays that are larger than the memory are read block by block.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardpairs.data.stacked import leave_to_disk

ENTRIES_AT_ONCE = 1 << 19
"""Numbers of an array that ``row_blocks`` has in memory together."""
MOST_HEADER = 16_384
"""Bytes in which a header ends: NumPy reads none of more than 10,000."""


@dataclass(frozen=True)
class Header:
    """What a ``.npy`` file says of its array.

    Attributes:
        shape: The array's shape.
        dtype: The array's dtype, of numbers.
        by_columns: The array lies there column by column.
        bytes: Bytes before the array.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool
    bytes: int


def read_header(beginning: bytes) -> Header:
    """Return the header of a ``.npy`` file.

    Args:
        beginning: The file's first ``MOST_HEADER`` bytes, or the whole file.

    Raises:
        ValueError: It is not one, or one of objects.
    """
    file = io.BytesIO(beginning)
    try:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, by_columns, dtype = np.lib.format.read_array_header_2_0(file)
    except Exception as error:  # NumPy parses a header as Python
        raise ValueError(str(error) or type(error).__name__) from None
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError("it holds objects, or has a negative size")
    return Header(shape, dtype, by_columns, file.tell())


def map_array(path: str | os.PathLike[str]) -> np.ndarray:
    """Memory-map a ``.npy`` file, without unpickling.

    Raises:
        ValueError: It is not a whole one, or cannot be read.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses a header as Python
        raise ValueError(str(error) or type(error).__name__) from None
    if not isinstance(array, np.ndarray):  # an archive of several
        raise ValueError("it holds several arrays")
    return array


def read_arrays(
    path: str | os.PathLike[str], names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Return arrays of an ``.npz`` file by name, without unpickling.

    Args:
        path: The file.
        names: Names of the arrays; by default all.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a whole one, cannot be read, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (arrays.files if names is None else names)}
    except FileNotFoundError:
        raise
    except Exception as error:  # zip, zlib and NumPy have a dozen
        raise ValueError(str(error) or type(error).__name__) from None


def row_blocks(*arrays: np.ndarray) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield the first row of each block of rows, and these rows of each array.

    The rows share the memory of their array. Those of a mapped one are not kept in memory.

    Args:
        *arrays: As many rows each. The first array decides how many are taken at once.
    """
    count = len(arrays[0])
    size = max(1, ENTRIES_AT_ONCE * count // max(arrays[0].size, 1))
    for start in range(0, count, size):
        yield start, [np.asarray(array[start : start + size]) for array in arrays]
        for array in arrays:
            leave_to_disk(array)
