"""Run by torchrun: every loss on two ranks; rank 0 writes mean losses and parameter gradients for the test to compare."""

import sys
from dataclasses import replace
from itertools import product

import torch
import torch.distributed as dist
import torch.nn.functional as F
from open_clip.loss import ClipLoss

from hardpairs.batches import HARD_PAIR, RANDOM, BatchInfo
from hardpairs.losses import (
    ContrastiveLoss,
    GeometryLoss,
    GlobalLoss,
    HardNegativeMarginLoss,
    SANWLoss,
    SigmoidLoss,
    SimilarityWeights,
    TrainingLoss,
    World,
)
from hardpairs.losses.base import Pairs
from hardpairs.losses.guide import GuideRule
from hardpairs.losses.targets import Blend

BANDPASS = SimilarityWeights("bandpass", m1=-0.2)


def composed(block_rows, **world):
    """Stored similarities, exempt hard pairs, blocks, the margin and the geometry term at once."""
    options = {"world": World(**world), "block_rows": block_rows}
    loss = ContrastiveLoss(
        weights=BANDPASS, duplicate_threshold=0.5, exempt_hard_pairs=True, **options
    )
    margin = HardNegativeMarginLoss(1, block_rows=block_rows, duplicate_threshold=0.5, **world)
    return TrainingLoss(loss, {margin: 0.3, GeometryLoss(**options): 0.1})


def unmasked(loss):
    return lambda image, text, scale, info: loss(image, text, scale)


def near(loss):
    """Known positives by stored rows, too."""
    loss.duplicate_threshold = 0.3

    def call(image, text, scale, info):
        stored = (image.detach(), text.detach().flip(1))
        return loss(image, text, scale, info=replace(info, duplicate_features=stored))

    return call


def uneven_log_sums(block_rows, **world):
    """A function of the log sums whose gradient differs from row to row, without own pairs."""
    loss = ContrastiveLoss(world=World(**world), block_rows=block_rows)

    def call(image, text, scale, info):
        pairs = Pairs(image, text, scale, None)
        sums = loss.log_sums(pairs, loss.negatives(image, text, info), with_own=False)
        return ((sums.image - sums.own).exp() - (sums.text - 2 * sums.own).sin()).mean()

    return call


def with_stored(loss):
    """A guide and a start model that know the rows by other numbers."""

    def call(image, text, scale, info):
        sides = image.detach(), text.detach()
        stored = tuple(F.normalize(side[:, :4], dim=1) for side in sides)
        info = replace(info, guide_features=stored, start_features=stored[::-1])
        return loss(image, text, scale, info=info)

    return call


def after_a_step(loss):
    """A loss with a past step on other features of other rows."""

    def call(image, text, scale, info):
        past = replace(info, rows=(info.rows + 3) % 16, group_ids=info.group_ids.flip(1) // 2)
        loss(text.detach().flip(1), image.detach(), scale, info=past)
        loss.end_step()
        return loss(image, text, scale, info=info)

    return call


def remembering(block_rows, weights=None, form=ContrastiveLoss, **world):
    options = {"world": World(**world), "block_rows": block_rows, "memory_batches": 2}
    return after_a_step(form(weights=weights, **options))


def normalized(block_rows, **world):
    loss = GlobalLoss(16, gamma=0.4, eps=0.1, rho=2.0, world=World(**world), block_rows=block_rows)
    loss.log_normalizers = loss.log_normalizers.double()
    return after_a_step(loss)


SOFT = {"multi_positive": True, "blend": Blend(0.4, 10.0), "guide": GuideRule(0.1, 0.3)}

JOINED_CASES = {
    "hardness": lambda **world: ContrastiveLoss(hardness=9.0, world=World(**world)),
    "multi-positive": lambda **world: ContrastiveLoss(multi_positive=True, world=World(**world)),
    "guide": lambda **world: with_stored(
        ContrastiveLoss(guide=SOFT["guide"], world=World(**world))
    ),
    "blend": lambda **world: with_stored(
        ContrastiveLoss(blend=SOFT["blend"], world=World(**world))
    ),
    "all in blocks": lambda **world: with_stored(
        ContrastiveLoss(**SOFT, hardness=3.0, block_rows=3, world=World(**world))
    ),
    "sigmoid form, guide and positives": lambda **world: with_stored(
        SigmoidLoss(multi_positive=True, guide=SOFT["guide"], world=World(**world))
    ),
    "memory": lambda **world: remembering(None, **world),
    "memory, weights": lambda **world: remembering(3, BANDPASS, **world),
    "memory, sigmoid form": lambda **world: remembering(3, BANDPASS, SigmoidLoss, **world),
    "global": lambda **world: normalized(None, **world),
    "global in blocks": lambda **world: normalized(3, **world),
}
"""Losses that need both flags of OpenCLIP on several ranks."""

CASES = {
    **JOINED_CASES,
    "log sums": lambda **world: uneven_log_sums(None, **world),
    "log sums in blocks": lambda **world: uneven_log_sums(3, **world),
    "plain": lambda **world: unmasked(ContrastiveLoss(world=World(**world))),
    "clip": lambda **world: ContrastiveLoss(world=World(**world)),
    "exp": lambda **world: SANWLoss("exp", delta=0.0, **world),
    "bandpass": lambda **world: SANWLoss("bandpass", m1=-0.2, **world),
    "blocks": lambda **world: SANWLoss("bandpass", m1=-0.2, block_rows=3, **world),
    "sigmoid form": lambda **world: SigmoidLoss(weights=BANDPASS, world=World(**world)),
    "margin": lambda **world: HardNegativeMarginLoss(1, direction="both", **world),
    "near duplicates": lambda **world: near(SANWLoss("bandpass", m1=-0.2, block_rows=3, **world)),
    "margin, near duplicates": lambda **world: near(
        HardNegativeMarginLoss(1, block_rows=3, **world)
    ),
    "composed": lambda **world: composed(None, **world),
    "composed in blocks": lambda **world: composed(3, **world),
}


def setup():
    """16 pairs, ids and mined flags of the joined batch, and a linear layer as the model."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 16, 10, generator=generator, dtype=torch.float64)
    positives = torch.randint(0, 12, (16, 2), generator=generator) + torch.tensor([0, 100])
    mined = (torch.arange(16) % 2 == 1) & (torch.rand(16, generator=generator) > 0.4)
    torch.manual_seed(0)
    return inputs, positives, mined, torch.nn.Linear(10, 6, bias=False).double()


def combinations():
    """(case, local_loss, gather_with_grad) that are allowed."""
    for case, *flags in product(CASES, (True, False), (True, False)):
        if case not in JOINED_CASES or all(flags):
            yield case, *flags


def openclip(**world):
    return unmasked(ClipLoss(**world))


def compute(case, rows, dtype=torch.float64, **world):
    """Return the loss of some rows, and its gradients toward the layer's weights and the scale."""
    inputs, positives, mined, layer = setup()
    inputs, layer = inputs.to(dtype), layer.to(dtype)
    image, text = (F.normalize(layer(side[rows]), dim=1) for side in inputs)
    loss, scale = CASES[case](**world), torch.tensor(20.0, dtype=dtype, requires_grad=True)
    roles = torch.where(mined, HARD_PAIR, RANDOM)[rows]
    numbers = torch.arange(16)
    info = BatchInfo(
        rows=numbers[rows],
        roles=roles,
        targets=torch.where(mined, numbers - 1, numbers)[rows],
        group_ids=positives[rows],
    )
    if isinstance(loss, TrainingLoss):
        stored = [F.normalize(side[rows].flip(1), dim=1) for side in inputs]
        info = replace(
            info,
            targets=torch.arange(16)[rows] // 2,
            similarity_features=tuple(stored),
            duplicate_features=tuple(reversed(stored)),
        )
    loss = loss(image, text, scale, info=info)
    loss.backward()
    return loss.detach(), torch.cat([layer.weight.grad.flatten(), scale.grad[None]])


def mean_over_ranks(tensors):
    """Average tensors over the ranks, as DistributedDataParallel does; in place."""
    for tensor in tensors:
        dist.all_reduce(tensor)
        tensor /= dist.get_world_size()
    return tensors


if __name__ == "__main__":
    dist.init_process_group("gloo")
    rank, results = dist.get_rank(), {}
    CASES["openclip"] = openclip
    for case, local_loss, with_grad in combinations():
        rows = slice(rank * 8, rank * 8 + 8)
        world = {"rank": rank, "world_size": 2}
        world |= {"local_loss": local_loss, "gather_with_grad": with_grad}
        results[case, local_loss, with_grad] = mean_over_ranks(compute(case, rows, **world))
    if rank == 0:
        torch.save(results, sys.argv[1])
    dist.destroy_process_group()  # a rank that just ends may abort in gloo's threads
