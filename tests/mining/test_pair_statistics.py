"""Numbers of hard pair tables against plain loops, and suspicious pairs by hand."""

import numpy as np
import pytest

from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import open_samples
from hardpairs.mining.pair_statistics import (
    QUANTILES,
    caption_likeness,
    overlap,
    statistics,
    suspicions,
    words,
)
from tests.helpers import ragged_table


def in_memory(indices, scores, **manifest):
    lengths = (indices >= 0).sum(axis=1).astype(np.int32)
    return HardPairTable(
        indices.astype(np.int32), lengths, scores, {"dataset_fingerprint": "x", **manifest}
    )


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
    captions = {3: "two small dogs", 7: "Two small dogs!", 11: "a small dog", 20: "nothing else"}
    text = table.read_text()
    for row, caption in captions.items():
        text = text.replace(f"picture number {row}\n", f"{caption}\n")
    table.write_text(text)
    indices, scores = np.full((40, 2), -1), np.zeros((40, 2), np.float32)
    for row, partners, values in (
        (3, (20, 7), (0.6, 0.2)),
        (11, (3, 20), (0.3, 0.1)),
        (20, (3, 11), (0.95, 0.9)),
        (30, (3, 7), (0.4, 0.1)),
    ):
        indices[row], scores[row] = partners, values
    samples = open_samples(table)
    found = suspicions(in_memory(indices, scores), samples)
    assert [(s.row, s.rank) for s in found] == [(3, 1), (20, 0), (11, 0), (30, 0)]
    assert [s.likeness for s in found] == pytest.approx([1, 0.95, 2 / 3, 0.4])
    assert (
        found[0].reason == "the captions have the same words"
        and found[1].reason == "the score is high"
    )
