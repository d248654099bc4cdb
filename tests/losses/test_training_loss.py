"""A loss with its terms; and laws that hold for every loss of the registry."""

import pytest
import torch
import torch.nn.functional as F

from hardpairs.batches import BatchInfo
from hardpairs.losses import (
    LOSSES,
    ContrastiveLoss,
    GeometryLoss,
    HardNegativeMarginLoss,
    LossContext,
    TrainingLoss,
    build_loss,
)
from tests.losses.helpers import SCALE, features

GROUPS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])


def built(name, **options):
    context = LossContext(hard_per_target=1, group_ids=GROUPS.unique(), width=6, num_rows=12)
    return build_loss(name, LOSSES.load(name).Config(**options), context)


def arguments(name):
    """Return features, scale and what the loss needs beside them."""
    image, text = (side.requires_grad_() for side in features())
    more = {}
    if LOSSES.load(name).needs_labels:
        more = {"embedding": F.normalize(image + text, dim=1)}
        if LOSSES.load(name).needs_class_weights:
            generator = torch.Generator().manual_seed(0)
            more["class_weights"] = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    return (image, text, SCALE.clone().requires_grad_()), more


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_finite_and_has_gradients(name):
    inputs, more = arguments(name)
    roles, rows = torch.arange(12) % 2, torch.arange(12)
    info = BatchInfo(rows=rows, group_ids=GROUPS[:, None], targets=GROUPS, roles=roles)
    parts = built(name)(*inputs, output_dict=True, info=info, **more)
    total = sum(parts.values())
    total.backward()
    assert total.ndim == 0 and total.isfinite() and set(parts) >= {LOSSES.load(name).part}
    assert all(side.grad is not None and side.grad.isfinite().all() for side in inputs)
    assert inputs[0].grad.abs().sum() > 0


@pytest.mark.parametrize("variant", ["seed-v1", "seed-v2", "seed-v3"])
def test_a_published_formula_masks_nothing_unless_asked(variant):
    """As CLIPSE's own code, whose numbers it is there for."""
    inputs, _ = arguments("sanw_debias")
    info = BatchInfo(group_ids=GROUPS[:, None])
    loss = built("sanw_debias", sanw_variant=variant)
    assert loss(*inputs, info=info) == loss(*inputs)
    asked = built("sanw_debias", sanw_variant=variant, false_negative_mask=True)
    assert asked(*inputs, info=info) != loss(*inputs)


@pytest.mark.parametrize("name", [name for name in LOSSES if not LOSSES.load(name).needs_labels])
def test_swapping_image_and_text_changes_no_pair_loss(name):
    (image, text, scale), _ = arguments(name)
    loss, info = built(name, margin_weight=0.0), BatchInfo(rows=torch.arange(12))
    values = [loss(*sides, scale, info=info).item() for sides in ((image, text), (text, image))]
    assert values[0] == pytest.approx(values[1])


def test_terms_are_added_with_their_weights():
    inputs, _ = arguments("clip_ce")
    loss = TrainingLoss(ContrastiveLoss(), {HardNegativeMarginLoss(): 0.3, GeometryLoss(): 0.1})
    parts = loss(*inputs, output_dict=True)
    expected = {
        "contrastive_loss": ContrastiveLoss()(*inputs),
        "margin_loss": 0.3 * HardNegativeMarginLoss()(*inputs),
        "geometry_loss": 0.1 * GeometryLoss()(*inputs),
    }
    assert parts.keys() == expected.keys()
    torch.testing.assert_close(parts, expected)
    torch.testing.assert_close(loss(*inputs), sum(expected.values()))
    assert built("helip").weights == [0.3] and built("clip_ce", geometry_weight=2).weights == [2]


def test_groups_count_only_with_the_mask():
    inputs, _ = arguments("clip_ce")
    info = BatchInfo(group_ids=GROUPS[:, None])
    plain = built("clip_ce")(*inputs)
    assert built("clip_ce", false_negative_mask=False)(*inputs, info=info) == plain
    assert built("clip_ce")(*inputs, info=info) < plain


@pytest.mark.parametrize(("epochs_done", "moves"), [(0.0, False), (0.9, False), (1.0, True)])
def test_the_scale_waits(epochs_done, moves):
    inputs, _ = arguments("clip_ce")
    info = BatchInfo(epochs_done=epochs_done)
    built("clip_ce", freeze_logit_scale_epochs=1)(*inputs, info=info).backward()
    assert bool(inputs[2].grad != 0) == moves
