"""Sets of row numbers, and random rows outside a set."""

from __future__ import annotations

import numpy as np


def is_in(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Whether each value is in a sorted array: bool, the shape of ``values``."""
    if not len(ordered):
        return np.zeros(np.shape(values), bool)
    place = np.searchsorted(ordered, values)
    return ordered[np.minimum(place, len(ordered) - 1)] == values


class RowSet:
    """The rows 0..N-1 without some, by place. Holds only those left out.

    Args:
        num_samples: N.
        excluded: row numbers left out, in any order.
    """

    def __init__(self, num_samples: int, excluded: np.ndarray | None = None) -> None:
        self.excluded = np.unique(np.asarray([] if excluded is None else excluded, np.int64))
        if len(self.excluded) and not 0 <= self.excluded[0] <= self.excluded[-1] < num_samples:
            raise ValueError(f"excluded rows must lie in [0, {num_samples})")
        self._length = num_samples - len(self.excluded)
        self._kept_before = self.excluded - np.arange(
            len(self.excluded)
        )  # rows of the set before each excluded one

    def __len__(self) -> int:
        return self._length

    def at(self, places: np.ndarray) -> np.ndarray:
        """Row numbers at places 0..len-1 of the ascending set.

        Example:
            >>> RowSet(5, [1, 2]).at(np.array([0, 1, 2]))
            array([0, 3, 4])
        """
        return places + np.searchsorted(self._kept_before, places, side="right")

    def has(self, rows: np.ndarray) -> np.ndarray:
        """Whether each row is in the set: bool."""
        return ~is_in(rows, self.excluded)

    def draw_outside(self, used: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """``count`` distinct rows of the set that are not in ``used``, in random order (fewer when there are no more)."""
        used = np.sort(used)
        wanted = (
            2 * count if len(self) > 4 * (len(used) + count) else len(self)
        )  # few of many: most draws are outside
        while True:
            draw = self.at(rng.choice(len(self), size=min(wanted, len(self)), replace=False))
            outside = draw[~is_in(draw, used)]
            if len(outside) >= count or wanted >= len(self):
                return outside[:count]
            wanted *= 2
