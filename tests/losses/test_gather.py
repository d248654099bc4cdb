"""Two real processes give one process's loss and gradient of the joined batch."""

from pathlib import Path

import pytest
import torch

from tests.helpers import torchrun
from tests.losses.two_ranks import JOINED_CASES, combinations, compute


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks") / "results.pt"
    done = torchrun(2, str(Path(__file__).parent / "two_ranks.py"), str(path))
    assert done.returncode == 0, done.stderr
    return torch.load(path)


@pytest.mark.parametrize(("case", "local_loss", "with_grad"), list(combinations()))
def test_joined_batch(results, case, local_loss, with_grad):
    loss, gradient = results[case, local_loss, with_grad]
    expected_loss, expected_gradient = compute(case, slice(None))
    torch.testing.assert_close(loss, expected_loss, rtol=1e-9, atol=0)
    if local_loss and with_grad:
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("local_loss", [True, False])
@pytest.mark.parametrize("with_grad", [True, False])
def test_gradients_are_cliploss_own_under_its_flags(results, local_loss, with_grad):
    """With either flag off these are partial gradients; they are OpenCLIP's."""
    ours, theirs = (results[case, local_loss, with_grad] for case in ("plain", "openclip"))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", JOINED_CASES)
@pytest.mark.parametrize("flags", [(True, False), (False, True), (False, False)])
def test_what_needs_joined_batches_is_refused_without(case, flags):
    world = dict(zip(("local_loss", "gather_with_grad"), flags, strict=True))
    with pytest.raises(ValueError, match="needs? `local_loss` and `gather_with_grad`"):
        JOINED_CASES[case](rank=0, world_size=2, **world)
