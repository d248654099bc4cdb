"""Numbers of hard pair tables against plain loops, and suspicious pairs by hand."""

import numpy as np
import pytest

from hardpairs.data.opening import open_samples
from hardpairs.mining.pair_statistics import (
    QUANTILES,
    caption_likeness,
    overlap,
    statistics,
    summary,
    suspicions,
    words,
)
from tests.helpers import ragged_table
from tests.mining.suspicious import in_memory, suspicious_table


def test_numbers_against_loops(monkeypatch):
    monkeypatch.setattr("hardpairs.mining.pair_statistics.ROWS_AT_ONCE", 7)
    indices, scores = ragged_table(60, 5)
    found = statistics(in_memory(indices, scores))
    lists = [[j for j in row if j >= 0] for row in indices.tolist()]
    flat = [j for row in lists for j in row]
    times = [flat.count(row) for row in range(60)]
    assert (found.rows, found.pairs, found.most_listed) == (60, len(flat), max(times)) and times[
        found.most_listed_row
    ] == max(times)
    assert (
        found.empty == sum(not row for row in lists) / 60
        and found.never_listed == times.count(0) / 60
    )
    assert found.hub_share == max(times) / len(flat)  # a hundredth of 60 rows is one
    hardest = [scores[row, 0] for row in range(60) if lists[row]]
    every = [scores[row, place] for row in range(60) for place in range(len(lists[row]))]
    assert found.hardest == pytest.approx(
        np.quantile(hardest, QUANTILES)
    ) and found.all == pytest.approx(np.quantile(every, QUANTILES))


def test_the_summary_against_loops(monkeypatch):
    monkeypatch.setattr("hardpairs.data.npy_files.ENTRIES_AT_ONCE", 35)
    indices, scores = ragged_table(60, 5)
    lists = [[j for j in row if j >= 0] for row in indices.tolist()]
    flat = [j for row in lists for j in row]
    assert summary(in_memory(indices, scores)) == {
        "rows": 60,
        "rows_with_pairs": sum(map(bool, lists)),
        "pairs_per_row": len(flat) / 60,
        "hardest_score_median": float(np.median(scores[[*map(bool, lists)], 0])),
        "most_listed": max(map(flat.count, range(60))),
    }
    empty = summary(in_memory(np.full((3, 2), -1), np.zeros((3, 2), np.float32)))
    assert [empty[name] for name in ("hardest_score_median", "most_listed")] == [0, 0]


def test_overlap_against_sets(monkeypatch):
    monkeypatch.setattr("hardpairs.mining.pair_statistics.ROWS_AT_ONCE", 11)
    tables = [in_memory(*ragged_table(50, 6, seed)) for seed in (0, 1)]
    ours, theirs = (
        {(row, j) for row in range(50) for j in table.indices[row].tolist() if j >= 0}
        for table in tables
    )
    assert overlap(*tables) == len(ours & theirs) / len(ours) and overlap(tables[0], tables[0]) == 1


def test_captions_that_say_the_same():
    assert words("The red-brick Houses, at night.") == {"red", "brick", "house", "at", "night"}
    assert caption_likeness("A dog.", "dogs") == 1 and caption_likeness("a red cat", "a cat") == 0.5
    assert caption_likeness("!!", "??") == 0


def test_the_suspicious_come_first(table):
    pairs, samples = suspicious_table(table), open_samples(table)
    found = suspicions(pairs, samples)
    assert [(s.row, s.rank) for s in found] == [(3, 1), (20, 0), (11, 0), (30, 0)]
    assert [s.likeness for s in found] == pytest.approx([1, 0.95, 2 / 3, 0.4])
    assert (
        found[0].reason == "the captions have the same words"
        and found[1].reason == "the score is high"
    )
