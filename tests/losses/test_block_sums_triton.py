"""The Triton kernels against plain torch: on a GPU, in Triton's interpreter, and compiled for a GPU that is not there."""

from dataclasses import replace

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import ContrastiveLoss, block_sums
from hardpairs.losses.block_sums import LogitInputs, gradients_of_block, sums_of_block
from tests.losses.helpers import features
from tests.losses.kernels import (
    DEVICE,
    DTYPES,
    can_run,
    compile_for_a_gpu,
    needs_triton,
    not_interpreted,
    run_in_the_interpreter,
)


def close(ours, expected, tolerance):
    assert ours.shape == expected.shape and ours.dtype == expected.dtype
    assert (ours.isfinite() == expected.isfinite()).all()
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


@needs_triton
@can_run
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_own", [True, False])
@pytest.mark.parametrize("columns", ["own", "other"])
@pytest.mark.parametrize(("groups", "multi_positive"), [(0, False), (2, False), (2, True)])
def test_is_plain_torch(dtype, with_own, columns, groups, multi_positive):
    """200 rows and columns of 70 dimensions: more than a tile, and no multiple of one."""
    from hardpairs.losses import block_sums_triton

    image, text = (side.to(DEVICE, dtype) for side in features(400, 70, dtype=torch.float32))
    scale, generator = torch.tensor(20.0, device=DEVICE), torch.Generator().manual_seed(0)
    ids = torch.randint(0, 40, (400, groups), generator=generator).to(DEVICE)
    ids[:150] = 3  # rows 0 to 149 know each other
    info = BatchInfo(group_ids=ids if groups else None)
    loss = ContrastiveLoss(multi_positive=multi_positive)
    negatives = loss.negatives(image[:200], text[:200], info[:200])
    if columns == "other":
        negatives, text = negatives.meet(info[200:].arrays()), text[200:]
    text, block = text[:200], slice(30, 200)
    # In full precision the same numbers multiply without the rounding of plain torch's products.
    wide = LogitInputs(image.float(), text.float(), scale, negatives, with_own)
    narrow = replace(wide, image=image, text=text)
    row, column, own = sums_of_block(wide, block)
    found = block_sums_triton.sums_of_block(narrow, block)
    for ours, expected in zip(found, (row, column, own if len(own) else row * 0), strict=True):
        close(ours, expected, 1e-4)
    given = (torch.arange(len(part), device=DEVICE).sin() for part in (row, column, row))
    sums = (part.clamp(min=torch.finfo(torch.float32).min) for part in (row, column))
    given = (*sums, *given)
    expected = gradients_of_block(wide, block, given).to(dtype)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-2
    close(block_sums_triton.gradients_of_block(narrow, block, given), expected, tolerance)


@needs_triton
@can_run
@pytest.mark.parametrize("block_rows", [70, 300])
def test_a_loss_through_the_kernels(monkeypatch, block_rows):
    """Value and gradients of a loss in blocks, with group ids."""
    from hardpairs.losses import block_sums_triton

    found, info = [], BatchInfo(group_ids=(torch.arange(200)[:, None] // 3).to(DEVICE))
    for kernels in (None, block_sums_triton):
        monkeypatch.setattr(block_sums, "kernels_for", lambda *_, kernels=kernels: kernels)
        sides = [side.to(DEVICE) for side in features(200, 70, dtype=torch.float32)]
        leaves = [*sides, torch.tensor(20.0, device=DEVICE)]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        value = ContrastiveLoss(block_rows=block_rows)(*leaves, info=info)
        found.append([value.detach(), *torch.autograd.grad(value, leaves)])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


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
    from hardpairs.losses import block_sums_triton

    compile_for_a_gpu(getattr(block_sums_triton, kernel), capability, WITH_OWN=True)
