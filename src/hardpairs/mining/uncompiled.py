"""The kernel's loops over numbers as numpy expressions, for machines that cannot compile them. Same names, arguments and results."""

from __future__ import annotations

import numpy as np

from hardpairs.mining.kernel import PRODUCT, ROUNDING, SINGLE


def dot(left, i, right, j):
    return float(left[i].astype(np.float64) @ right[j].astype(np.float64))


def ordered_dot(left, i, right, j):
    products = left[i].astype(np.float64) * right[j].astype(np.float64)
    return (
        float(np.cumsum(products)[-1]) if len(products) else 0.0
    )  # cumsum adds one after the other, sum does not


def upper_scores(mode, first, second, first_error, second_error, tables, out):
    if mode == SINGLE:
        out[:] = _upper(first, first_error)
    elif mode == PRODUCT:
        out[:] = np.maximum(_upper(first, first_error), np.float32(0)) * _upper(
            second, second_error
        )
    else:
        out[:] = tables[0, first] * tables[1, second]


def _upper(codes, error):
    values = (codes.astype(np.uint32) << 16).view(np.float32)
    return values + (np.abs(values) * np.float32(ROUNDING) + error)


def above(scores, thresholds, found):
    hits = np.flatnonzero(scores > thresholds)
    found[: len(hits)] = hits
    return len(hits)
