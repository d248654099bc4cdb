"""Clusters of rows, and searches that compare nearest clusters alone."""

import json

import numpy as np
import pytest
import torch

from hardpairs.core.progress import Progress
from hardpairs.core.ranks import ALONE
from hardpairs.mining import clusters as clustering
from hardpairs.mining import recall
from hardpairs.mining.api import Execution
from hardpairs.mining.clusters import exact_because, make_clusters
from hardpairs.mining.engine.cpu import CpuEngine
from hardpairs.mining.plan import make_plan
from hardpairs.mining.recall import draw_sample, sample_size
from tests.helpers import torchrun
from tests.mining.command import mine
from tests.mining.reference import dots, reference, unit
from tests.mining.searches import assert_same, search, themed
from tests.mining.test_recall import shares


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Make clusters and samples so small that few rows are enough."""
    monkeypatch.setattr(clustering, "ROWS_PER_CLUSTER", 20)
    monkeypatch.setattr(recall, "SAMPLE", 40)


def clusters_of(image, text, rows=None, seed=0):
    rows = np.arange(len(image)) if rows is None else rows
    return make_clusters({"image": image, "text": text}, rows, seed, ALONE)


def as_before(one, other):
    return all(np.array_equal(vars(one)[name], vars(other)[name]) for name in vars(one))


def test_each_row_is_in_the_cluster_of_its_nearest_center(monkeypatch):
    """Also of rows between two centers, where float32 products may say either."""
    kept = []
    fitted = clustering._fitted_centers
    monkeypatch.setattr(
        clustering, "_fitted_centers", lambda *a: kept.append(fitted(*a)) or kept[-1]
    )
    image, text = themed(300, 10), themed(300, 7, 1)
    image[50:100], text[50:100] = image[:50], text[:50]
    made = clusters_of(image, text)
    joined = np.concatenate((unit(image), unit(text)), axis=1)
    nearest = dots(joined, kept[0].astype(np.float64)).argmax(axis=1)
    own = made.of_row
    assert 10 < made.count == len(kept[0]) <= 15 and (np.sort(made.order) == np.arange(300)).all()
    both = len(np.unique(np.stack((nearest, own), axis=1), axis=0))
    assert both == len(np.unique(nearest)) == len(np.unique(own))
    between = (kept[0][:5] + kept[0][5:10]) / 2  # equally near to two centers, by definition
    expected = dots(between.astype(np.float64), kept[0].astype(np.float64)).argmax(axis=1)
    assert (clustering._nearest(between, kept[0]) == expected).all()


def test_clusters_do_not_depend_on_blocks_and_threads(monkeypatch):
    image, text = themed(400, 16), themed(400, 16, 1)
    made, threads = clusters_of(image, text), torch.get_num_threads()
    assert not as_before(made, clusters_of(image, text, seed=1))
    monkeypatch.setattr(clustering, "ROWS_AT_ONCE", 37)
    torch.set_num_threads(3)
    try:
        assert as_before(made, clusters_of(image, text))
    finally:
        torch.set_num_threads(threads)


def test_relations_are_symmetric_and_grow_with_the_probes():
    made = clusters_of(themed(400, 16), themed(400, 16, 1))
    assert (made.need == made.need.T).all() and (np.diag(made.need) == 0).all()
    for probes in (1, 3, made.count):
        related = (made.need < probes).sum(axis=1)
        assert (related >= probes).all()
    assert (made.need < made.count).all()


IN_CLUSTERS = {"candidates": "ivf", "target_recall": 0.5}
CASES = {
    "plain": {},
    "filters": {"min_score": 0.05, "duplicate_threshold": 0.8, "range_min": 1},
    "captions": {"method": "text", "similarity_floor": 0.2},
}


@pytest.mark.parametrize("little_memory", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_reference(case, little_memory, monkeypatch):
    """Lists, scores and counts, whatever the sizes of tiles, and blocks of lists."""
    count, probes, exclude = 260, 4, np.array([3, 250])
    image, text = themed(count, 16), themed(count, 16, 1)
    image[40:60] = image[40]  # more near duplicates than a list has room for
    groups = np.arange(count).reshape(-1, 1) // 3
    monkeypatch.setattr(clustering.Clusters, "probes_for", lambda *_: probes)

    def plan(**sizes):
        made = make_plan(**sizes, tile=16, product_block=16)
        return type(made)(**{**vars(made), "list_block": 48, "mapped": True})

    if little_memory:
        monkeypatch.setattr("hardpairs.mining.api.make_plan", plan)
    rows = np.setdiff1d(np.arange(count), exclude)
    sides = {"image": image, "text": text}
    if case == "captions":
        sides = {"text": text}
    made = make_clusters(sides, rows, 0, ALONE)
    near = made.need < probes

    def pool(row):
        return frozenset(rows[near[made.of_row[row], made.of_row[rows]]].tolist())

    options = {"groups": groups, "exclude": exclude, **CASES[case]}
    expected = reference(image, text, 6, pool=pool, **options)
    result = search(image, text, 6, **IN_CLUSTERS, **options)
    assert_same(result, expected)
    assert result.clusters["count"] == 12 and result.clusters["probes"] == probes
    pairs = sum(len(pool(row)) for row in rows)
    assert result.clusters["compared"] == pytest.approx(pairs / len(rows) ** 2)


def test_what_filters_removed_is_counted_within_the_clusters(monkeypatch):
    """Of a list that more near duplicates reach than it has room for."""
    count, probes = 300, 5
    image, text = themed(count, 8, themes=3), themed(count, 8, 1, themes=3)
    image[100:260], text[120:250] = image[100], text[120]
    monkeypatch.setattr(clustering.Clusters, "probes_for", lambda *_: probes)
    made = clusters_of(image, text)
    near = made.need < probes

    def pool(row):
        return frozenset(np.flatnonzero(near[made.of_row[row], made.of_row]).tolist())

    ranges, count_removed = [], CpuEngine.count_removed

    def counted(self, rows, columns, *arguments):
        ranges.append(columns)
        count_removed(self, rows, columns, *arguments)

    monkeypatch.setattr(CpuEngine, "count_removed", counted)
    expected = reference(image, text, 2, pool=pool)
    assert_same(search(image, text, 2, **IN_CLUSTERS), expected)
    assert any(start > 0 for start, _ in ranges)


def test_a_recall_that_only_all_rows_reach_is_the_exact_search(monkeypatch, capsys):
    """Whether the sample says so, or no sample is worth its cost."""
    image, text = themed(900, 16), themed(900, 16, 1)
    exact = search(image, text, 6)
    expected = exact.indices, exact.scores, exact.kept, exact.removed
    for target, reason in (
        (1, "a recall of 1 takes all rows: all of them are compared"),
        (0.95, "takes two samples of 292 rows to tell, which costs as much as to compare all 900"),
    ):
        execution = Execution(verbose=True)
        options = {"candidates": "ivf", "target_recall": target, "execution": execution}
        result = search(image, text, 6, **options)
        assert_same(result, expected)
        assert result.recall is None and result.clusters is None
        assert reason in capsys.readouterr().err
    monkeypatch.setattr(clustering.Clusters, "probes_for", lambda clusters, *_: clusters.count)
    result = search(image, text, 6, execution=execution, **IN_CLUSTERS)
    assert_same(result, expected)
    assert result.recall is None and result.clusters["compared"] == 1
    assert "no fewer reach a recall of 0.5: all rows are compared" in capsys.readouterr().err


def test_why_all_rows_are_compared(monkeypatch):
    monkeypatch.undo()
    assert "511 rows are too few for clusters" in exact_because(511, 0.5)
    assert exact_because(800, 0.5) and exact_because(801, 0.5) is None
    assert "two samples of 1522 rows" in exact_because(6088, 0.99)
    assert exact_because(6089, 0.99) is None and exact_because(10**9, 1)


def test_a_higher_target_takes_a_larger_sample():
    image, text = themed(2100, 8), themed(2100, 8, 1)
    result = search(image, text, 4, candidates="ivf", target_recall=0.97)
    assert result.recall.rows == sample_size(0.97) == 497


def test_an_interrupted_search_goes_on(tmp_path, monkeypatch):
    image, text = themed(400, 16), themed(400, 16, 1)
    monkeypatch.setattr(clustering.Clusters, "probes_for", lambda *_: 4)
    expected = search(image, text, 6, **IN_CLUSTERS)
    execution = Execution(progress=Progress(tmp_path / "p", {}, every=0))
    offer, tiles = CpuEngine.offer, []

    def until_stopped(self, tile, lists):
        tiles.append(tile)
        if len(tiles) == 30:
            raise KeyboardInterrupt
        offer(self, tile, lists)

    monkeypatch.setattr(CpuEngine, "offer", until_stopped)
    with pytest.raises(KeyboardInterrupt):
        search(image, text, 6, execution=execution, **IN_CLUSTERS)
    again = search(image, text, 6, execution=execution, **IN_CLUSTERS)
    assert_same(again, (expected.indices, expected.scores, expected.kept, expected.removed))
    assert again.recall == expected.recall and len(tiles) < len(set(tiles)) + 3


def test_recall_is_reached_and_covered_by_its_interval(monkeypatch):
    """In 19 of 20 seeded runs, at less than the cost of an exact search."""
    monkeypatch.setattr(recall, "SAMPLE", 200)
    target = 0.8
    image, text = themed(1200, 16, themes=60), themed(1200, 16, 1, themes=60)
    text[:] = image + 0.5 * text
    exact = search(image, text, 10)
    reached, compared, covered = 0, [], {"pairs": 0, "score": 0}
    for seed in range(20):
        result = search(image, text, 10, candidates="ivf", target_recall=target, seed=seed)
        whole = shares(result, exact)
        measured = shares(result, exact, draw_sample(np.arange(len(image)), seed))
        assert result.recall.pairs.value == pytest.approx(measured[0])
        assert result.recall.score.value == pytest.approx(measured[1])
        reached += whole[0] >= target
        compared.append(result.clusters["compared"])
        for name, value in zip(covered, whole, strict=True):
            share = getattr(result.recall, name)
            covered[name] += share.low <= value <= share.high
    assert min(covered.values()) >= 19 and reached >= 19, (covered, reached)
    assert np.mean(compared) < 0.5
    unmeasured = Execution(measures_recall=False)
    options = {"candidates": "ivf", "target_recall": target, "seed": seed}
    assert_same(
        search(image, text, 10, execution=unmeasured, **options),
        (result.indices, result.scores, result.kept, result.removed),
    )


def test_two_processes_give_the_same_bytes(tmp_path, monkeypatch):
    """With clusters of the usual size, which the processes make together."""
    monkeypatch.undo()
    for name, seed in (("a", 0), ("b", 1)):
        np.save(tmp_path / f"{name}.npy", themed(1600, 24, seed, themes=40))
    flags = ("--dataset", "x", "--topk", "6", "--candidates", "ivf", "--target-recall", "0.4")
    flags += ("--image-embeddings", str(tmp_path / "a.npy"), "--text-embeddings")
    flags += (str(tmp_path / "b.npy"), "--save_path")
    done = torchrun(2, "-m", "mining.hard_pair_mining", *flags, str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert "6 clusters of rows; for a recall of 0.4 each is compared" in done.stderr
    done = mine(*flags, tmp_path / "one")
    assert done.returncode == 0, done.stderr
    for name in ("manifest.json", "indices.npy", "scores.npy"):
        stored = (tmp_path / "one/x_hard_pairs" / name).read_bytes()
        assert (tmp_path / "two/x_hard_pairs" / name).read_bytes() == stored
    manifest = json.loads((tmp_path / "one/x_hard_pairs/manifest.json").read_text())
    assert manifest["clusters"]["count"] == 6 and manifest["recall"]["rows"] == 200
