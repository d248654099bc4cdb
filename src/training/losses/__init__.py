"""Losses by name. Each is one file; a new one is one file and one line in the table."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import nn

from training.losses.clip import ContrastiveLoss
from training.losses.gather import World
from training.losses.margin import HardNegativeMarginLoss
from training.losses.sanw import SANWLoss

__all__ = ["LOSSES", "ContrastiveLoss", "HardNegativeMarginLoss", "SANWLoss", "TrainingLoss", "World", "build_loss"]


def _sanw(args: argparse.Namespace, world: World, weighting: str) -> SANWLoss:
    return SANWLoss(
        weighting,
        alpha=args.sanw_alpha,
        delta=args.sanw_delta,
        lam=args.sanw_lambda,
        m1=args.sanw_m1,
        m2=args.sanw_m2,
        gamma=args.sanw_gamma,
        beta=args.sanw_beta,
        normalize=args.sanw_normalize,
        max_weight=args.sanw_max_weight,
        rank=world.rank,
        world_size=world.world_size,
        local_loss=world.local_loss,
        gather_with_grad=world.gather_with_grad,
    )


LOSSES: dict[str, Callable[[argparse.Namespace, World], ContrastiveLoss]] = {
    "clip_ce": lambda args, world: ContrastiveLoss(world=world),
    "sanw_debias": lambda args, world: _sanw(args, world, args.sanw_debias),
    "sanw_bandpass": lambda args, world: _sanw(args, world, "bandpass"),
    "helip": lambda args, world: ContrastiveLoss(world=world),  # CLIP's loss, with the margin term added below
}


class TrainingLoss(nn.Module):
    """What the trainer calls in place of OpenCLIP's loss: a contrastive part and, with a weight, HELIP's margin.

    The trainer passes features only; what the batch says of its rows comes through ``take``, once per micro-batch.

    Args:
        accumulate: micro-batches whose rows one call holds (``--accum-freq``).
        mask_positives: whether known positives leave the denominators.
    """

    def __init__(
        self,
        contrast: ContrastiveLoss,
        margin: HardNegativeMarginLoss | None = None,
        *,
        margin_weight: float = 0.0,
        mask_positives: bool = True,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.contrast, self.margin, self.margin_weight = contrast, margin, margin_weight
        self.mask_positives, self.accumulate = mask_positives, accumulate
        self._taken: list[tuple[torch.Tensor, torch.Tensor]] = []

    def take(self, positives: torch.Tensor, mined: torch.Tensor) -> None:
        """Notes the ids (b, G) and the mined partners (b,) bool of a micro-batch; the last ``accumulate`` of them are kept."""
        self._taken = [*self._taken, (positives, mined)][-self.accumulate :]

    @property
    def statistics(self) -> dict[str, float]:
        """What to log of the last call, beside the loss itself."""
        return {name: value.item() for name, value in getattr(self.contrast, "statistics", {}).items()}

    def forward(self, image_features, text_features, logit_scale, logit_bias=None, output_dict=False):
        device = image_features.device
        positives, mined = (torch.cat(parts).to(device) for parts in zip(*self._taken, strict=True))
        known = positives if self.mask_positives else None
        losses = self.contrast(image_features, text_features, logit_scale, logit_bias, output_dict=True, positives=known)
        if self.margin is not None:
            losses["margin_loss"] = self.margin_weight * self.margin(
                image_features, text_features, logit_scale, positives=known, mined=mined
            )
        return losses if output_dict else sum(losses.values())


def build_loss(args: argparse.Namespace) -> TrainingLoss:
    """The loss that the options name."""
    world = World(args.rank, args.world_size, args.local_loss, args.gather_with_grad)
    margin = None
    if args.margin_weight:
        margin = HardNegativeMarginLoss(
            args.hard_per_target,
            args.margin_similarity,
            args.margin_direction,
            rank=world.rank,
            world_size=world.world_size,
            local_loss=world.local_loss,
            gather_with_grad=world.gather_with_grad,
        )
    contrast = LOSSES[args.loss_fn](args, world)
    return TrainingLoss(
        contrast, margin, margin_weight=args.margin_weight, mask_positives=args.false_negative_mask, accumulate=args.accum_freq
    )
