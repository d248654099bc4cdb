"""HELIP's hard negative margin loss: an ordinary negative should not be closer to a target than its mined hard pairs are."""

from __future__ import annotations

import torch
from torch import nn

from training.losses.clip import known_positives
from training.losses.gather import World


class HardNegativeMarginLoss(nn.Module):
    r"""HELIP's margin term (arXiv 2305.05208, Eq. 6): the mean over targets i of
    :math:`\frac{1}{|B|} \sum_{j \in B} \max(0, s_{ij} - \min_{h \in H_i} s_{ih})`.

    i itself, its own hard pairs and its known positives count in :math:`|B|` and add 0. There is no constant margin: the bound is the
    least similar sampled hard pair. Its published code does not contain it. Returns the term alone; the trainer adds it to CLIP's
    loss, times ``--margin-weight`` (Eq. 7).

    Rows come as target, its partners, next target...

    Args:
        hard_per_target: p, partners of a target.
        similarity: ``logits`` (scaled, as in the paper) or ``cosine``.
        direction: ``i2t`` as in the paper, or ``both`` (the mean of both ways).
    """

    def __init__(
        self,
        hard_per_target: int = 1,
        similarity: str = "logits",
        direction: str = "i2t",
        *,
        local_loss: bool = True,
        gather_with_grad: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        if hard_per_target < 1 or similarity not in ("logits", "cosine") or direction not in ("i2t", "both"):
            raise ValueError(
                f"hard_per_target {hard_per_target} >= 1, similarity {similarity!r} logits or cosine, direction {direction!r} i2t or both"
            )
        self.group_size, self.similarity, self.direction = 1 + hard_per_target, similarity, direction
        self.world = World(rank, world_size, local_loss, gather_with_grad)

    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: torch.Tensor,
        logit_bias: torch.Tensor | None = None,
        output_dict: bool = False,
        *,
        positives: torch.Tensor | None = None,
        mined: torch.Tensor | None = None,
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """The term of this rank.

        Args:
            image_features, text_features: (b, D), unit length.
            logit_scale: exponentiated. ``logit_bias`` cancels in the differences.
            positives: (b, G) int64 ids of known positives. ``None``: none known.
            mined: (b,) bool, which rows are mined partners; a target without one is no row of the loss. ``None``: all partners are.
        """
        world, count = self.world, len(image_features)
        if count % self.group_size:
            raise ValueError(f"{count} rows do not divide into groups of a target and {self.group_size - 1} partners")
        if mined is None:
            mined = torch.arange(count, device=image_features.device) % self.group_size != 0
        all_image, all_text = world.gather_pairs(image_features, text_features)
        all_mined = world.gather(mined)
        everyone = None if positives is None else world.gather(positives)
        image, text, rows_mined = (world.rows_of(rows) for rows in (all_image, all_text, all_mined))
        if world.local_loss:
            image, text = image_features, text_features
        first = world.first_row(count)
        scale = logit_scale if self.similarity == "logits" else 1.0
        similarities = [scale * image @ all_text.T]
        if self.direction == "both":
            similarities.append(scale * text @ all_image.T)
        partners = self._partners(rows_mined, len(all_image), first)
        ignored = self._ignored(partners, world.rows_of(everyone) if everyone is not None else None, everyone, first)
        loss = sum(self._one_way(similarity, partners, ignored) for similarity in similarities) / len(similarities)
        return {"margin_loss": loss} if output_dict else loss

    def _partners(self, mined: torch.Tensor, columns: int, first: int) -> torch.Tensor:
        """(targets, columns) bool: the mined partners of each target."""
        targets = torch.arange(0, len(mined), self.group_size, device=mined.device)
        partners = torch.zeros(len(targets), columns, dtype=torch.bool, device=mined.device)
        for place in range(1, self.group_size):
            partners[torch.arange(len(targets), device=mined.device), targets + place + first] = mined[targets + place]
        return partners

    def _ignored(self, partners: torch.Tensor, rows: torch.Tensor | None, columns: torch.Tensor | None, first: int) -> torch.Tensor:
        """(targets, columns) bool: own pair, own hard pairs and known positives, which add 0."""
        ignored = partners.clone()
        targets = torch.arange(len(partners), device=partners.device)
        ignored[targets, targets * self.group_size + first] = True
        if rows is not None and columns is not None:
            ignored |= known_positives(rows, columns, first)[:: self.group_size]
        return ignored

    def _one_way(self, similarity: torch.Tensor, partners: torch.Tensor, ignored: torch.Tensor) -> torch.Tensor:
        similarity = similarity[:: self.group_size]
        similarity = similarity.to(torch.promote_types(similarity.dtype, torch.float32))  # differences of large logits
        has_partner = partners.any(dim=1)
        bound = similarity.masked_fill(~partners, torch.inf).amin(dim=1, keepdim=True)
        excess = torch.relu(similarity - bound.masked_fill(~has_partner[:, None], 0)).masked_fill(ignored, 0)
        return self.world.mean_over_rows(excess.sum(dim=1) / similarity.shape[1], has_partner)
