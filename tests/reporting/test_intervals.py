"""Intervals of the headline on one scale."""

from pathlib import Path

from hardpairs.evaluating.methods import compare
from hardpairs.evaluating.runs import read_methods
from hardpairs.reporting.intervals import intervals


def test_intervals_hold_their_dots(four: list[Path]) -> None:
    found = intervals(compare(read_methods(four)))
    assert found is not None and len(found.rows) == 4
    for _, rows in found.rows:
        for row in rows:
            assert 0 <= row.left <= row.center <= row.left + row.width <= 100
    assert all(0 <= position <= 100 for position, _ in found.ticks)
