"""CLIPSE's published formulas against loops written from them, and their defects."""

import math

import pytest
import torch
from open_clip.loss import ClipLoss

from hardpairs.losses import SimilarityWeights
from hardpairs.losses.sanw_variants import SANWVariantLoss
from tests.losses.helpers import SCALE, features

W = {
    "exp": lambda a: math.exp(-4 * max(a - 0.1, 0)),
    "sigmoid": lambda a: 1 - 1 / (1 + math.exp(-4 * (a - 0.1))),
}


def raw(x, y, weighting):
    count = len(x)
    a = [
        [
            0.0 if i == j else 0.5 * float(x[i] @ x[j]) + 0.5 * float(y[i] @ y[j])
            for j in range(count)
        ]
        for i in range(count)
    ]
    return [[W[weighting](a[i][j]) for j in range(count)] for i in range(count)]


def one_way(variant, logits, weight, beta):
    total, count = 0.0, len(logits)
    for i in range(count):
        e = [math.exp(logits[i][j] - logits[i][i]) for j in range(count)]
        if variant == "seed-v1":
            total += math.log(sum((weight[i][j] + (i == j)) * e[j] for j in range(count)))
        elif variant == "seed-v2":
            total += math.log(sum(weight[i][j] * e[j] for j in range(count) if j != i))
        else:
            total += math.log(
                1 + sum((1 + beta * weight[i][j]) * e[j] for j in range(count) if j != i)
            )
    return total / count


@pytest.mark.parametrize(
    ("variant", "weighting"), [("seed-v1", "exp"), ("seed-v2", "sigmoid"), ("seed-v3", "exp")]
)
def test_clipses_formulas(variant, weighting):
    x, y = features()
    weight = raw(x, y, weighting)
    if variant == "seed-v2":
        weight = [
            [0.0 if i == j else w * 11 / (sum(row) - row[i]) for j, w in enumerate(row)]
            for i, row in enumerate(weight)
        ]
    logits = (SCALE * x @ y.T).tolist()
    transposed = [list(column) for column in zip(*logits, strict=True)]
    expected = one_way(variant, logits, weight, 0.2) + one_way(
        variant, transposed, [list(c) for c in zip(*weight, strict=True)], 0.2
    )
    loss = SANWVariantLoss(
        variant, weights=SimilarityWeights(weighting, delta=0.1, beta=0.2, normalize=False)
    )(x, y, SCALE)
    assert loss.item() == pytest.approx(expected / 2, rel=1e-10)


def test_their_defects_are_reproduced():
    """v1 is not CLIP at weight 1, v2 goes below 0, v3 never goes below CLIP."""
    x, y = features()
    clip = ClipLoss()(x, y, SCALE).item()
    even = SimilarityWeights(lam=0.0, normalize=False)
    assert SANWVariantLoss("seed-v1", weights=even)(x, y, SCALE).item() != pytest.approx(
        clip, rel=1e-3
    )
    same = torch.eye(12, dtype=torch.float64)
    assert SANWVariantLoss("seed-v2", weights=even)(same, same, SCALE).item() < 0
    assert (
        SANWVariantLoss("seed-v3", weights=SimilarityWeights(beta=0.2))(x, y, SCALE).item() > clip
    )
    assert SANWVariantLoss("seed-v3", weights=SimilarityWeights(beta=0.0))(
        x, y, SCALE
    ).item() == pytest.approx(clip)


def test_one_process_only():
    from hardpairs.losses import World

    with pytest.raises(ValueError, match="one process"):
        SANWVariantLoss("seed-v1", weights=SimilarityWeights(), world=World(0, 2))
