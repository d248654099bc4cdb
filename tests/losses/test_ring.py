"""Losses in a ring: on several ranks those of one process with the joined batch, and no rank has all rows."""

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import (
    LOSSES,
    ContrastiveLoss,
    GlobalLoss,
    LossContext,
    SigmoidLoss,
    SimilarityWeights,
    World,
    build_loss,
)
from tests.helpers import torchrun
from tests.losses.helpers import SCALE, features
from tests.losses.ring_ranks import RING_CASES
from tests.losses.two_ranks import compute

TOLERANCES = {torch.float64: (1e-9, 1e-12), torch.float32: (1e-4, 1e-5)}


@pytest.fixture(scope="module", params=[2, 4])
def results(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks") / "results.pt"
    done = torchrun(request.param, "-m", "tests.losses.ring_ranks", str(path))
    assert done.returncode == 0, done.stderr
    return torch.load(path)


@pytest.mark.parametrize(("case", "dtype"), RING_CASES)
def test_joined_batch(results, case, dtype):
    relative, absolute = TOLERANCES[dtype]
    for ours, expected in zip(results[case, dtype], compute(case, slice(None)), strict=True):
        torch.testing.assert_close(ours, expected.to(dtype), rtol=relative, atol=absolute)


@pytest.mark.parametrize("block_rows", [None, 5])
@pytest.mark.parametrize("bias", [None, torch.tensor(-3.0, dtype=torch.float64)])
def test_sigmoid_form_with_a_bias_and_text_that_is_locked(block_rows, bias):
    found = []
    for ring in (True, False):
        image, text, scale = (*features(), SCALE.clone())
        leaves = [image, scale] if bias is None else [image, scale, bias.clone()]
        image, scale, *biases = (leaf.requires_grad_() for leaf in leaves)
        weights = SimilarityWeights("bandpass", m1=-0.2)
        loss = SigmoidLoss(weights=weights, block_rows=block_rows, world=World(ring=ring))
        value = loss(image, text, scale, *biases)
        found.append([value.detach(), *torch.autograd.grad(value, leaves)])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_half_precision_under_autocast():
    """The gradients, too, are those of the same products."""
    found, options = [], {"geometry_weight": 0.1, "margin_weight": 0.3}
    context = LossContext(hard_per_target=1)
    for ring in (True, False):
        config = LOSSES.load("clip_ce").Config(**options, loss_ring=ring)
        sides = [side.requires_grad_() for side in features(64, 32, dtype=torch.float32)]
        with torch.autocast("cpu", torch.bfloat16):
            value = build_loss("clip_ce", config, context)(*sides, SCALE.float())
        found.append([value.detach(), *torch.autograd.grad(value, sides)])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip_ce", {"multi_positive": True}),
        ("siglip", {"guided_mask": "initial"}),
        ("clip_ce", {"blend_targets": "initial"}),
        ("sanw_debias", {"memory_batches": 1}),
        ("clip_ce", {"memory_every": 1}),
        ("sanw_debias", {"sanw_variant": "seed-v3"}),
        ("global", {}),
    ],
)
def test_what_needs_all_columns_is_refused(name, options):
    with pytest.raises(ValueError, match="loss_ring"):
        LOSSES.load(name).Config(loss_ring=True, **options)


def test_a_ring_is_refused_by_losses_and_flags_that_it_does_not_fit():
    with pytest.raises(ValueError, match="needs `local_loss` and `gather_with_grad`"):
        World(world_size=2, local_loss=False, ring=True)
    with pytest.raises(ValueError, match="not in a `ring`"):
        ContrastiveLoss(memory_batches=1, world=World(ring=True))
    with pytest.raises(ValueError, match="no `ring`"):
        GlobalLoss(8, world=World(ring=True))


def test_the_step_log_of_one_process_is_the_same():
    found, info = [], BatchInfo(group_ids=torch.arange(12)[:, None] // 2)
    for ring in (True, False):
        loss = ContrastiveLoss(weights=SimilarityWeights(delta=0.0), world=World(ring=ring))
        loss(*features(), SCALE, info=info)
        numbers, histogram = loss.statistics()
        found.append([*numbers.items(), histogram.tolist()])
    assert found[0] == found[1]
