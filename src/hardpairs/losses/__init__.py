"""Losses by name. Each is one file; a new one is one file and one line in the table."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from hardpairs.losses.clip import ContrastiveLoss
from hardpairs.losses.clipse import ClipseLoss
from hardpairs.losses.gather import World
from hardpairs.losses.geometry import GeometryLoss
from hardpairs.losses.known import Known
from hardpairs.losses.margin import HardNegativeMarginLoss
from hardpairs.losses.sanw import SANWLoss
from hardpairs.losses.siglip import SigmoidLoss
from hardpairs.losses.statistics import logit_statistics, weight_statistics
from hardpairs.losses.weights import SimilarityWeights

__all__ = [
    "LOSSES",
    "ContrastiveLoss",
    "GeometryLoss",
    "HardNegativeMarginLoss",
    "Known",
    "Rows",
    "SANWLoss",
    "SigmoidLoss",
    "SimilarityWeights",
    "TrainingLoss",
    "World",
    "build_loss",
]

LOSSES: dict[str, Callable[[argparse.Namespace], str | None]] = {
    "clip_ce": lambda args: None,
    "sanw_debias": lambda args: args.sanw_debias,
    "sanw_bandpass": lambda args: "bandpass",
    "helip": lambda args: None,  # CLIP's loss, with the margin term added
    "siglip": lambda args: None,
}
"""Name of ``--loss-fn`` -> how it weights negatives, if it does."""


class Rows(NamedTuple):
    """What a micro-batch says of its b rows: (b, G) ids of known positives, (b,) bool mined partners, (b,) ids that a target shares with its
    mined partners, (b, D) unit rows to weight negatives by, and (b, D) unit rows to find near duplicates by; the last two may be ``None``."""

    positives: torch.Tensor
    mined: torch.Tensor
    exempt: torch.Tensor
    image_source: torch.Tensor | None = None
    text_source: torch.Tensor | None = None
    image_stored: torch.Tensor | None = None
    text_stored: torch.Tensor | None = None


class TrainingLoss(nn.Module):
    """What the trainer calls in place of OpenCLIP's loss: a contrastive part and, each with a weight, HELIP's margin and CLIPSE's geometry.

    The trainer passes features only; what the batch says of its rows comes through ``take``, once per micro-batch.

    Args:
        accumulate: micro-batches whose rows one call holds (``--accum-freq``).
        mask_positives: whether known positives leave the denominators.
        duplicate_threshold: of stored rows, where there are any: a pair above it is a known positive.
        exempt_partners: whether a target and its mined partners keep weight 1.
        warmup_epochs: the weights' strength grows from 0 to its value over these.
        freeze_scale_epochs: the logit scale gets no gradient in these.
    """

    def __init__(
        self,
        contrast: ContrastiveLoss,
        margin: HardNegativeMarginLoss | None = None,
        geometry: GeometryLoss | None = None,
        *,
        margin_weight: float = 0.0,
        geometry_weight: float = 0.0,
        mask_positives: bool = True,
        duplicate_threshold: float = 1.0,
        exempt_partners: bool = False,
        warmup_epochs: float = 0.0,
        freeze_scale_epochs: float = 0.0,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.contrast, self.margin, self.geometry = contrast, margin, geometry
        self.margin_weight, self.geometry_weight = margin_weight, geometry_weight
        self.mask_positives, self.exempt_partners, self.accumulate = (
            mask_positives,
            exempt_partners,
            accumulate,
        )
        self.duplicate_threshold = duplicate_threshold
        self.warmup_epochs, self.freeze_scale_epochs = warmup_epochs, freeze_scale_epochs
        self.full_weights = contrast.weights
        self.progress = 0.0
        self._taken: list[Rows] = []

    def take(self, rows: Rows, progress: float) -> None:
        """Notes what a micro-batch says of its rows; the last ``accumulate`` are kept. ``progress``: epochs passed before it."""
        self._taken = [*self._taken, rows][-self.accumulate :]
        self.progress = progress
        if self.full_weights is not None and self.warmup_epochs:
            strength = min(1.0, progress / self.warmup_epochs)
            self.contrast.weights = dataclasses.replace(
                self.full_weights, beta=strength * self.full_weights.beta
            )

    def statistics(self) -> tuple[dict[str, float], torch.Tensor | None]:
        """What to log of the last call on this rank beside the loss: numbers by name, and the histogram of its weights (20,) or ``None``."""
        if self.contrast.last is None:
            return {}, None
        image, all_text, scale, negatives = self.contrast.last
        numbers = logit_statistics(image, all_text, scale, negatives)
        if negatives.weights is None:
            return numbers, None
        weights, histogram = weight_statistics(negatives)
        return {**numbers, **weights, "sanw_beta": negatives.weights.beta}, histogram

    def forward(
        self, image_features, text_features, logit_scale, logit_bias=None, output_dict=False
    ):
        device = image_features.device
        rows = Rows(
            *(
                None if parts[0] is None else torch.cat(parts).to(device)
                for parts in zip(*self._taken, strict=True)
            )
        )
        if self.progress < self.freeze_scale_epochs:
            logit_scale = (
                logit_scale.detach() + 0 * logit_scale
            )  # a gradient of 0, since DDP waits for one
        stored = () if rows.image_stored is None else (rows.image_stored, rows.text_stored)
        known = (
            Known(rows.positives, stored, self.duplicate_threshold) if self.mask_positives else None
        )
        losses = self.contrast(
            image_features,
            text_features,
            logit_scale,
            logit_bias,
            output_dict=True,
            positives=known,
            exempt=rows.exempt if self.exempt_partners else None,
            sources=None if rows.image_source is None else (rows.image_source, rows.text_source),
        )
        if self.margin is not None:
            margin = self.margin(
                image_features, text_features, logit_scale, positives=known, mined=rows.mined
            )
            losses["margin_loss"] = self.margin_weight * margin
        if self.geometry is not None:
            losses["geometry_loss"] = self.geometry_weight * self.geometry(
                image_features, text_features
            )
        return losses if output_dict else sum(losses.values())


def build_loss(args: argparse.Namespace) -> TrainingLoss:
    """The loss that the options name."""
    world = World(args.rank, args.world_size, args.local_loss, args.gather_with_grad)
    flags = {**dataclasses.asdict(world), "block_rows": args.loss_block_rows}
    margin = geometry = None
    if args.margin_weight:
        options = {"detach_bound": args.margin_detach, **flags}
        margin = HardNegativeMarginLoss(
            args.hard_per_target, args.margin_similarity, args.margin_direction, **options
        )
    if args.geometry_weight:
        geometry = GeometryLoss(world=world, block_rows=args.loss_block_rows)
    return TrainingLoss(
        _contrast(args, world),
        margin,
        geometry,
        margin_weight=args.margin_weight,
        geometry_weight=args.geometry_weight,
        mask_positives=args.false_negative_mask,
        duplicate_threshold=args.false_negative_threshold,
        exempt_partners=args.sanw_exempt_partners,
        warmup_epochs=args.sanw_warmup_epochs,
        freeze_scale_epochs=args.freeze_logit_scale_epochs,
        accumulate=args.accum_freq,
    )


def _contrast(args: argparse.Namespace, world: World) -> ContrastiveLoss:
    """Softmax or, with ``--siglip``, sigmoid form; with the weights that ``--loss-fn`` names, or one of CLIPSE's own formulas."""
    weighting, common = (
        LOSSES[args.loss_fn](args),
        {"world": world, "block_rows": args.loss_block_rows},
    )
    if weighting is None:
        return (SigmoidLoss if args.siglip else ContrastiveLoss)(**common)
    weights = SimilarityWeights(
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
    )
    if args.sanw_variant is None:
        return (SigmoidLoss if args.siglip else ContrastiveLoss)(weights=weights, **common)
    weights = dataclasses.replace(weights, normalize=False, max_weight=None)
    if args.sanw_variant == "seed-v2":
        weights = dataclasses.replace(
            weights, weighting="sigmoid" if weighting != "bandpass" else weighting, floor=1e-30
        )
    return ClipseLoss(args.sanw_variant, weights=weights, **common)
