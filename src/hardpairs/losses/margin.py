"""HELIP's margin loss: ordinary negatives should not be closer to a target than its hard pairs."""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from hardpairs.batches.info import HARD_PAIR, BatchInfo
from hardpairs.losses.base import PairLoss, Pairs
from hardpairs.losses.gather import World
from hardpairs.losses.log_sums import blocks_of


class HardNegativeMarginLoss(PairLoss):
    r"""HELIP's margin term (arXiv 2305.05208, Eq. 6).

    The mean over targets i of
    :math:`\frac{1}{|B|} \sum_{j \in B} \max(0, s_{ij} - \min_{h \in H_i} s_{ih})`. i itself, its
    hard pairs and its known positives count in :math:`|B|` and add 0. There is no constant margin:
    the bound is the least similar sampled hard pair. HELIP's published code does not contain the
    loss. Eq. 7 adds it, with a weight, to CLIP's loss.

    Rows come as a target, its hard pairs, the next target...

    Args:
        hard_per_target: p, hard pairs of a target.
        similarity: ``logits`` (scaled, as in the paper) or ``cosine``.
        direction: ``i2t`` as in the paper, or ``both`` (the mean of both directions).
        detach_bound: Whether the bound gets no gradient: ordinary negatives are pushed away, hard
            pairs are not pulled near.
        duplicate_threshold: Rows whose duplicate features are more similar are known positives.
        block_rows: Targets whose similarities are held at once; the backward pass computes them
            again. ``None``: all.
        local_loss: As in ``World``.
        gather_with_grad: As in ``World``.
        rank: As in ``World``.
        world_size: As in ``World``.
    """

    part = "margin_loss"

    def __init__(
        self,
        hard_per_target: int = 1,
        similarity: str = "logits",
        direction: str = "i2t",
        *,
        detach_bound: bool = False,
        duplicate_threshold: float = 1.0,
        block_rows: int | None = None,
        local_loss: bool = True,
        gather_with_grad: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        if hard_per_target < 1:
            raise ValueError(f"hard_per_target must be at least 1, not {hard_per_target}")
        if similarity not in ("logits", "cosine"):
            raise ValueError(f"similarity must be logits or cosine, not {similarity!r}")
        if direction not in ("i2t", "both"):
            raise ValueError(f"direction must be i2t or both, not {direction!r}")
        self.group_size, self.similarity, self.direction = (
            1 + hard_per_target,
            similarity,
            direction,
        )
        self.detach_bound, self.block_rows = detach_bound, block_rows
        self.duplicate_threshold = duplicate_threshold
        self.world = World(rank, world_size, local_loss, gather_with_grad)

    def of_pairs(self, pairs: Pairs, info: BatchInfo) -> torch.Tensor:
        """Return the loss of this rank.

        Args:
            pairs: This rank's pairs; a bias cancels in the differences.
            info: What is known of the rows: group ids, and roles, without which all rows in a hard
                pair's position are hard pairs. A target without one is no row of the loss.

        Raises:
            ValueError: When the rows do not divide into targets with their hard pairs.
        """
        world, count, (image, text, scale, _) = self.world, len(pairs.image), pairs
        if count % self.group_size:
            raise ValueError(
                f"{count} rows do not divide into groups of a target "
                f"and {self.group_size - 1} hard pairs"
            )
        if isinstance(info.roles, torch.Tensor):
            hard = info.roles == HARD_PAIR
        else:
            hard = torch.arange(count, device=image.device) % self.group_size != 0
        own = info.only("group_ids", "duplicate_features")
        all_image, all_text = world.gather_pairs(image, text)
        columns = own.each(world.gather)
        if not world.local_loss:
            image, text, hard, own = all_image, all_text, world.gather(hard), columns
        factor = scale if self.similarity == "logits" else 1.0
        hard, own = hard.view(-1, self.group_size)[:, 1:], own[:: self.group_size]
        ways = [(image[:: self.group_size] * factor, all_text)]
        if self.direction == "both":
            ways.append((text[:: self.group_size] * factor, all_image))
        first = world.first_row(count)
        each = [self._excess(*way, hard, own, columns, first) for way in ways]
        excess = torch.stack(each).mean(dim=0)
        return world.mean_over_rows(excess / len(all_text), hard.any(dim=1))

    def _excess(
        self,
        rows: torch.Tensor,
        others: torch.Tensor,
        hard: torch.Tensor,
        own: BatchInfo,
        columns: BatchInfo,
        first: int,
    ) -> torch.Tensor:
        """Return the sums over the batch of what exceeds a target's bound.

        Args:
            rows: (t, D), the targets.
            others: (B, D), all rows.
            hard: (t, p) bool, which positions behind a target hold hard pairs.
            own: Group ids of the targets.
            columns: Group ids of all rows.
            first: Column of the first target.

        Returns:
            (t,).
        """
        blocks, parts = blocks_of(len(rows), self.block_rows), []
        for block in blocks:
            column = first + block.start * self.group_size
            arguments = (rows[block], others, hard[block], own[block], columns, column)
            parts.append(
                self._block(*arguments)
                if len(blocks) == 1
                else checkpoint(self._block, *arguments, use_reentrant=False)
            )
        return torch.cat(parts)

    def _block(
        self,
        rows: torch.Tensor,
        others: torch.Tensor,
        hard: torch.Tensor,
        own: BatchInfo,
        columns: BatchInfo,
        first: int,
    ) -> torch.Tensor:
        similarity = rows @ others.T
        # Differences of large logits lose too much in half precision.
        similarity = similarity.to(torch.promote_types(similarity.dtype, torch.float32))
        last = first + len(rows) * self.group_size
        target = torch.arange(first, last, self.group_size, device=rows.device)
        group = target[:, None] + torch.arange(self.group_size, device=rows.device)
        bound = similarity.gather(1, group[:, 1:]).masked_fill(~hard, torch.inf)
        bound = bound.amin(dim=1, keepdim=True).masked_fill(~hard.any(dim=1, keepdim=True), 0)
        if self.detach_bound:
            bound = bound.detach()
        counted = torch.ones_like(similarity, dtype=torch.bool)
        counted.scatter_(1, group, torch.cat([torch.zeros_like(hard[:, :1]), ~hard], dim=1))
        if own.group_ids is not None:
            counted &= ~own.same_group(columns, self.duplicate_threshold)
        return torch.relu(similarity - bound).masked_fill(~counted, 0).sum(dim=1)
