"""Unit rows in search order: float32 to decide with, bfloat16 to choose with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from formats.errors import Exit, UserError
from mining.bound import ROWS_AT_ONCE, rounded_rows

Allocate = Callable[[str, tuple[int, ...], type], np.ndarray]


def write_unit_rows(embeddings: np.ndarray, order: np.ndarray, name: str, out: np.ndarray) -> None:
    """Writes ``embeddings[order]`` at unit length (norms in float64) into ``out`` (M, D) float32.

    Raises:
        UserError: exit 6 for zero or non-finite rows, naming them.
    """

    def write(start: int) -> list[int]:
        numbers = order[start : start + ROWS_AT_ONCE]
        rows = np.asarray(embeddings[numbers], dtype=np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        good = np.isfinite(norms) & (norms > 1e-30)
        out[start : start + ROWS_AT_ONCE] = rows / np.where(good, norms, 1)
        return numbers[~good[:, 0]].tolist()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        bad = [number for part in pool.map(write, range(0, len(order), ROWS_AT_ONCE)) for number in part]
    if bad:
        raise UserError(
            Exit.NON_FINITE,
            f"{len(bad)} {name} embeddings are zero or not finite",
            where=f"rows {', '.join(map(str, sorted(bad)[:10]))}",
            fix="leave them out (exclude)",
        )


def multiplied_rows(unit: np.ndarray, precision: str, name: str, allocate: Allocate) -> tuple[np.ndarray, float]:
    """The rows that products are made of and how far they are from ``unit``: bfloat16 bits, or ``unit`` itself."""
    if precision == "float32":
        return unit, 0.0
    rounded = allocate(f"{name}_bfloat16", unit.shape, np.uint16)
    return rounded, rounded_rows(unit, rounded)
