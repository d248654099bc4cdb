"""The inverted index against the definition, and the seed's cleaning by hand."""

import itertools

import numpy as np
import pytest

from evaluation.jaccard import cleaned, jaccard_edges, ngrams
from evaluation.linkage import components


def test_cleaning_by_hand():
    assert cleaned('WASH-\nINGTON (AP) -- "Café" opens.\nIt\'s 5:30!') == ["washington", "ap", "--", "caf", "opens", "its", "530"]
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
    sets = [ngrams(cleaned(text), n) for text in texts]
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
    assert pairs.tolist() == [[0, 1]] and values.tolist() == [3 / 7]  # the cat, cat sat, sat on of seven
    assert components(3, *pairs.T).tolist() == [0, 0, 1]
    assert jaccard_edges(texts, n=9, threshold=0.3)[0].shape == (0, 2)


@pytest.mark.parametrize(("n", "threshold"), [(0, 0.5), (1, 0.0), (1, 1.5)])
def test_options_that_make_no_sense(n, threshold):
    with pytest.raises(ValueError, match="threshold in"):
        jaccard_edges(["a"], n=n, threshold=threshold)
