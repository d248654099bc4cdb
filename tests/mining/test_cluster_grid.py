"""Tiles of clusters that are compared with their nearest ones."""

import numpy as np
import pytest

from hardpairs.mining.cluster_grid import ClusterGrid
from hardpairs.mining.clusters import Clusters
from hardpairs.mining.plan import Plan

SIZES = [3, 70, 0, 1, 250, 30, 0, 46]
ROWS = sum(SIZES)


def grid(list_block: int, probes: int, tile: int = 40) -> tuple[Plan, ClusterGrid, np.ndarray]:
    """Return a plan, its grid, and which rows are compared."""
    need = np.random.default_rng(0).integers(1, 8, (len(SIZES), len(SIZES)))
    need = np.minimum(need, need.T)
    np.fill_diagonal(need, 0)
    clusters = Clusters(np.arange(ROWS), np.concatenate(([0], np.cumsum(SIZES))), need)
    plan = Plan(ROWS, ROWS, 5, 84, tile, tile, list_block, False, 0)
    return (
        plan,
        ClusterGrid(plan, clusters, probes),
        (need < probes).repeat(SIZES, 0).repeat(SIZES, 1),
    )


@pytest.mark.parametrize("probes", [1, 3, 8])
@pytest.mark.parametrize("list_block", [80, 120, ROWS])
def test_tiles_cover_the_pairs_of_near_clusters_once(list_block, probes):
    plan, tiles, near = grid(list_block, probes)
    for start, stop in plan.list_blocks():
        seen = np.zeros((ROWS, ROWS), int)
        own = tiles.tiles(start, stop)
        for tile in own:
            assert max(tile.height, tile.width) <= 40
            seen[tile.top : tile.bottom, tile.left : tile.right] += 1
            if tile.both:
                seen[tile.left : tile.right, tile.top : tile.bottom] += 1
        assert (seen[start:stop] == near[start:stop]).all() and seen[start:stop].sum() == seen.sum()
        flags = [tiles.is_near(tile) for tile in own]
        assert flags == sorted(flags, reverse=True)


def test_what_rows_are_compared_with():
    _, tiles, near = grid(ROWS, 3)
    rows = np.array([399, 2, 75, 74, 0, 3])
    assert (tiles.others(rows) == near[rows].sum(axis=1) - 1).all()
    positions = []
    for own, ranges in tiles.compared(rows):
        positions += own.tolist()
        for row in rows[own]:
            columns = np.concatenate([np.arange(*ends) for ends in ranges])
            assert (columns == np.flatnonzero(near[row])).all()
    assert sorted(positions) == [*range(len(rows))]


def test_grids_of_other_probes_are_told_apart():
    assert grid(ROWS, 3)[1].identity == grid(80, 3)[1].identity != grid(ROWS, 4)[1].identity
