"""Metric losses: values by hand, the library's own on one process, and the joined batch's on two."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hardpairs.batches import BatchInfo
from hardpairs.losses import LOSSES, LossContext, World
from hardpairs.losses.contrastive_squared import SquaredContrastive
from hardpairs.losses.labels import make_miner
from hardpairs.models.head import EmbeddingHead, head_state
from tests.helpers import torchrun
from tests.losses.labels_two_ranks import CASES, compute, loss_of, make


def library_loss(name, context=None, **options):
    """Return the loss of embeddings and labels that a component wraps."""
    component = LOSSES.load(name)
    return component.from_config(component.Config(**options), context or LossContext()).loss


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


def test_supcon_by_its_formula():
    rows, labels = (
        F.normalize(torch.randn(8, 5, dtype=torch.float64), dim=1),
        torch.tensor([0, 0, 0, 1, 1, 2, 3, 3]),
    )
    logits, losses = (rows @ rows.T / 0.1).tolist(), []
    for i in range(8):
        positives = [p for p in range(8) if p != i and labels[p] == labels[i]]
        everything = sum(np.exp(logits[i][a]) for a in range(8) if a != i)
        if positives:
            losses.append(-np.mean([np.log(np.exp(logits[i][p]) / everything) for p in positives]))
    assert library_loss("supcon")(rows, labels).item() == pytest.approx(np.mean(losses))


def test_contrastive_by_hand():
    rows = torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    near, far, middle = (0.04 + 0.36) ** 0.5, 2**0.5, (0.64 + 0.16) ** 0.5
    loss = library_loss("contrastive", metric_negative_margin=1.0)(rows, labels)
    assert loss.item() == pytest.approx(
        near + (1 - middle)
    )  # the pair at 1.41 is beyond the margin, and not counted
    squared = SquaredContrastive(1.0)(rows, labels)
    assert squared.item() == pytest.approx(
        near**2 / 2 + ((1 - middle) ** 2 + max(0, 1 - far) ** 2) / 2 / 2
    )  # one positive, two negative pairs
    assert SquaredContrastive(1.0)(rows, torch.arange(3)).item() == pytest.approx(
        ((1 - near) ** 2 + (1 - middle) ** 2) / 3 / 2
    )


def test_arcface_by_hand_on_both_sides_of_pi_minus_margin():
    loss = library_loss("arcface", LossContext(group_ids=torch.arange(2), width=2)).double()
    loss.W.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    for angle in (0.3, 3.0):
        row = torch.tensor([[np.cos(angle), np.sin(angle)]])
        own = np.cos(angle + 0.5) if angle < np.pi - 0.5 else np.cos(angle) - 0.5 * np.sin(0.5)
        expected = -np.log(np.exp(64 * own) / (np.exp(64 * own) + np.exp(64 * np.sin(angle))))
        assert loss(row, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-6)


def test_rows_without_a_class_do_not_count_for_arcface():
    model, head, *_ = make("arcface")
    loss = loss_of("arcface", head.width, {}, World())
    out = model(torch.ones(3, 4, dtype=torch.float64), torch.ones(3, 4, dtype=torch.float64))
    nothing = loss(**out, info=BatchInfo(group_ids=torch.tensor([[100], [101], [1]])))
    nothing.backward()
    assert nothing.item() == 0 and all(
        parameter.grad is not None for parameter in model.parameters()
    )  # DDP waits for every one


def test_heads():
    image, text = F.normalize(torch.randn(2, 3, 4), dim=-1)
    torch.testing.assert_close(EmbeddingHead("text", 4)(image, text), text)
    torch.testing.assert_close(
        EmbeddingHead("pooled", 4, image_weight=0.3)(image, text),
        F.normalize(0.3 * image + 0.7 * text, dim=-1),
    )
    learned = EmbeddingHead("pooled", 4, image_weight=0.3, learned=True)
    torch.testing.assert_close(learned(image, text), F.normalize(0.3 * image + 0.7 * text, dim=-1))
    mlp = EmbeddingHead("mlp", 4, layers=3)
    assert mlp(image, text).shape == (3, 8) and [
        m.out_features for m in mlp.mlp if hasattr(m, "out_features")
    ] == [4, 4, 8]
    assert (
        mlp(image.bfloat16(), text.bfloat16()).dtype == torch.float32
    )  # --precision bf16 converts the model before it gets a head
    assert head_state(
        {"embedding_head.mlp.0.bias": torch.ones(1), "visual.x": torch.ones(1)}
    ).keys() == {"mlp.0.bias"}


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


def test_triplet_loss_by_hand():
    """Four points of the circle at 0, 60, 90 and 180 degrees, classes a a b b: chords 2 sin(angle / 2)."""
    angles = torch.tensor([0.0, 60.0, 90.0, 180.0]).deg2rad()
    rows, labels = torch.stack((angles.cos(), angles.sin()), dim=1), torch.tensor([0, 0, 1, 1])
    chord = {degrees: 2 * math.sin(math.radians(degrees / 2)) for degrees in (30, 60, 90, 120, 180)}
    triplets = [
        *(
            (chord[60], chord[90]),
            (chord[60], chord[180]),
            (chord[60], chord[30]),
            (chord[60], chord[120]),
        ),  # anchors 0 and 60
        *(
            (chord[90], chord[90]),
            (chord[90], chord[30]),
            (chord[90], chord[180]),
            (chord[90], chord[120]),
        ),  # anchors 90 and 180
    ]
    each = [max(0.0, positive - negative + 0.2) for positive, negative in triplets]
    expected = sum(each) / sum(value > 0 for value in each)
    assert library_loss("triplet")(rows, labels).item() == pytest.approx(expected, abs=1e-5)
