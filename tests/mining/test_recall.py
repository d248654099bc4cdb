"""Recall of approximate searches: the figures, their interval, and that nothing moves them."""

import json

import numpy as np
import pytest

from hardpairs.core.progress import Progress
from hardpairs.core.ranks import ALONE
from hardpairs.mining import recall
from hardpairs.mining.api import Execution
from hardpairs.mining.recall import draw_sample, estimated_share, sample_size
from tests.helpers import torchrun
from tests.mining.command import mine
from tests.mining.searches import search, themed

COUNT, TOP_K = 900, 6


@pytest.fixture(scope="module")
def rows():
    return themed(COUNT, 16), themed(COUNT, 16, 1)


def shares(listed, exact, of=None):
    """Return recall and share of the summed score by definition, over some rows or all."""
    of = np.arange(len(exact.indices)) if of is None else of
    pairs = [(set(listed.indices[i]) - {-1}, set(exact.indices[i]) - {-1}) for i in of]
    found = sum(len(own & wanted) for own, wanted in pairs)
    score = listed.scores[of].sum(dtype=np.float64) / exact.scores[of].sum(dtype=np.float64)
    return found / sum(len(wanted) for _, wanted in pairs), score


@pytest.mark.parametrize(
    "options",
    [
        {"approx": 300},
        {"approx": 200, "approx_targets": 250, "seed": 3, "range_min": 2, "min_score": 0.05},
        {"approx": 400, "method": "text", "range_min": 1, "range_max": 4},
    ],
)
def test_measured_on_a_seeded_sample_by_definition(rows, options, monkeypatch):
    """The sample meets its candidates in several parts."""
    monkeypatch.setattr(recall, "CANDIDATES_AT_ONCE", 250)
    exclude, groups = np.array([5, 6]), np.arange(COUNT).reshape(-1, 1) // 3
    result = search(*rows, TOP_K, groups=groups, exclude=exclude, **options)
    rules = {name: value for name, value in options.items() if not name.startswith("approx")}
    exact = search(*rows, TOP_K, groups=groups, exclude=exclude, **rules)
    sample = draw_sample(np.setdiff1d(np.arange(COUNT), exclude), options.get("seed", 0))
    pairs, score = shares(result, exact, sample)
    assert result.recall.rows == len(np.unique(sample)) == 200
    assert result.recall.pairs.value == pytest.approx(pairs)
    assert result.recall.score.value == pytest.approx(score)


def test_a_sample_that_chooses_is_independent_of_the_one_that_measures():
    """It may share rows with it: 40 of 200 of 1,000, as chance has it."""
    rows = np.arange(1000)
    common = [
        len(np.intersect1d(draw_sample(rows, seed), draw_sample(rows, seed, recall.CHOICE_STREAM)))
        for seed in range(100)
    ]
    assert 38 < np.mean(common) < 42


def test_an_exact_search_measures_nothing(rows):
    assert search(*rows, TOP_K).recall is None and search(*rows, TOP_K, approx=COUNT).recall is None
    off = Execution(measures_recall=False)
    assert search(*rows, TOP_K, approx=300, execution=off).recall is None
    assert search(*rows, TOP_K, approx=300, min_score=1).recall is None  # nothing can be missed


def test_few_rows_are_all_in_the_sample():
    image, text = themed(60, 8), themed(60, 8, 1)
    result, exact = search(image, text, 5, approx=20), search(image, text, 5)
    pairs, _ = shares(result, exact)
    share = result.recall.pairs
    assert share.low == share.value == share.high == pytest.approx(pairs)


def test_an_interrupted_search_keeps_the_sample(rows, tmp_path, monkeypatch):
    progress = Progress(tmp_path / "p", {}, every=0)
    execution = Execution(progress=progress, ranks=ALONE)
    expected = search(*rows, TOP_K, approx=300, execution=execution)
    monkeypatch.setattr(recall, "CANDIDATES_AT_ONCE", None)  # a second search of it would fail
    assert search(*rows, TOP_K, approx=300, execution=execution).recall == expected.recall


def test_in_the_manifest_and_the_same_on_two_processes(rows, tmp_path):
    for name, array in zip("ab", rows, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    flags = ("--dataset", "x", "--topk", "6", "--approx", "300", "--image-embeddings")
    flags += (str(tmp_path / "a.npy"), "--text-embeddings", str(tmp_path / "b.npy"), "--save_path")
    done = mine(*flags, tmp_path / "one")
    assert "recall on 200 rows that were searched exactly: .3" in done.stderr.replace("0.", ".")
    manifest = (tmp_path / "one/x_hard_pairs/manifest.json").read_bytes()
    stored = json.loads(manifest)["recall"]
    assert stored["rows"] == 200
    assert 0 < stored["pairs"]["low"] < stored["pairs"]["value"] < stored["pairs"]["high"] < 0.45
    done = torchrun(2, "-m", "mining.hard_pair_mining", *flags, str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "two/x_hard_pairs/manifest.json").read_bytes() == manifest


def test_the_interval_of_shares():
    """By hand: rows of equal length, of which a quarter have nothing and the others all."""
    wholes = np.full(100, 10)
    parts = np.where(np.arange(100) % 4 == 0, 0, 10)
    share = estimated_share(parts, wholes, 10**9)
    assert share.value == 0.75  # 100 independent observations: Wilson's interval
    assert (share.low, share.high) == pytest.approx((0.6570, 0.8245), abs=1e-4)
    whole = estimated_share(wholes, wholes, 10**9)
    assert (whole.value, whole.high) == (1, 1) and whole.low == pytest.approx(0.9630, abs=1e-4)
    none = estimated_share(0 * wholes, wholes, 10**9)
    assert none.low == 0 and none.high == pytest.approx(0.0370, abs=1e-4)
    independent = estimated_share(np.tile([9, 10], 50), wholes, 10**9)
    assert independent.high - independent.low < 0.03
    known = estimated_share(parts, wholes, 100)
    assert known.low == known.value == known.high


@pytest.mark.parametrize("target", [0.95, 0.99, 0.999])
def test_a_sample_decides_a_target(target):
    """Of rows that are found or missed whole: each is one observation."""
    size = int(sample_size(target))
    wholes, half_way = np.ones(size), (1 + target) / 2
    found = (np.arange(size) < half_way * size).astype(int)
    low = estimated_share(found, wholes, 10**9).low
    assert target <= low <= target + 0.1 * (1 - target)
    few = np.ones(size // 5)  # cannot even tell it where nothing is missed
    assert estimated_share(few, few, 10**9).low < target


def test_no_sample_decides_a_recall_of_one():
    assert sample_size(1) == np.inf and sample_size(0.5) == recall.SAMPLE


def covered(parts, wholes, runs=400):
    """Return the share of seeded samples whose interval holds the share of all rows."""
    whole, count = parts.sum() / wholes.sum(), 0
    for seed in range(runs):
        rows = draw_sample(np.arange(len(parts)), seed)
        share = estimated_share(parts[rows], wholes[rows], len(parts))
        count += share.low <= whole <= share.high
    return count / runs


@pytest.mark.parametrize("pool", [500, 1460])
def test_the_interval_covers_the_exact_recall(pool):
    image, text = themed(1500, 12), themed(1500, 12, 1)
    exact, result = search(image, text, 10), search(image, text, 10, approx=pool)
    pairs = zip(result.indices, exact.indices, strict=True)
    found = np.array([np.isin(own, wanted[wanted >= 0]).sum() for own, wanted in pairs])
    assert covered(found, (exact.indices >= 0).sum(axis=1)) >= 0.93
    assert covered(result.scores.sum(axis=1), exact.scores.sum(axis=1)) >= 0.93


@pytest.mark.parametrize("missing", [0.002, 0.02, 0.3])
def test_the_interval_covers_rows_that_are_missed_whole(missing):
    """Of rows of unequal lengths: a sample holds few or none of the missed ones."""
    rng = np.random.default_rng(1)
    wholes = rng.integers(1, 50, 5000)
    assert covered(np.where(rng.random(5000) < missing, 0, wholes), wholes) >= 0.91
