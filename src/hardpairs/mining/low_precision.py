"""What is multiplied in place of float32 unit vectors, to choose candidates.

A row is stored as one row of an array, so that arrays of every precision are mapped, cut and sent
alike:

- ``bfloat16``: D numbers as their bits, uint16.
- ``float16``: D numbers, for accelerators.
- ``int8``: D whole numbers from -127 to 127, then the four bytes of the row's scale, a float32. A
  component is its whole number times the scale, which is the row's largest component over 127.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLOAT32, BFLOAT16, INT8 = PRECISIONS = ("float32", "bfloat16", "int8")
"""Those of CPUs."""
FLOAT16 = "float16"
KINDS: dict[str, type] = {BFLOAT16: np.uint16, INT8: np.int8, FLOAT16: np.float16}
"""Kinds of numbers of the arrays; float32 products are made of the unit vectors themselves."""
SCALE = 4
"""Numbers of an int8 row that are the bytes of its scale."""
LARGEST = 127


def stored_width(width: int, kind: type) -> int:
    """Return the numbers of a stored row with D components."""
    return width + SCALE if kind == np.int8 else width


def width_of(stored: np.ndarray) -> int:
    """Return D, the components of stored or float32 rows."""
    width: int = stored.shape[-1]
    return width - SCALE if stored.dtype == np.int8 else width


def row_bytes(widths: Sequence[int], precision: str) -> int:
    """Return the bytes of a row's unit vectors, and of what is multiplied in their place."""
    rows = 4 * sum(widths)
    if precision == FLOAT32:
        return rows
    kind = KINDS[precision]
    return rows + sum(stored_width(width, kind) for width in widths) * np.dtype(kind).itemsize
