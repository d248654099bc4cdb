"""Losses for labels: pytorch-metric-learning's, over the embeddings of all ranks.

They give the loss and the gradients of one process with the joined batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from hardpairs.batches.info import BatchInfo
from hardpairs.core.components import Options, option
from hardpairs.losses.base import Loss
from hardpairs.losses.gather import World


@dataclass(frozen=True)
class MinerOptions(Options):
    """Options of losses that can leave the choice of pairs to a miner."""

    miner: str = option(
        "none",
        "which triplets or pairs of a batch count",
        choices=("none", "batch-hard", "semi-hard", "multi-similarity"),
    )


def make_miner(name: str, margin: float = 0.2) -> nn.Module | None:
    """Return pytorch-metric-learning's miner of this name, or ``None`` for ``none``.

    Args:
        name: ``none``, ``batch-hard``, ``semi-hard`` or ``multi-similarity``.
        margin: The triplet margin; only ``semi-hard`` reads it.
    """
    from pytorch_metric_learning import miners

    miner: nn.Module | None = None
    if name == "batch-hard":
        miner = miners.BatchHardMiner()
    elif name == "semi-hard":
        miner = miners.TripletMarginMiner(margin=margin, type_of_triplets="semihard")
    elif name == "multi-similarity":
        miner = miners.MultiSimilarityMiner()
    return miner


class LabelLoss(Loss):
    """A loss of embeddings and labels over all ranks.

    A row's label is its group, the first column of ``info.group_ids``.

    Args:
        loss: Called with embeddings (B, D) and labels (B,), and with pairs where there is a miner.
        miner: Chooses pairs or triplets of the joined batch.
        group_ids: (C,) int64, ascending group ids of the labels that have class weights; rows of
            other groups do not count. ``None``: the loss has no class weights.
        world: How ranks are joined.
    """

    part: ClassVar[str] = "metric_loss"
    needs_labels: ClassVar[bool] = True

    def __init__(
        self,
        loss: nn.Module,
        miner: nn.Module | None = None,
        *,
        group_ids: torch.Tensor | None = None,
        world: World | None = None,
    ) -> None:
        super().__init__()
        self.loss, self.miner, self.world = loss, miner, world or World()
        self.group_ids = group_ids

    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: torch.Tensor,
        logit_bias: torch.Tensor | None = None,
        *,
        info: BatchInfo | None = None,
        embedding: torch.Tensor,
        class_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss of all ranks' rows.

        Args:
            image_features: Not used.
            text_features: Not used.
            logit_scale: Not used.
            logit_bias: Not used.
            info: What is known of the rows: their group ids.
            embedding: (b, D), what is compared; computed with in single precision, because
                distances of near rows are lost in half precision.
            class_weights: (C, D), where the loss needs them.
        """
        assert info is not None and isinstance(info.group_ids, torch.Tensor)
        labels = self.world.gather(info.group_ids[:, 0].to(embedding.device).contiguous())
        embeddings = self.world.gather(embedding)
        with torch.autocast(embedding.device.type, enabled=False):
            if embeddings.dtype in (torch.float16, torch.bfloat16):
                embeddings = embeddings.float()
            if self.group_ids is not None:
                return self._with_classes(embeddings, labels, class_weights)
            pairs = () if self.miner is None else (self.miner(embeddings, labels),)
            loss: torch.Tensor = self.loss(embeddings, labels, *pairs)
            return loss

    def _with_classes(
        self, embeddings: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        assert self.group_ids is not None and weights is not None
        group_ids = self.group_ids.to(labels.device)
        classes = torch.searchsorted(group_ids, labels).clamp(max=len(group_ids) - 1)
        labeled = group_ids[classes] == labels
        if not labeled.any():
            return 0 * (embeddings.sum() + weights.sum())
        if not labeled.all():
            embeddings, classes = embeddings[labeled], classes[labeled]
        weights = mean_of_copies(weights, len(group_ids))
        loss: torch.Tensor = torch.func.functional_call(
            self.loss, {"W": weights.T}, (embeddings, classes)
        )
        return loss


def mean_of_copies(weights: torch.Tensor, classes: int) -> torch.Tensor:
    """Return (C, D) class weights of a model output that gradient accumulation has joined A times.

    Each of the A backward passes sees one copy with a gradient. The mean passes on a share of 1 / A
    of it, so that all passes together give the gradient once.
    """
    if len(weights) == classes:
        return weights
    return weights.view(-1, classes, weights.shape[1]).mean(dim=0)


def library_loss(name: str, **options: Any) -> nn.Module:
    """Return a loss of pytorch-metric-learning, which takes a second to import."""
    from pytorch_metric_learning import losses

    loss: nn.Module = getattr(losses, name)(**options)
    return loss
