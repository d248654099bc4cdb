"""Cells of the table over seeds."""

from hardpairs.evaluating.spread import Spread, spread_of
from hardpairs.reporting.spread_table import spread_text


def test_cells():
    found = spread_of([0.4, 0.5, 0.6])
    assert spread_text(found, "share") == "50.0 ± 10.0"
    assert spread_text(found, "score") == ".500 ± .100"
    assert spread_text(Spread(39.0625, 3.125, ()), "percent") == "39.1 ± 3.1"
    assert spread_text(Spread(7.0, 0.5, ()), "rank") == "7 ± 0.5"
    assert spread_text(spread_of([0.5]), "share") == "50.0"
