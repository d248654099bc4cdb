"""Metric losses from pytorch-metric-learning over the rows of all ranks: the loss and the gradients of one process with the joined batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hardpairs.losses.gather import World

UNLABELLED = -1


@dataclass(frozen=True)
class Numbers:
    """A loss's numbers; ``None`` where it has its own default."""

    temperature: float | None = None
    margin: float | None = None
    negative_margin: float | None = None
    scale: float | None = None


def supcon(numbers: Numbers, **_: Any) -> nn.Module:
    """Supervised contrastive (Khosla et al., arXiv 2004.11362, Eq. 2), over cosines; CLIPPINGS' temperature is .1."""
    from pytorch_metric_learning.losses import SupConLoss

    return SupConLoss(temperature=_or(numbers.temperature, 0.1))


def contrastive(numbers: Numbers, **_: Any) -> nn.Module:
    """relu(d - m+) + relu(m- - d) with Euclidean d of unit rows, each averaged over its pairs that are not 0; CLIPPINGS' margins are 0 and .5."""
    from pytorch_metric_learning.losses import ContrastiveLoss

    return ContrastiveLoss(
        pos_margin=_or(numbers.margin, 0.0), neg_margin=_or(numbers.negative_margin, 0.5)
    )


def contrastive_squared(numbers: Numbers, **_: Any) -> nn.Module:
    """mean(y d^2 + (1 - y) relu(m - d)^2) (Hadsell et al., CVPR 2006); the loss comparison's m is .5. Positive and negative pairs weigh one half each,
    as in the comparison's pairs, of which half are positive; among all pairs of a batch they would be one in fifteen."""
    return SquaredContrastive(_or(numbers.negative_margin, 0.5))


def triplet(numbers: Numbers, **_: Any) -> nn.Module:
    """relu(d(a, p) - d(a, n) + m) with Euclidean d of unit rows, averaged over triplets that are not 0 (Schroff et al., arXiv 1503.03832)."""
    from pytorch_metric_learning.losses import TripletMarginLoss

    return TripletMarginLoss(margin=_or(numbers.margin, 0.2))


def arcface(numbers: Numbers, *, classes: int, width: int) -> nn.Module:
    """Cross entropy of scale * cos(angle + margin of the own class) (Deng et al., arXiv 1801.07698, Eq. 3); margin in radians here. Past pi -
    margin the target's logit goes on as cos - margin sin(margin), so that it never rises again."""
    from pytorch_metric_learning.losses import ArcFaceLoss

    degrees = torch.rad2deg(torch.tensor(_or(numbers.margin, 0.5))).item()
    return ArcFaceLoss(
        num_classes=classes, embedding_size=width, margin=degrees, scale=_or(numbers.scale, 64.0)
    )


METRIC: dict[str, Callable[..., nn.Module]] = {
    "supcon": supcon,
    "contrastive": contrastive,
    "contrastive_squared": contrastive_squared,
    "triplet": triplet,
    "arcface": arcface,
}
"""Name of ``--loss-fn`` -> maker."""
NEEDS = {
    "temperature": ("supcon",),
    "margin": ("contrastive", "triplet", "arcface"),
    "negative_margin": ("contrastive", "contrastive_squared"),
    "scale": ("arcface",),
}
"""Number -> losses that have it."""
MINERS = ("none", "batch-hard", "semi-hard", "multi-similarity")
MINED = ("triplet", "contrastive")
"""Losses that a miner can choose pairs or triplets for."""


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def make_miner(name: str, margin: float | None = None) -> nn.Module | None:
    """pytorch-metric-learning's miner of this name; ``margin`` is the triplets' one, .2 by default (a contrastive margin is another thing)."""
    from pytorch_metric_learning import miners

    if name == "batch-hard":
        return miners.BatchHardMiner()
    if name == "semi-hard":
        return miners.TripletMarginMiner(margin=_or(margin, 0.2), type_of_triplets="semihard")
    return miners.MultiSimilarityMiner() if name == "multi-similarity" else None


class SquaredContrastive(nn.Module):
    """See ``contrastive_squared``."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        norms = embeddings.square().sum(dim=1)
        squared = (norms[:, None] + norms - 2 * embeddings @ embeddings.T).clamp(min=0)
        distance = squared.clamp(min=1e-12).sqrt()
        same = labels[:, None] == labels
        positives = same.sum() - len(labels)  # a row and itself are no pair
        weights = torch.where(
            same, 0.5 / positives.clamp(min=1), 0.5 / (~same).sum().clamp(min=1)
        ).fill_diagonal_(0)
        return (
            weights * torch.where(same, squared, (self.margin - distance).relu().square())
        ).sum()


class MetricLoss(nn.Module):
    """What the trainer calls in place of OpenCLIP's loss: one metric loss over the embeddings of all ranks.

    Args:
        loss: called with embeddings (B, D) and labels (B,), and pairs where there is a miner.
        miner: chooses pairs or triplets of the joined batch.
        classes: (C,) ascending group ids of the classes, for losses with class weights; rows of other groups do not count there.
        accumulate: micro-batches whose rows one call holds (``--accum-freq``).
    """

    def __init__(
        self,
        loss: nn.Module,
        miner: nn.Module | None = None,
        *,
        classes: torch.Tensor | None = None,
        world: World | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.loss, self.miner, self.world, self.accumulate = (
            loss,
            miner,
            world or World(),
            accumulate,
        )
        self.classes = classes
        self._taken: list[torch.Tensor] = []

    def take(self, rows: Any, progress: float) -> None:
        """Notes a micro-batch's labels: the groups of its rows, in the first column of ``rows.positives``."""
        self._taken = [*self._taken, rows.positives[:, 0]][-self.accumulate :]

    def statistics(self) -> tuple[dict[str, float], None]:
        """Nothing beside the loss itself."""
        return {}, None

    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: torch.Tensor,
        logit_bias: torch.Tensor | None = None,
        *,
        embedding: torch.Tensor,
        class_weights: torch.Tensor | None = None,
        output_dict: bool = False,
    ) -> Any:
        taken = self._taken[0] if len(self._taken) == 1 else torch.cat(self._taken)
        labels = self.world.gather(taken.to(embedding.device))
        embeddings = self.world.gather(embedding)
        with torch.autocast(
            embedding.device.type, enabled=False
        ):  # distances of near rows are lost in half precision
            embeddings = (
                embeddings.float()
                if embeddings.dtype in (torch.float16, torch.bfloat16)
                else embeddings
            )
            loss = (
                self._with_classes(embeddings, labels, class_weights)
                if self.classes is not None
                else self._plain(embeddings, labels)
            )
        unread = (
            image_features[0, 0]
            + text_features[0, 0]
            + logit_scale
            + (0 if logit_bias is None else logit_bias)
        )
        loss = loss + 0 * unread  # a gradient of 0 for every parameter, since DDP waits for one
        return {"metric_loss": loss} if output_dict else loss

    def _plain(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (
            self.loss(embeddings, labels)
            if self.miner is None
            else self.loss(embeddings, labels, self.miner(embeddings, labels))
        )

    def _with_classes(
        self, embeddings: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        assert self.classes is not None and weights is not None
        classes = self.classes.to(labels.device)
        place = torch.searchsorted(classes, labels).clamp(max=len(classes) - 1)
        known = classes[place] == labels
        labelled = int(known.sum())
        if not labelled:
            return 0 * (embeddings.sum() + weights.sum())
        if labelled < len(known):
            embeddings, place = embeddings[known], place[known]
        return torch.func.functional_call(
            self.loss, {"W": once(weights, len(classes)).T}, (embeddings, place)
        )


def once(weights: torch.Tensor, classes: int) -> torch.Tensor:
    """(C, D) class weights of a model output that ``--accum-freq`` has joined A times over. Each of the A backward passes sees one copy with a
    gradient; their mean passes on a part of 1 / A, so that all passes together give the gradient once."""
    return (
        weights
        if len(weights) == classes
        else weights.view(-1, classes, weights.shape[1]).mean(dim=0)
    )
