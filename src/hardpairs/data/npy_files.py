"""Arrays of strangers: a memory map, arrays by name, or ``ValueError`` and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np


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
