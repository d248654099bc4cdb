"""Log sums of pieces of the columns against those of all logits, with their gradients."""

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import ContrastiveLoss
from hardpairs.losses.block_sums import (
    LogitInputs,
    LogSums,
    blocks_of,
    both_sums,
    gradients_of_sums,
)
from tests.losses.helpers import SCALE, features

IDS = torch.arange(12)[:, None] // 3


@pytest.mark.parametrize("with_own", [True, False])
@pytest.mark.parametrize("rows", [None, 5])
def test_own_and_other_columns_are_pieces_of_all(with_own, rows):
    """Rows 0 to 5 with the columns of their own pairs, and with six others."""
    image, text, scale = (side.requires_grad_() for side in (*features(), SCALE.clone()))
    info, blocks = BatchInfo(group_ids=IDS), blocks_of(6, rows)
    logits = scale * image[:6] @ text.T
    known = IDS[:6] == IDS.T
    known.fill_diagonal_(not with_own)
    masked = logits.masked_fill(known, -torch.inf)
    expected = LogSums(masked.logsumexp(1), masked.logsumexp(0), logits.diag())
    factors = [torch.arange(n, dtype=torch.float64).sin() for n in (6, 12, 6)]
    total = sum((part * factor).sum() for part, factor in zip(expected, factors, strict=True))
    gradients = torch.autograd.grad(total, (image, text, scale))

    with torch.no_grad():
        own = ContrastiveLoss().negatives(image[:6], text[:6], info[:6])
        sides = [
            LogitInputs(image[:6], columns, scale, negatives, with_own)
            for columns, negatives in ((text[:6], own), (text[6:], own.meet(info[6:].arrays())))
        ]
        parts = [both_sums(side, blocks) for side in sides]
        row_sum = torch.stack([part.image for part in parts]).logsumexp(0)
        column_sum = torch.cat([part.text for part in parts])
        assert_same = torch.testing.assert_close
        assert_same(LogSums(row_sum, column_sum, sum(part.own for part in parts)), expected)
        found = [
            gradients_of_sums(
                side,
                blocks,
                (row_sum, column_sum[place]),
                LogSums(factors[0], factors[1][place], factors[2]),
            )
            for side, place in zip(sides, (slice(6), slice(6, 12)), strict=True)
        ]
    of_image, of_text, of_scale = zip(*found, strict=True)
    assert_same(sum(of_image), gradients[0][:6], rtol=1e-10, atol=1e-12)
    assert_same(torch.cat(of_text), gradients[1], rtol=1e-10, atol=1e-12)
    assert_same(sum(of_scale), gradients[2], rtol=1e-10, atol=1e-12)


def test_many_blocks_keep_the_small_terms_of_low_precision():
    """The columns' gradient, over 256 blocks in bfloat16, is as near to float64 as over one."""
    image, text = features(1024, width=8, dtype=torch.bfloat16)
    errors = {}
    for dtype, rows in ((torch.float64, None), (torch.bfloat16, None), (torch.bfloat16, 4)):
        columns = text.to(dtype, copy=True).requires_grad_()
        ContrastiveLoss(block_rows=rows)(image.to(dtype), columns, SCALE.to(dtype)).backward()
        exact = errors.setdefault("exact", columns.grad)
        errors[rows] = ((columns.grad.double() - exact).norm() / exact.norm()).item()
    assert errors[4] < 1.5 * errors[None] < 0.02
