"""The head of an .npy file whose numbers are written part by part."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np


def write_header(file: BinaryIO, shape: tuple[int, ...], dtype: Any) -> None:
    """Write what ``np.save`` writes before the numbers of an array in C order.

    Args:
        file: A file at its start.
        shape: Of the whole array.
        dtype: The kind of numbers.
    """
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
