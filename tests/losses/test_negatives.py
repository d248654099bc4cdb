"""Log-weights of a batch's pairs: masks, exempt pairs, blocks, and rows that are scaled."""

from __future__ import annotations

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import SANWLoss
from hardpairs.losses.negatives import diagonal, similarity_source
from tests.losses.helpers import SCALE, features, weights_of


@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_one_product_is_the_mixed_similarity(alpha):
    x, y = features()
    source = similarity_source(x, y, alpha)
    torch.testing.assert_close(source @ source.T, alpha * y @ y.T + (1 - alpha) * x @ x.T)


def test_the_diagonal_is_a_view_of_the_own_pairs():
    block = torch.arange(12).view(2, 6)
    assert diagonal(block, 3).tolist() == [3, 10]
    diagonal(block, 3).fill_(0)
    assert block[0, 3] == block[1, 4] == 0


@pytest.mark.parametrize("normalize", [False, True])
def test_blocks_are_rows_of_the_whole(normalize):
    x, y = features()
    info = BatchInfo(group_ids=torch.arange(12)[:, None] // 2)
    loss = SANWLoss("sigmoid", normalize=normalize)
    whole = loss.negatives(x, y, info).log_weights_both_ways(slice(0, 12))
    assert whole[0][0, :3].tolist()[:2] == [0, -torch.inf]
    loss.block_rows = 5
    negatives = loss.negatives(x, y, info)
    for block in (slice(5, 10), slice(10, 12), slice(0, 5)):
        for part, way in zip(negatives.log_weights_both_ways(block), whole, strict=True):
            torch.testing.assert_close(part, way[block], rtol=1e-12, atol=1e-12)
        counted = negatives.counted(block, 12)
        assert counted.sum() == 10 * len(counted) and not diagonal(counted, block.start).any()


def test_exempt_pairs_keep_weight_one():
    x, y = features(6)
    exempt = torch.tensor([7, 7, 8, 8, 9, 10])
    free, _ = weights_of(SANWLoss(delta=-1.0), x, y)
    loss = SANWLoss(delta=-1.0)
    loss.exempt_hard_pairs = True
    kept, _ = weights_of(loss, x, y, targets=exempt)
    same = exempt[:, None] == exempt[None, :]
    assert (kept[same] == 1).all() and (free[0, 1] < 1) and torch.equal(kept[~same], free[~same])


def test_masked_pairs_are_out_of_the_mean_and_of_the_loss():
    x, y = features(6)
    positives = torch.tensor([[0], [0], [1], [2], [3], [4]])
    weights, _ = weights_of(SANWLoss("sigmoid"), x, y, group_ids=positives)
    assert weights[0, 1] == weights[1, 0] == 0
    assert weights[0, 2:].mean().item() == pytest.approx(1)
    everything = torch.zeros(6, 1, dtype=torch.int64)
    assert SANWLoss()(x, y, SCALE, info=BatchInfo(group_ids=everything)).item() == 0
