"""The tiles of a search that compares clusters with their nearest clusters alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hardpairs.mining.clusters import Clusters
from hardpairs.mining.plan import Plan, Tile


class ClusterGrid:
    """Grid of a search in clusters: rows and the columns they are compared with.

    See ``hardpairs.mining.plan.Grid``.

    Args:
        plan: The sizes of the search; all rows are targets and candidates.
        clusters: The rows in search order, by cluster.
        probes: Nearest clusters that each cluster is compared with, itself included. A cluster is
            also compared with those that probe it.
    """

    def __init__(self, plan: Plan, clusters: Clusters, probes: int) -> None:
        self._tile, self._starts = plan.tile, clusters.starts
        self._related = clusters.need < probes
        self._candidates = self._related @ clusters.sizes
        self.identity = [probes, *clusters.starts.tolist()]

    def tiles(self, start: int, stop: int) -> list[Tile]:
        """Return the tiles that fill the lists of rows [start, stop), a cluster's own ones first.

        A tile left of its rows serves the lists of both, if these are in [start, stop), too.
        """
        tiles = []
        for cluster in range(int(self._cluster(start)), int(self._cluster(stop - 1)) + 1):
            rows = max(start, int(self._starts[cluster])), min(stop, int(self._starts[cluster + 1]))
            columns = self._columns(cluster)
            for top, bottom in self._pieces(*rows):
                tiles.append(Tile(top, bottom, top, bottom, both=False))
                for left, right in columns:
                    for piece in self._pieces(left, min(right, start)):
                        tiles.append(Tile(top, bottom, *piece, both=False))
                    for piece in self._pieces(max(left, start), min(right, top)):
                        tiles.append(Tile(top, bottom, *piece, both=True))
                    for piece in self._pieces(max(left, stop), right):
                        tiles.append(Tile(top, bottom, *piece, both=False))
        return sorted(tiles, key=lambda tile: not self.is_near(tile))

    def is_near(self, tile: Tile) -> bool:
        """Tell whether a tile's columns are its rows."""
        return tile.top == tile.left

    def compared(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, list[tuple[int, int]]]]:
        """Yield positions in ``rows``, and the ranges of columns that these are compared with."""
        clusters = self._cluster(rows)
        for cluster in np.unique(clusters).tolist():
            yield np.flatnonzero(clusters == cluster), self._columns(cluster)

    def others(self, rows: np.ndarray) -> np.ndarray:
        """Return how many other rows each row is compared with."""
        others: np.ndarray = self._candidates[self._cluster(rows)] - 1
        return others

    def _cluster(self, rows: np.ndarray | int) -> np.ndarray:
        return np.searchsorted(self._starts, rows, side="right") - 1

    def _columns(self, cluster: int) -> list[tuple[int, int]]:
        """Return the ranges of rows that a cluster is compared with; neighbors make one range."""
        related = np.flatnonzero(self._related[cluster])
        runs = np.split(related, np.flatnonzero(np.diff(related) > 1) + 1)
        return [(int(self._starts[run[0]]), int(self._starts[run[-1] + 1])) for run in runs]

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        for first in range(start, stop, self._tile):
            yield first, min(first + self._tile, stop)
