"""Predictions as text: units that suit, and what does not fit."""

import dataclasses

import pytest

from hardpairs.planning.cost import Cost
from hardpairs.planning.table import bytes_text, cost_table, time_text

COST = Cost("mine, exact", 8, {"search": 7200.0}, 2_500_000_000, 1_200_000, 600, 0, 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2 s"), (90, "90 s"), (150, "2.5 min"), (7200, "2.0 h"), (200_000, "2.3 days")],
)
def test_a_time(seconds, text):
    assert time_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "-"), (12, "12 B"), (2_500_000, "2.5 MB"), (31 * 10**12, "31 TB")]
)
def test_bytes(count, text):
    assert bytes_text(count) == text


def test_lines_are_aligned_and_name_what_does_not_fit():
    heading, line = cost_table([COST]).splitlines()
    assert line.split() == [
        "mine,",
        "exact",
        "8",
        "2.0",
        "h",
        "2.5",
        "GB",
        "1.2",
        "MB",
        "600",
        *"B--",
    ]
    assert heading.index("sent") + 3 == line.rindex("-")
    large = dataclasses.replace(COST, fits=False)
    assert "2.5 GB*" in cost_table([large]) and "than a process may take" in cost_table([large])
