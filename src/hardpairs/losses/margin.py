"""HELIP's margin loss: ordinary negatives should not be closer to a target than its hard pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from hardpairs.batches.info import HARD_PAIR, BatchInfo
from hardpairs.losses.base import PairLoss, Pairs
from hardpairs.losses.block_sums import blocks_of
from hardpairs.losses.gather import World
from hardpairs.losses.ring import ring_sum


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
        ring: As in ``World``.
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
        ring: bool = False,
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
        self.world = World(rank, world_size, local_loss, gather_with_grad, ring)

    def of_pairs(self, pairs: Pairs, info: BatchInfo) -> torch.Tensor:
        """Return the loss of this rank.

        Args:
            pairs: This rank's pairs; a bias cancels in the differences.
            info: What is known of the rows: group ids, and roles, without which all rows in a hard
                pair's position are hard pairs. A target without one is no row of the loss.

        Raises:
            ValueError: When the rows do not divide into targets with their hard pairs.
        """
        world, count, (image, text, scale, _) = self.world.here, len(pairs.image), pairs
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
        excess, columns_in_all = torch.stack(each).mean(dim=0), len(all_text)
        if self.world.ring:
            columns_in_all *= self.world.world_size
        return self.world.mean_over_rows(excess / columns_in_all, hard.any(dim=1))

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
            others: (B, D), all rows; in a ring those of this rank.
            hard: (t, p) bool, which positions behind a target hold hard pairs.
            own: Group ids of the targets.
            columns: Group ids of ``others``.
            first: Column of the first target.

        Returns:
            (t,).
        """
        bound = self._bound(rows, others[first : first + len(rows) * self.group_size], hard)
        if not self.world.ring:
            return self._sum(rows, bound, others, hard, own, columns, first)

        def term(rank: int, held: Sequence[Any], passing: Sequence[Any]) -> torch.Tensor:
            (rows, bound), (others, *arrays) = held, passing
            theirs = columns.with_arrays(arrays)
            column = first if rank == self.world.rank else None
            return self._sum(rows, bound, others, hard, own, theirs, column)

        return ring_sum(term, (rows, bound), [others, *columns.arrays()], self.world)

    def _bound(
        self, rows: torch.Tensor, group_rows: torch.Tensor, hard: torch.Tensor
    ) -> torch.Tensor:
        """Return each target's least similarity with its hard pairs, (t, 1); 0 without any."""
        hard_rows = group_rows.view(len(rows), self.group_size, -1)[:, 1:]
        similarity = torch.einsum("td,tpd->tp", rows, hard_rows)
        similarity = similarity.to(torch.promote_types(similarity.dtype, torch.float32))
        bound = similarity.masked_fill(~hard, torch.inf).amin(dim=1, keepdim=True)
        bound = bound.masked_fill(~hard.any(dim=1, keepdim=True), 0)
        return bound.detach() if self.detach_bound else bound

    def _sum(
        self,
        rows: torch.Tensor,
        bound: torch.Tensor,
        others: torch.Tensor,
        hard: torch.Tensor,
        own: BatchInfo,
        columns: BatchInfo,
        first: int | None,
    ) -> torch.Tensor:
        """Return the sums over some columns of what exceeds the bounds, (t,).

        Args:
            rows: As for ``_excess``.
            bound: (t, 1), the bounds.
            others: (c, D), the columns.
            hard: As for ``_excess``.
            own: As for ``_excess``.
            columns: Group ids of the columns.
            first: Column of the first target; ``None``: these are another rank's columns.
        """
        blocks, parts = blocks_of(len(rows), self.block_rows), []
        for block in blocks:
            column = None if first is None else first + block.start * self.group_size
            sides = (rows[block], bound[block], others)
            arguments = (*sides, hard[block], own[block], columns, column)
            parts.append(
                self._block(*arguments)
                if len(blocks) == 1
                else checkpoint(self._block, *arguments, use_reentrant=False)
            )
        return torch.cat(parts)

    def _block(
        self,
        rows: torch.Tensor,
        bound: torch.Tensor,
        others: torch.Tensor,
        hard: torch.Tensor,
        own: BatchInfo,
        columns: BatchInfo,
        first: int | None,
    ) -> torch.Tensor:
        similarity = rows @ others.T
        # Differences of large logits lose too much in half precision.
        similarity = similarity.to(torch.promote_types(similarity.dtype, torch.float32))
        counted = torch.ones_like(similarity, dtype=torch.bool)
        if first is not None:
            last = first + len(rows) * self.group_size
            target = torch.arange(first, last, self.group_size, device=rows.device)
            group = target[:, None] + torch.arange(self.group_size, device=rows.device)
            counted.scatter_(1, group, torch.cat([torch.zeros_like(hard[:, :1]), ~hard], dim=1))
        if own.group_ids is not None:
            counted &= ~own.same_group(columns, self.duplicate_threshold)
        return torch.relu(similarity - bound).masked_fill(~counted, 0).sum(dim=1)
