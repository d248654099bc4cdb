"""Rows in the order of their numbers, as files behind URLs are read, handed to those who keep them.

The rows of a search stand in another order, and each process keeps some of them. So each process
reads an equal share of the files from its start to its end. What it reads goes around to the other
processes, unless all of them share what they write.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hardpairs.core.ranks import Ranks

ROWS_AT_ONCE = 2048
"""Rows that a process reads before they go around."""


def hand_out(
    order: np.ndarray,
    widths: list[int],
    make: Callable[[np.ndarray], list[np.ndarray]],
    keep: Callable[[np.ndarray, list[np.ndarray]], None],
    ranks: Ranks,
    *,
    around: bool,
) -> None:
    """Make each row once, on one of the processes.

    Args:
        order: (M,) row numbers in search order.
        widths: Components of a row, for each modality.
        make: Returns the (n, D) float32 rows of some positions in search order, by modality.
        keep: Is called with positions and their rows: this process's own and, if they go around,
            those of all others.
        ranks: This process and the others.
        around: Whether rows go around.
    """
    by_number = np.argsort(order, kind="stable")
    count = len(order)
    shares = [by_number[start:stop] for start, stop in ranks.shares(0, count)]
    for start in range(0, max(map(len, shares)), ROWS_AT_ONCE):
        parts = [share[start : start + ROWS_AT_ONCE] for share in shares]
        rows = make(parts[ranks.rank])
        keep(parts[ranks.rank], rows)
        for step in range(1, ranks.world_size if around else 1):
            part = parts[(ranks.rank + step) % ranks.world_size]
            coming = [np.empty((len(part), width), np.float32) for width in widths]
            ranks.exchange(rows, coming)()
            rows = coming
            keep(part, rows)
