"""Error bounds of low-precision similarities.

With this bound, low-precision products may choose candidates without losing any. Let x, y be
float32 unit vectors, x', y' what is multiplied (rounded to bfloat16, float16 or int8, or the same
vectors), s = x.y exactly.

1. Inputs. x'.y' - x.y = (x' - x).y' + x.(y' - y), so by Cauchy-Schwarz
   |x'.y' - x.y| <= e |y'| + |x| e <= e (2n + e), with e the largest |x' - x| over all rows and n
   the largest |x|. e is measured on the rows themselves: for bfloat16 it is 0.0024 on rows of
   normal numbers, where the format allows 0.0039 in the worst case (2^-8 |x|).
2. Accumulation. A product of two bfloat16 or float16 numbers is exact in float32. D of them added
   in float32, in any order, are off by at most D u / (1 - D u) * sum |x'_k y'_k| (Higham, Accuracy
   and Stability of Numerical Algorithms, section 3.1), and the sum is at most
   |x'| |y'| <= (n + e)^2. We take u = 2^-23, twice the unit roundoff, which also covers units that
   truncate and, for float32 inputs, the rounding of each product. Sums of int8 products are exact;
   to become similarities they are rounded to float32 and multiplied by the product of two scales.
   These three roundings of 2^-24 are within the same bound for D of at least 2.
3. Output, rounded to nearest: relative to the value, ``BFLOAT16_ROUNDING`` or ``FLOAT16_ROUNDING``.
   The loops add it to each value.
4. The loops evaluate value + error in float32: 2^-21 covers their own rounding, for values up to 2.

|s - value| <= rounding * |value| + similarity_error. ``test_error_bound.py`` checks it against rows
that come close.
"""

from __future__ import annotations

BFLOAT16_ROUNDING = 2.0**-8 / (1 - 2.0**-8)
"""Of a value rounded to bfloat16 (8 significant bits): its error over the rounded value."""
FLOAT16_ROUNDING = 2.0**-11 / (1 - 2.0**-11)
"""Of a value rounded to float16 (11 significant bits): its error over the rounded value, ..."""
FLOAT16_UNDERFLOW = 2.0**-24
"""... or this absolute error, where the value is too small for 11 bits."""
NORM_ROUNDING = 1 + 2.0**-10
"""Factor for a norm that was computed in float32."""


def similarity_error(width: int, input_error: float) -> float:
    """Return the bound above, without the output's rounding.

    Args:
        width: D, components of a row.
        input_error: e, the largest distance between a row and what is multiplied in its place; 0
            for float32 products.
    """
    norm, unit = 1 + 2.0**-20, 2.0**-23
    inputs = input_error * (2 * norm + input_error)
    accumulation = width * unit / (1 - width * unit) * (norm + input_error) ** 2
    return inputs + accumulation + 2.0**-21


def sum_error(width: int) -> float:
    """Return a bound on the difference of two float64 sums of one dot product of unit vectors.

    Products of float32 numbers are exact in float64, so each sum of D of them, in any order, is
    within D u / (1 - D u) of the true value, u = 2^-53.
    """
    return 2 * width * 2.0**-53 / (1 - width * 2.0**-53) * (1 + 2.0**-19)
