"""Losses through the Triton kernels on two processes, whose tiles are of their own rows."""

import pytest
import torch

from tests.helpers import torchrun
from tests.losses.kernel_ranks import FORMS, compute
from tests.losses.kernels import (
    INTERPRETED,
    needs_triton,
    not_interpreted,
    run_in_the_interpreter,
)


@needs_triton
@pytest.mark.skipif(not INTERPRETED, reason="the two processes are in the interpreter")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ring", [False, True])
def test_two_processes_are_one(kernel_ranks, form, ring):
    """The joined batch in plain torch, on one process."""
    value, *gradients = compute(form, slice(None), block_rows=None)
    sides = zip(*(ranks[form, ring] for ranks in kernel_ranks), strict=True)
    first, image, text, *numbers = (list(parts) for parts in sides)
    ours = [sum(first) / 2, torch.cat(image) / 2, torch.cat(text) / 2]
    ours += [sum(parts) / 2 for parts in numbers]
    torch.testing.assert_close(ours, [value, *gradients], rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def kernel_ranks(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks") / "rank"
    done = torchrun(2, "-m", "tests.losses.kernel_ranks", str(path))
    assert done.returncode == 0, done.stderr
    return [torch.load(f"{path}{rank}") for rank in range(2)]


@needs_triton
@pytest.mark.slow
@not_interpreted
def test_in_the_interpreter():
    run_in_the_interpreter(__file__)
