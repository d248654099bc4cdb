"""The inverted index against the definition, and the seed's cleaning by hand."""

import itertools

import numpy as np
import pytest
from scipy.sparse import coo_array

from hardpairs.data.words import split_words
from hardpairs.metrics import jaccard
from hardpairs.metrics.jaccard import jaccard_clusters, jaccard_edges, ngrams
from hardpairs.metrics.linkage import components


def test_ngrams_by_hand():
    assert ngrams(["a", "b", "a", "b"], 2) == {"a b", "b a"} and ngrams(["a"], 2) == set()


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.5, 1.0])
def test_equal_to_the_definition(n, threshold):
    rng = np.random.default_rng(n)
    stories = [rng.choice(60, 25) for _ in range(12)]
    texts = []
    for _ in range(80):
        words = stories[rng.integers(12)].copy()
        noisy = rng.random(25) < rng.choice([0, 0.1, 0.5])
        words[noisy] = rng.choice(200, noisy.sum())
        texts.append(" ".join(f"w{word}" for word in words[: rng.integers(2, 26)]))
    texts += ["", "w1", "w1", "w1 w2"]
    sets = [ngrams(split_words(text, "printed"), n) for text in texts]
    expected = {}
    for i, j in itertools.combinations(range(len(texts)), 2):
        either = len(sets[i] | sets[j])
        if sets[i] and sets[j] and len(sets[i] & sets[j]) / either >= threshold:
            expected[i, j] = len(sets[i] & sets[j]) / either
    pairs, values = jaccard_edges(texts, n=n, threshold=threshold)
    assert list(map(tuple, pairs.tolist())) == sorted(expected)
    np.testing.assert_allclose(values, [expected[pair] for pair in sorted(expected)])


def test_a_hand_worked_example():
    texts = ["the cat sat on the mat", "The cat sat on a mat.", "dogs bark"]
    pairs, values = jaccard_edges(texts, n=2, threshold=0.3)
    assert pairs.tolist() == [[0, 1]] and values.tolist() == [
        3 / 7
    ]  # the cat, cat sat, sat on of seven
    assert components(3, *pairs.T).tolist() == [0, 0, 1]
    assert jaccard_edges(texts, n=9, threshold=0.3)[0].shape == (0, 2)


@pytest.mark.parametrize("rows_at_once", [7, 256])
@pytest.mark.parametrize("of_one_source", [False, True])
def test_clusters_at_all_thresholds_are_those_of_all_edges(
    monkeypatch, rows_at_once, of_one_source
):
    monkeypatch.setattr(jaccard, "BLOCK_ROWS", rows_at_once)
    rng = np.random.default_rng(0)
    texts = [
        " ".join(f"w{word}" for word in rng.choice(60, 20, replace=False)) for _ in range(60)
    ]  # indices of 1/39, 2/38... : many are equal
    thresholds = [0.05, 1 / 9, 0.2, 8 / 32, 0.3, 0.9]
    sources = np.arange(60) // 3 if of_one_source else None
    found = jaccard_clusters(texts, n=1, thresholds=thresholds, source_ids=sources)
    sizes = set()
    for threshold, clusters in zip(thresholds, found, strict=True):
        pairs, _ = jaccard_edges(texts, n=1, threshold=threshold)
        if of_one_source:
            pairs = pairs[pairs[:, 0] // 3 != pairs[:, 1] // 3]
        assert clusters.tolist() == components(60, *pairs.T).tolist()
        sizes.add(clusters.max() + 1)
    assert {1, 60} <= sizes and len(sizes) > 2


def test_pairs_of_earlier_blocks_are_not_kept(monkeypatch):
    """What is joined after each block of 4 texts: those of the block with all later ones, and N - 1 from before at most."""
    monkeypatch.setattr(jaccard, "BLOCK_ROWS", 4)
    kept = []
    monkeypatch.setattr(
        jaccard,
        "coo_array",
        lambda data, **options: kept.append(len(data[0])) or coo_array(data, **options),
    )
    assert (jaccard_clusters(["one text"] * 100, n=1, thresholds=[0.5])[0] == 0).all()
    assert len(kept) == 25 and max(kept) <= 4 * 100 + 99


@pytest.mark.parametrize(("n", "threshold"), [(0, 0.5), (1, 0.0), (1, 1.5)])
def test_options_that_make_no_sense(n, threshold):
    with pytest.raises(ValueError, match="threshold in"):
        jaccard_edges(["a"], n=n, threshold=threshold)
