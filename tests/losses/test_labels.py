"""Losses for labels: the joined batch on two processes, and miners by their definition."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hardpairs.losses.labels import make_miner
from tests.helpers import torchrun
from tests.losses.labels_two_ranks import CASES, compute


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks") / "results.pt"
    done = torchrun(2, str(Path(__file__).parent / "labels_two_ranks.py"), str(path))
    assert done.returncode == 0, done.stderr
    return torch.load(path)


@pytest.mark.parametrize("case", [case for case in CASES if "accumulated" not in case])
def test_two_processes_are_one_with_the_joined_batch(results, case):
    loss, gradients = results[case]
    expected_loss, expected = compute(case, slice(None))
    torch.testing.assert_close(loss, expected_loss, rtol=1e-9, atol=0)
    for name, gradient in expected.items():
        torch.testing.assert_close(
            gradients[name],
            gradient,
            rtol=1e-8,
            atol=1e-12,
            msg=lambda text, name=name: f"{name}: {text}",
        )
    assert loss > 0 and sum(float(gradient.abs().sum()) for gradient in expected.values()) > 0


def test_accumulated_micro_batches_are_one_batch(results):
    expected_loss, expected = compute("arcface", slice(None))
    for loss, gradients in (
        compute("arcface, accumulated", slice(None)),
        results["arcface, accumulated"],
    ):
        torch.testing.assert_close(loss, expected_loss, rtol=1e-9, atol=0)
        for name in expected:
            torch.testing.assert_close(gradients[name], expected[name], rtol=1e-8, atol=1e-12)


def brute_triplets(name, distance, labels):
    """(anchor, positive, negative) of a miner by its definition."""
    everyone = range(len(labels))
    found = set()
    for a in everyone:
        positives = [p for p in everyone if p != a and labels[p] == labels[a]]
        negatives = [n for n in everyone if labels[n] != labels[a]]
        if name == "batch-hard":
            found.add(
                (
                    a,
                    max(positives, key=lambda p: distance[a, p]),
                    min(negatives, key=lambda n: distance[a, n]),
                )
            )
        else:
            found |= {
                (a, p, n)
                for p in positives
                for n in negatives
                if 0 < distance[a, n] - distance[a, p] <= 0.2
            }
    return found


@pytest.mark.parametrize("name", ["batch-hard", "semi-hard"])
def test_miners_choose_the_triplets_of_their_definition(name):
    rows, labels = (
        F.normalize(torch.randn(12, 5, generator=torch.Generator().manual_seed(1)), dim=1),
        torch.arange(12) % 4,
    )
    chosen = torch.stack(make_miner(name)(rows, labels), dim=1).tolist()
    expected = brute_triplets(name, torch.cdist(rows, rows), labels.tolist())
    assert sorted(map(tuple, chosen)) == sorted(expected) and len(expected) >= 3


def test_multi_similarity_chooses_pairs_near_the_other_kind():
    """Positives less similar than the nearest negative and a tenth, negatives more similar than the farthest positive less a tenth (arXiv 1904.06627)."""
    rows, labels = (
        F.normalize(torch.randn(12, 5, generator=torch.Generator().manual_seed(1)), dim=1),
        torch.arange(12) % 4,
    )
    a1, p, a2, n = (part.tolist() for part in make_miner("multi-similarity")(rows, labels))
    cosine, same = rows @ rows.T, labels[:, None] == labels
    same_others = same & ~torch.eye(12, dtype=torch.bool)
    nearest, farthest = (
        cosine.masked_fill(same, -2).amax(1),
        cosine.masked_fill(~same_others, 2).amin(1),
    )
    assert set(zip(a1, p, strict=True)) == {
        tuple(pair) for pair in (same_others & (cosine < nearest[:, None] + 0.1)).nonzero().tolist()
    }
    assert set(zip(a2, n, strict=True)) == {
        tuple(pair) for pair in (~same & (cosine > farthest[:, None] - 0.1)).nonzero().tolist()
    }
    assert make_miner("none") is None
