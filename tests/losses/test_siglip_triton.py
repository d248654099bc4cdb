"""SigLIP's terms by Triton kernels against plain torch: on a GPU, in Triton's interpreter, and compiled for a GPU that is not there."""

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import SigmoidLoss, siglip
from hardpairs.losses.block_sums import LogitInputs, blocks_of
from tests.losses.helpers import features
from tests.losses.kernel_ranks import compute
from tests.losses.kernels import (
    DEVICE,
    DTYPES,
    can_run,
    compile_for_a_gpu,
    needs_triton,
    not_interpreted,
    run_in_the_interpreter,
)

GRADIENT = 64
"""Toward the sum, as of torch's GradScaler for float16."""


def by_plain_torch(image, text, scale, bias, negatives):
    return siglip._block_sum(image, text, scale, bias, negatives, slice(0, len(image)))


def by_kernels(image, text, scale, bias, negatives):
    from hardpairs.losses.siglip_triton import sum_of_terms

    inputs = LogitInputs(image, text, scale, negatives)
    return sum_of_terms(inputs, bias, blocks_of(len(image), 170))


@needs_triton
@can_run
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [None, -10.0])
@pytest.mark.parametrize(
    ("columns", "groups", "multi_positive"),
    [("own", 0, False), ("own", 2, False), ("own", 2, True), ("other", 2, False)],
)
def test_is_plain_torch(dtype, bias, columns, groups, multi_positive):
    """200 rows and columns of 70 dimensions: more than a tile, and no multiple of one."""
    sides = [side.to(DEVICE, dtype) for side in features(400, 70, dtype=torch.float32)]
    ids = torch.randint(0, 40, (400, groups), generator=torch.Generator().manual_seed(0))
    ids[:150] = 3  # rows 0 to 149 know each other
    info = BatchInfo(group_ids=ids.to(DEVICE) if groups else None)
    loss = SigmoidLoss(multi_positive=multi_positive)
    negatives = loss.negatives(*(side[:200] for side in sides), info[:200])
    image, text = sides[0][:200], sides[1][:200]
    if columns == "other":
        negatives, text = negatives.meet(info[200:].arrays()), sides[1][200:]
    found = []
    for form, wide in ((by_kernels, False), (by_plain_torch, True)):
        pair = [side.double() if wide else side for side in (image, text)]
        numbers = [torch.tensor(v, device=DEVICE) for v in (20.0, bias) if v is not None]
        leaves = [leaf.detach().requires_grad_() for leaf in (*pair, *numbers)]
        value = form(*leaves[:3], None if bias is None else leaves[3], negatives)
        found.append([value.detach(), *torch.autograd.grad(value, leaves, value * 0 + GRADIENT)])
    assert [part.dtype for part in found[0][1:3]] == [dtype] * 2
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}[dtype]
    for ours, right in zip(*found, strict=True):
        sums = ours.dim() == 0  # they have float32's rounding alone
        assert (ours - right).norm() <= (1e-5 if sums else tolerance) * right.norm()


@needs_triton
@can_run
def test_small_terms_are_not_lost():
    """With this bias 1 + e^l is 1 in float32 for most pairs."""
    image, text = (side.to(DEVICE) for side in features(24, dtype=torch.float32))
    others = SigmoidLoss().negatives(image[:12], text[:12]).meet([])
    numbers = [torch.tensor(value, device=DEVICE) for value in (5.0, -18.0)]
    value = by_kernels(image[:12], text[12:], *numbers, others)
    right = by_plain_torch(image[:12].double(), text[12:].double(), *numbers, others)
    assert value.item() == pytest.approx(right.item(), rel=1e-5)


@needs_triton
@can_run
@pytest.mark.parametrize("block_rows", [None, 70])
def test_a_loss_through_the_kernels(monkeypatch, block_rows):
    expected = compute("sigmoid", slice(None), DEVICE, block_rows)
    monkeypatch.setattr(siglip, "use_kernels", lambda *_: True)
    monkeypatch.setattr(siglip, "_block_sum", None)
    found = compute("sigmoid", slice(None), DEVICE, block_rows)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@needs_triton
@pytest.mark.slow
@not_interpreted
def test_in_the_interpreter():
    run_in_the_interpreter(__file__)


@needs_triton
@pytest.mark.slow
@not_interpreted
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("kernel", ["_sums", "_gradients"])
def test_compiles_for_a_gpu(capability, kernel):
    from hardpairs.losses import siglip_triton

    compile_for_a_gpu(getattr(siglip_triton, kernel), capability, MULTI_POSITIVE=True)
