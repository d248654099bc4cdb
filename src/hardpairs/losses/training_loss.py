"""The loss of a training run: one that is chosen by name, plus the terms that options add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from hardpairs.batches.info import BatchInfo
from hardpairs.core.components import Options
from hardpairs.losses import LOSSES
from hardpairs.losses.base import Loss, LossContext
from hardpairs.losses.geometry import GeometryLoss
from hardpairs.losses.margin import HardNegativeMarginLoss
from hardpairs.losses.memory import MemoryBatch
from hardpairs.losses.pairs import PairOptions


class TrainingLoss(nn.Module):
    """A loss plus weighted terms. Called like OpenCLIP's losses, with ``info`` beside.

    Args:
        loss: The main loss.
        terms: Further losses, each with its weight.
        mask_groups: Whether the losses see group ids and duplicate features.
        freeze_scale_epochs: Epochs in which the logit scale gets no gradient.
    """

    def __init__(
        self,
        loss: Loss,
        terms: Mapping[Loss, float] | None = None,
        *,
        mask_groups: bool = True,
        freeze_scale_epochs: float = 0.0,
    ) -> None:
        super().__init__()
        self.loss, self.terms = loss, nn.ModuleList(terms or ())
        self.weights = list((terms or {}).values())
        self.mask_groups, self.freeze_scale_epochs = mask_groups, freeze_scale_epochs

    def end_step(self) -> None:
        """Take note that the calls of an optimizer step are over."""
        self.loss.end_step()

    def forget(self) -> None:
        """Drop features of past batches."""
        self.loss.forget()

    def hold(self, batches: Iterable[MemoryBatch]) -> None:
        """Keep features of all rows until they are made anew."""
        self.loss.hold(batches)

    def state(self) -> dict[str, Any]:
        """Return what the loss keeps from step to step, for a checkpoint."""
        return self.loss.state()

    def load_state(self, state: dict[str, Any], device: torch.device | str) -> None:
        """Take over what ``state`` returned, on a device."""
        self.loss.load_state(state, device)

    def statistics(self) -> tuple[dict[str, float], torch.Tensor | None]:
        """Return what to log of the last call on this rank beside the loss, as ``Loss`` does."""
        return self.loss.statistics()

    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: torch.Tensor,
        logit_bias: torch.Tensor | None = None,
        output_dict: bool = False,
        *,
        info: BatchInfo | None = None,
        **outputs: Any,
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return the sum of all parts, or the parts by name.

        Args:
            image_features: (b, D), unit length.
            text_features: (b, D), unit length.
            logit_scale: Exponentiated (1 / temperature).
            logit_bias: Bias of the logits, where the model has one.
            output_dict: Whether to return the parts by name instead of their sum.
            info: What the batch knows of its rows.
            **outputs: Further outputs of the model, which the main loss takes.
        """
        info = BatchInfo() if info is None else info
        if not self.mask_groups:
            info = replace(info, group_ids=None, duplicate_features=None)
        if info.epochs_done < self.freeze_scale_epochs:
            logit_scale = logit_scale.detach() + 0 * logit_scale
        arguments = (image_features, text_features, logit_scale, logit_bias)
        loss = self.loss(*arguments, info=info, **outputs)
        parts = dict(loss) if isinstance(loss, dict) else {self.loss.part: loss}
        if self.loss.needs_labels:
            # DDP waits for a gradient of every parameter; the features' own is 0 here.
            unused = image_features[0, 0] + text_features[0, 0] + logit_scale
            unused = unused if logit_bias is None else unused + logit_bias
            parts[self.loss.part] = parts[self.loss.part] + 0 * unused
        for term, weight in zip(self.terms, self.weights, strict=True):
            parts[term.part] = weight * term(*arguments, info=info)
        return parts if output_dict else torch.stack(list(parts.values())).sum()


def build_loss(name: str, config: Options, context: LossContext) -> TrainingLoss:
    """Build the loss of a name with the terms that its options add.

    Args:
        name: One of ``LOSSES``.
        config: An instance of the loss's ``Config``.
        context: What the loss needs to know of the run.
    """
    loss = LOSSES.load(name).from_config(config, context)
    if not isinstance(config, PairOptions):
        return TrainingLoss(loss)
    world = replace(context.world, ring=config.loss_ring)
    terms: dict[Loss, float] = {}
    if config.margin_weight:
        margin = HardNegativeMarginLoss(
            context.hard_per_target,
            config.margin_similarity,
            config.margin_direction,
            detach_bound=config.margin_detach,
            duplicate_threshold=config.false_negative_threshold,
            block_rows=config.loss_block_rows,
            **asdict(world),
        )
        terms[margin] = config.margin_weight
    if config.geometry_weight:
        geometry = GeometryLoss(world=world, block_rows=config.loss_block_rows)
        terms[geometry] = config.geometry_weight
    return TrainingLoss(
        loss,
        terms,
        mask_groups=bool(config.false_negative_mask),
        freeze_scale_epochs=config.freeze_logit_scale_epochs,
    )
