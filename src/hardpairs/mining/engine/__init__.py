"""The engine that compares all pairs of rows; one for CPUs, one for CUDA devices.

Start with ``Engine``, the interface that ``hardpairs.mining.api`` uses. ``cpu`` and ``cuda`` hold
its two implementations, ``kernel`` the compiled loops of both, ``lists`` what is done to candidate
lists as a whole, and ``error_bound`` the proof that low-precision products lose no pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hardpairs.mining.options import CROSS

if TYPE_CHECKING:
    import numpy as np

    from hardpairs.mining.engine.kernel import CandidateLists, Data
    from hardpairs.mining.plan import Plan, Tile
    from hardpairs.mining.unit_vectors import UnitVectors


class Engine(Protocol):
    """One process's way to compare the pairs of a tile.

    Attributes:
        data: What scores are made of.
    """

    data: Data

    def offer(self, tile: Tile, lists: CandidateLists) -> None:
        """Offer all pairs of a tile to the lists of its rows and, if it says so, its columns."""

    def flush(self) -> None:
        """Wait until the pairs of all tiles are in their lists."""

    def count_removed(
        self,
        rows: np.ndarray,
        columns: tuple[int, int],
        last_key: np.ndarray,
        removed: np.ndarray,
    ) -> None:
        """Count what filters removed from lists that had no room for removed entries.

        Args:
            rows: (R,) int64 rows in search order.
            columns: The first candidate and the one after the last.
            last_key: (R,) uint64 rank keys of the rows' last kept entries.
            removed: (R, REASONS) int64, to which the counts are added.
        """

    def seconds_per_pair(self, rows: int) -> float:
        """Return the seconds of one pair's products, measured on a block of at most ``rows``."""


def is_accelerator(device: str) -> bool:
    """Tell whether a device runs the scan over all pairs itself."""
    return device.startswith("cuda")


def open_engine(data: Data, vectors: UnitVectors, plan: Plan, device: str) -> Engine:
    """Return the engine for a device such as ``cpu`` or ``cuda:1``."""
    if is_accelerator(device):
        from hardpairs.mining.engine.cuda import CudaEngine  # imports triton

        return CudaEngine(data, vectors, device, plan.tile, plan.on_device)
    from hardpairs.mining.engine.cpu import CpuEngine, Products

    crossed = data.mode == CROSS
    products = Products(vectors.multiplied, vectors.errors, plan.product_block, crossed=crossed)
    return CpuEngine(data, products)
