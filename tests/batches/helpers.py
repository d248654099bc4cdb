"""What the tests of the makers of batches share."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from hardpairs.batches import BatchSampler
from tests.helpers import ragged_table


def table_of(indices: np.ndarray, scores: np.ndarray | None = None) -> SimpleNamespace:
    """A hard pair table in memory."""
    lengths = (indices >= 0).sum(1).astype(np.int32)
    scores = (indices >= 0).astype(np.float32) if scores is None else scores
    return SimpleNamespace(
        indices=indices.astype(np.int32), lengths=lengths, scores=scores, fingerprint="0" * 64
    )


def random_table(count: int, width: int, seed: int = 0, fullest: bool = False) -> SimpleNamespace:
    return table_of(*ragged_table(count, width, seed, fullest))


def all_ranks(
    maker: type[BatchSampler], *arguments, world_size: int, **options
) -> list[BatchSampler]:
    return [
        maker(*arguments, rank=rank, world_size=world_size, **options) for rank in range(world_size)
    ]


def epoch(
    ranks: list[BatchSampler], number: int = 0
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(rows, roles, spares) of each global batch of an epoch, ranks joined."""
    batches = []
    for batch in range(len(ranks[0])):
        plans = [rank.plan(batch, number) for rank in ranks]
        batches.append(
            tuple(
                np.concatenate([getattr(plan, name) for plan in plans])
                for name in ("rows", "roles", "spares")
            )
        )
    return batches


def check_batches(batches, size: int, excluded: np.ndarray) -> None:
    """Laws of every maker: whole batches, no row twice in one, no excluded row, spares outside of it and distinct."""
    for rows, roles, spares in batches:
        assert len(rows) == len(roles) == size == len(np.unique(rows))
        assert len(np.unique(spares)) == len(spares) and not np.isin(spares, rows).any()
        assert not np.isin(rows, excluded).any() and not np.isin(spares, excluded).any()
