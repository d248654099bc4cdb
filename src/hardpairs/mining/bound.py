"""How far a low-precision similarity can be from the exact one, so that it may choose candidates without losing any.

Let x, y be float32 unit rows, x', y' the rows that are multiplied (rounded to bfloat16, or the same rows), s = x.y exactly.

1. Inputs. x'.y' - x.y = (x' - x).y' + x.(y' - y), so by Cauchy-Schwarz |x'.y' - x.y| <= e |y'| + |x| e <= e (2n + e), with e the
   largest |x' - x| over all rows and n the largest |x|. e is measured on the rows themselves: for bfloat16 it is 0.0024 on rows of normal
   numbers, where the format allows 0.0039 in the worst case (2^-8 |x|).
2. Accumulation. A product of two bfloat16 numbers is exact in float32. D of them added in float32, in any order, are off by at most
   D u / (1 - D u) * sum |x'_k y'_k| (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), and the sum is at most
   |x'| |y'| <= (n + e)^2. We take u = 2^-23, twice the unit roundoff, which also covers units that truncate and, for float32 inputs,
   the rounding of each product.
3. Output. Rounded to bfloat16, to nearest: relative to the value, ``kernel.ROUNDING`` (2^-8); the loops add it to each value.
4. The loops evaluate value + error in float32: 2^-21 covers their own rounding, for values up to 2.

|s - value| <= ROUNDING * |value| + similarity_error. ``test_bound.py`` holds it against rows made to come close.
"""

from __future__ import annotations

import numpy as np
import torch

from hardpairs.core.threads import in_parallel

ROWS_AT_ONCE = 512
"""Rows that are converted together: their float64 copies should fit into a core's cache."""


def rounded_rows(unit: np.ndarray, out: np.ndarray) -> float:
    """Writes float32 ``unit`` (M, D) as bfloat16 bits into ``out`` (M, D) uint16; returns the largest |rounded row - row|."""

    def write(start: int) -> float:
        rows = torch.from_numpy(unit[start : start + ROWS_AT_ONCE])
        rounded = rows.to(torch.bfloat16)
        out[start : start + ROWS_AT_ONCE] = rounded.view(torch.uint16).numpy()
        return rounded.float().sub_(rows).norm(dim=1).max().item()  # the differences are exact

    return max(in_parallel(write, range(0, len(unit), ROWS_AT_ONCE)), default=0.0) * (
        1 + 2.0**-10
    )  # for the norm in float32


def similarity_error(width: int, input_error: float) -> float:
    """The bound above but for the output's rounding, on similarities of unit rows of this width.

    Args:
        input_error: e, the largest distance between a row and what is multiplied in its place; 0 for float32 products.
    """
    norm, unit = 1 + 2.0**-20, 2.0**-23
    inputs = input_error * (2 * norm + input_error)
    accumulation = width * unit / (1 - width * unit) * (norm + input_error) ** 2
    return inputs + accumulation + 2.0**-21


def sum_slack(width: int) -> float:
    """Bound on the difference of two float64 sums of the same D products in different orders, for unit rows.

    Products of float32 numbers are exact in float64, so each sum is within D u / (1 - D u) of the true value, u = 2^-53.
    """
    return 2 * width * 2.0**-53 / (1 - width * 2.0**-53) * (1 + 2.0**-19)
