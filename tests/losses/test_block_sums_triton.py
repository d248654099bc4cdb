"""The Triton kernels against plain torch: on a GPU, in Triton's interpreter, and compiled for a GPU that is not there."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import ContrastiveLoss, SANWLoss, block_sums
from hardpairs.losses.block_sums import gradients_of_block, sums_of_block
from tests.helpers import ROOT
from tests.losses.helpers import features

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float16, *([torch.bfloat16] if DEVICE == "cuda" else [])]
"""The interpreter does not multiply bfloat16."""
can_run = pytest.mark.skipif(
    not (INTERPRETED or DEVICE == "cuda"), reason="no CUDA device, and not in the interpreter"
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
@pytest.mark.parametrize("groups", [0, 2])
def test_is_plain_torch(dtype, with_own, columns, groups):
    """200 rows and columns of 70 dimensions: more than a tile, and no multiple of one."""
    from hardpairs.losses import block_sums_triton

    image, text = (side.to(DEVICE, dtype) for side in features(400, 70, dtype=torch.float32))
    scale, generator = torch.tensor(20.0, device=DEVICE), torch.Generator().manual_seed(0)
    ids = torch.randint(0, 40, (400, groups), generator=generator).to(DEVICE)
    ids[:150] = 3  # rows 0 to 149 know each other
    info = BatchInfo(group_ids=ids if groups else None)
    negatives = ContrastiveLoss().negatives(image[:200], text[:200], info[:200])
    if columns == "other":
        negatives, text = negatives.meet(info[200:].arrays()), text[200:]
    text, block = text[:200], slice(30, 200)
    # In full precision the same numbers multiply without the rounding of plain torch's products.
    wide = (image.float(), text.float(), scale, negatives, block, with_own)
    narrow = (image, text, *wide[2:])
    row, column, own = sums_of_block(*wide, None)
    found = block_sums_triton.sums_of_block(*narrow)
    for ours, expected in zip(found, (row, column, own if len(own) else row * 0), strict=True):
        close(ours, expected, 1e-4)
    given = (torch.arange(len(part), device=DEVICE).sin() for part in (row, column, row))
    sums = (part.clamp(min=torch.finfo(torch.float32).min) for part in (row, column))
    given = (*sums, *given)
    expected = gradients_of_block(*wide, given, None).to(dtype)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-2
    close(block_sums_triton.gradients_of_block(*narrow, given), expected, tolerance)


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
@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
def test_in_the_interpreter():
    """Run the test above in Triton's interpreter, chosen before Triton is imported."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


POINTERS = {
    **dict.fromkeys(("image", "text"), "*bf16"),
    **dict.fromkeys(("row_ids", "column_ids"), "*i64"),
    **dict.fromkeys(("height", "width", "depth", "first"), "i32"),
    **dict.fromkeys(("WITH_OWN", "GROUPS", "ROWS", "COLUMNS", "DEPTH"), "constexpr"),
}


@needs_triton
@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("kernel", ["_sums", "_gradients"])
def test_compiles_for_a_gpu(capability, kernel):
    """To machine code without a GPU: tensor cores multiply, and the tiles fit into a GPU of either kind."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from hardpairs.losses import block_sums_triton

    function = getattr(block_sums_triton, kernel)
    names = function.arg_names
    signature = {name: POINTERS.get(name, "*fp32") for name in names}
    if kernel == "_gradients":
        signature["out"] = "*bf16"
    values = {"WITH_OWN": True, "GROUPS": 2, **block_sums_triton.SHAPE}
    source = ASTSource(
        function, signature, {(names.index(name),): value for name, value in values.items()}
    )
    target = GPUTarget("cuda", capability, 32)
    made = compile(source, target=target, options=block_sums_triton.LAUNCH)
    assert len(made.asm["cubin"]) > 1000 and "mma" in made.asm["ptx"]
    assert made.metadata.shared < 99 * 1024


@needs_triton
def test_what_the_kernels_do_not_know_is_left_to_plain_torch():
    from hardpairs.losses.block_sums_triton import takes

    image, text = features(dtype=torch.float16)
    assert not takes(image, ContrastiveLoss().negatives(image, text))  # on a CPU
    if DEVICE == "cuda":
        image, text = image.cuda(), text.cuda()
        assert takes(image, ContrastiveLoss().negatives(image, text))
        assert not takes(image.float(), ContrastiveLoss().negatives(image, text))
        assert not takes(image, SANWLoss().negatives(image, text))
