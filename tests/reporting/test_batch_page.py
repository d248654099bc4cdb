"""The page of batches: its lines."""

from hardpairs.reporting.batch_page import occurrence_lines
from hardpairs.reporting.batch_statistics import Occurrences


def test_rare_counts_are_joined():
    counted = Occurrences({1: 6}, {1: 2, 7: 1, 8: 1, 15: 1, 128: 1}, {"targets": 6}, 0)
    assert occurrence_lines(counted) == [
        ("1", "6", "2"),
        ("7", "0", "1"),
        ("8 to 15", "0", "2"),
        ("128 to 255", "0", "1"),
    ]
