"""Intervals of the headline on one scale."""

from pathlib import Path

from hardpairs.evaluating.methods import compare
from hardpairs.evaluating.runs import read_methods
from hardpairs.reporting.intervals import intervals
from tests.reporting.runs import write_run


def test_intervals_hold_their_dots(four: list[Path]) -> None:
    found = intervals(compare(read_methods(four)))
    assert found is not None and len(found.rows) == 4
    for _, rows in found.rows:
        for row in rows:
            assert 0 <= row.left <= row.center <= row.left + row.width <= 100
            assert not row.seeds
    assert all(0 <= position <= 100 for position, _ in found.ticks)


def test_several_seeds_have_a_dot_each(data: Path) -> None:
    runs = [write_run(data, method, seed) for method in ("plain", "hard") for seed in range(3)]
    found = intervals(compare(read_methods(runs)))
    assert found is not None
    for _, (row,) in found.rows:
        assert len(row.seeds) == 3 and all(0 <= position <= 100 for position in row.seeds)
        assert abs(sum(row.seeds) / 3 - row.center) < 1e-6
