"""Each row is made on one process, in the order of the numbers, and comes to those who keep it."""

import numpy as np
import pytest

from hardpairs.core.ranks import Ranks
from hardpairs.mining import by_number
from hardpairs.mining.by_number import hand_out
from tests.mining.thread_ranks import in_threads


@pytest.mark.parametrize(("processes", "count"), [(1, 50), (3, 50), (4, 3)])
@pytest.mark.parametrize("around", [False, True])
def test_rows_are_made_once_and_handed_to_all(processes, count, around, monkeypatch):
    monkeypatch.setattr(by_number, "ROWS_AT_ONCE", 7)
    order = np.random.default_rng(0).permutation(3 * count)[:count]

    def one(ranks: Ranks):
        made, kept = [], {}

        def make(at):
            made.extend(order[at].tolist())
            rows = order[at].astype(np.float32)[:, None]
            return [rows, np.tile(-rows, 2)]

        def keep(at, rows):
            for position, image, text in zip(at.tolist(), *rows, strict=True):
                assert position not in kept and image[0] == -text[0] == -text[1]
                kept[position] = int(image[0])

        hand_out(order, [1, 2], make, keep, ranks, around=around)
        return made, kept

    results = in_threads(processes, one)
    assert [row for made, _ in results for row in made] == sorted(order)
    for made, kept in results:
        assert [order[position] for position in kept] == [*kept.values()]
        assert sorted(kept.values()) == (sorted(order) if around else made)
