"""Sets of row numbers, and random rows outside a set."""

from __future__ import annotations

import numpy as np


def is_in(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return whether each value is in a sorted array: bool, in the shape of ``values``."""
    if not len(ordered):
        return np.zeros(np.shape(values), bool)
    position = np.searchsorted(ordered, values)
    return np.asarray(ordered[np.minimum(position, len(ordered) - 1)] == values)


def first_of_each(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values, ascending, and the position of the first one of each.

    ``np.unique`` returns the same, and takes longer: it sorts positions beside the values.

    Args:
        values: (V,) int64 from 0 on, below 2**63 / V.

    Example:
        >>> first_of_each(np.array([7, 3, 7]))
        (array([3, 7]), array([1, 0]))
    """
    count = max(1, len(values))
    both = np.sort(values * count + np.arange(len(values)))
    distinct = both // count
    is_first = np.append(True, distinct[1:] != distinct[:-1])[: len(both)]
    return distinct[is_first], (both - distinct * count)[is_first]


class RowSet:
    """The rows 0..N-1 without some. Only those left out are stored.

    Args:
        num_samples: N.
        excluded: Row numbers left out, in any order.
    """

    def __init__(self, num_samples: int, excluded: np.ndarray | None = None) -> None:
        self.excluded = np.unique(np.asarray([] if excluded is None else excluded, np.int64))
        if len(self.excluded) and not 0 <= self.excluded[0] <= self.excluded[-1] < num_samples:
            raise ValueError(f"excluded rows must lie in [0, {num_samples})")
        self._length = num_samples - len(self.excluded)
        # Number of rows of the set before each excluded one.
        self._kept_before = self.excluded - np.arange(len(self.excluded))

    def __len__(self) -> int:
        """Return the number of rows in the set."""
        return self._length

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Return the row numbers at positions of the ascending set; where all are in it, those.

        Example:
            >>> RowSet(5, [1, 2]).at(np.array([0, 1, 2]))
            array([0, 3, 4])
        """
        if not len(self.excluded):
            return positions
        return positions + np.searchsorted(self._kept_before, positions, side="right")

    def all(self) -> np.ndarray:
        """Return all rows of the set, ascending int32."""
        return self.at(np.arange(len(self), dtype=np.int32)).astype(np.int32)

    def has(self, rows: np.ndarray) -> np.ndarray:
        """Return whether each row is in the set: bool."""
        return ~is_in(rows, self.excluded)

    def draw_outside(self, used: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw distinct rows of the set that are not in ``used``, in random order.

        Args:
            used: Row numbers.
            count: Number of rows to draw.
            rng: The batch's generator.

        Returns:
            (count,) int64; fewer when there are no more.
        """
        # Where the set is large, most draws are outside ``used``.
        large = len(self) > 4 * (len(used) + count)
        if large and not count:
            return np.empty(0, np.int64)
        used = np.sort(used)
        wanted = 2 * count if large else len(self)
        while True:
            draw = self.at(rng.choice(len(self), size=min(wanted, len(self)), replace=False))
            for some in (draw[: count + count // 8], draw):  # the first ones are often enough
                outside = some[~is_in(some, used)]
                if len(outside) >= count:
                    return np.asarray(outside[:count])
            if wanted >= len(self):
                return np.asarray(outside)
            wanted *= 2
