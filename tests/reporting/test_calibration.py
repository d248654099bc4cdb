"""Similarity quantiles and shares against loops over the pairs."""

import itertools

import numpy as np
import pytest

from hardpairs.data.embeddings import open_embeddings
from hardpairs.reporting.calibration import negative_similarities, suggestion
from tests.reporting.embeddings import write_random_embeddings


@pytest.fixture
def folder(tmp_path):
    return write_random_embeddings(tmp_path / "emb")


def test_pairs_of_a_batch_of_everything(folder):
    embeddings = open_embeddings(folder)
    text, image = negative_similarities(embeddings, 100, 1, 0)
    unit = [
        side / np.linalg.norm(side, axis=1, keepdims=True)
        for side in (embeddings.text, embeddings.image)
    ]
    pairs = [
        (i, j) for i, j in itertools.product(range(40), repeat=2) if i // 2 != j // 2
    ]  # neighbours share a caption
    for ours, rows in ((text, unit[0]), (image, unit[1])):
        np.testing.assert_allclose(
            np.sort(ours), np.sort([rows[i] @ rows[j] for i, j in pairs]), atol=1e-6
        )


def test_batches_have_their_size(folder):
    text, _ = negative_similarities(open_embeddings(folder), 8, 5, 0)
    assert 5 * 8 * 7 - 5 * 8 <= len(text) <= 5 * 8 * 7


def test_suggestion_touches_what_it_says():
    similarity = np.random.default_rng(0).normal(0.3, 0.1, 100_000)
    values = suggestion(similarity)
    assert (similarity > values["delta"]).mean() == pytest.approx(0.05, abs=1e-3)
    weight = np.exp(-values["lambda"] * (np.percentile(similarity, 99.9) - values["delta"]))
    assert weight == pytest.approx(0.5)
    assert values["m1"] < values["m2"]
