"""Arrays of strangers: a memory map, or ``ValueError`` and nothing else."""

from __future__ import annotations

import os
import tokenize

import numpy as np

_HEADER_ERRORS = (OSError, EOFError, SyntaxError, TypeError, OverflowError, tokenize.TokenError)
"""What NumPy raises for damaged headers, besides ``ValueError``. It parses them as Python."""


def map_array(path: str | os.PathLike[str]) -> np.ndarray:
    """Memory-map a ``.npy`` file, without unpickling.

    Raises:
        ValueError: It is not a whole one, or cannot be read.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except _HEADER_ERRORS as error:
        raise ValueError(str(error)) from None
    if not isinstance(array, np.ndarray):  # an archive of several
        raise ValueError("it holds several arrays")
    return array
