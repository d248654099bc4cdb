"""HELIP's hard negative margin loss: an ordinary negative should not be closer to a target than its mined hard pairs are."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hardpairs.losses.gather import World
from hardpairs.losses.known import Known
from hardpairs.losses.strip import blocks_of


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
        detach_bound: the bound is a number: only ordinary negatives are pushed away, hard pairs are not pulled near.
        block_rows: targets whose similarities are held at once; the backward computes them again. ``None``: all.
    """

    def __init__(
        self,
        hard_per_target: int = 1,
        similarity: str = "logits",
        direction: str = "i2t",
        *,
        detach_bound: bool = False,
        block_rows: int | None = None,
        local_loss: bool = True,
        gather_with_grad: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        if (
            hard_per_target < 1
            or similarity not in ("logits", "cosine")
            or direction not in ("i2t", "both")
        ):
            raise ValueError(
                f"hard_per_target {hard_per_target} >= 1, similarity {similarity!r} logits or cosine, direction {direction!r} i2t or both"
            )
        self.group_size, self.similarity, self.direction = (
            1 + hard_per_target,
            similarity,
            direction,
        )
        self.detach_bound, self.block_rows = detach_bound, block_rows
        self.world = World(rank, world_size, local_loss, gather_with_grad)

    def forward(
        self,
        image_features: torch.Tensor,
        text_features: torch.Tensor,
        logit_scale: torch.Tensor,
        logit_bias: torch.Tensor | None = None,
        output_dict: bool = False,
        *,
        positives: torch.Tensor | Known | None = None,
        mined: torch.Tensor | None = None,
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """The term of this rank.

        Args:
            image_features, text_features: (b, D), unit length.
            logit_scale: exponentiated. ``logit_bias`` cancels in the differences.
            positives: (b, G) int64 ids of known positives, or ``Known``. ``None``: none known.
            mined: (b,) bool, which rows are mined partners; a target without one is no row of the loss. ``None``: all partners are.
        """
        world, count = self.world, len(image_features)
        if count % self.group_size:
            raise ValueError(
                f"{count} rows do not divide into groups of a target and {self.group_size - 1} partners"
            )
        if mined is None:
            mined = torch.arange(count, device=image_features.device) % self.group_size != 0
        all_image, all_text = world.gather_pairs(image_features, text_features)
        known = Known.of(positives)
        everyone = None if known is None else known.gathered(world)
        if world.local_loss:
            image, text = image_features, text_features
        else:
            image, text, mined, known = all_image, all_text, world.gather(mined), everyone
        scale = logit_scale if self.similarity == "logits" else 1.0
        mined = mined.view(-1, self.group_size)[:, 1:]
        ways = [(image[:: self.group_size] * scale, all_text)]
        if self.direction == "both":
            ways.append((text[:: self.group_size] * scale, all_image))
        both = (
            None
            if known is None or everyone is None
            else (known.take(slice(None, None, self.group_size)), everyone)
        )
        excess = sum(
            self._excess(rows, columns, mined, both, world.first_row(count))
            for rows, columns in ways
        ) / len(ways)
        loss = world.mean_over_rows(excess / len(all_text), mined.any(dim=1))
        return {"margin_loss": loss} if output_dict else loss

    def _excess(
        self, rows, columns, mined, known: tuple[Known, Known] | None, first: int
    ) -> torch.Tensor:
        """(targets,) sums over the batch of what exceeds a target's bound; ``rows`` are targets, ``mined`` (targets, p) bool."""
        blocks, parts = blocks_of(len(rows), self.block_rows), []
        for block in blocks:
            own = None if known is None else (known[0].take(block), known[1])
            arguments = (
                rows[block],
                columns,
                mined[block],
                own,
                first + block.start * self.group_size,
            )
            parts.append(
                self._block(*arguments)
                if len(blocks) == 1
                else checkpoint(self._block, *arguments, use_reentrant=False)
            )
        return torch.cat(parts)

    def _block(
        self, rows, columns, mined, known: tuple[Known, Known] | None, first: int
    ) -> torch.Tensor:
        similarity = rows @ columns.T
        similarity = similarity.to(
            torch.promote_types(similarity.dtype, torch.float32)
        )  # differences of large logits
        own = first + torch.arange(
            0, len(rows) * self.group_size, self.group_size, device=rows.device
        )
        group = own[:, None] + torch.arange(
            self.group_size, device=rows.device
        )  # columns of a target and its partners
        bound = (
            similarity.gather(1, group[:, 1:])
            .masked_fill(~mined, torch.inf)
            .amin(dim=1, keepdim=True)
        )
        bound = bound.masked_fill(~mined.any(dim=1, keepdim=True), 0)
        if self.detach_bound:
            bound = bound.detach()
        counted = torch.ones_like(similarity, dtype=torch.bool)
        counted.scatter_(1, group, torch.cat([torch.zeros_like(mined[:, :1]), ~mined], dim=1))
        if known is not None:
            counted &= ~known[0].alike(known[1])
        return torch.relu(similarity - bound).masked_fill(~counted, 0).sum(dim=1)
