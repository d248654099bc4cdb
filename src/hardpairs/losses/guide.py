"""The guided mask: negatives that a guide model calls better matches than the own pair."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hardpairs.losses.gather import World
from hardpairs.losses.negatives import Negatives, diagonal

TOLERANCE = 1e-6
"""Similarities that differ by less are equal: a product's last bits depend on its blocks."""


@dataclass(frozen=True)
class GuideRule:
    """The rule by which the guided mask drops negatives.

    Attributes:
        margin: d. A negative is dropped when the guide's similarity exceeds that of the own pair
            minus d.
        max_share: Largest share of a row's negatives that is dropped, most similar first.
    """

    margin: float = 0.0
    max_share: float = 0.2


class GuidedMask:
    r"""Negatives to drop by a guide's image-text similarities t, for each direction.

    Image i does without text j where :math:`t_{ij} > t_{ii} - d`, and text j without image i where
    :math:`t_{ij} > t_{jj} - d`, but of its negatives at most a share, the largest t first.

    Source: GISTEmbed (Solatorio, arXiv 2402.16829), which compares all four kinds of similarity of
    its texts, and has no largest share.

    Args:
        pairs: Which pairs are negatives, and the guide's features of rows and columns: unit length,
            or zero where the guide has none.
        rule: Which negatives are dropped.
        world: How ranks are joined.
        blocks: Rows to work on at once.

    Raises:
        ValueError: Without the guide's features.
    """

    def __init__(
        self, pairs: Negatives, rule: GuideRule, world: World, blocks: list[slice]
    ) -> None:
        rows, columns = pairs.rows.guide_features, pairs.columns.guide_features
        if rows is None or columns is None:
            raise ValueError("the guided mask needs `guide_features` of the batch")
        self.rows, self.columns, self.pairs = rows, columns, pairs
        ways: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for block in blocks:
            negatives = self.negatives(block)
            for side, parts in enumerate(ways):
                similarity = self._similarity(block, side)
                parts.append(limits(similarity, negatives, pairs.first + block.start, rule))
        self.of_images, of_texts = map(torch.cat, ways)
        self.of_texts = world.gather(of_texts) if world.local_loss else of_texts

    def dropped_both_ways(self, block: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the images of a block do without and, at the same (i, j), the texts.

        Returns:
            Two (block, B) bool tensors.
        """
        similarity, negatives = self._similarity(block, 0), self.negatives(block)
        by_row = similarity > self.of_images[block, None]
        return by_row & negatives, (similarity > self.of_texts) & negatives

    def negatives(self, block: slice) -> torch.Tensor:
        """Return (block, B) bool: the negatives that the mask is about."""
        return self.pairs.counted(block, len(self.columns[0]))

    def _similarity(self, block: slice, side: int) -> torch.Tensor:
        """Return t of a block's images (side 0) or texts (1), (block, B); -inf of rows without."""
        mine, theirs = self.rows[side][block], self.columns[1 - side]
        absent = ~mine.any(1)[:, None] | ~theirs.any(1)
        similarity: torch.Tensor = mine @ theirs.T
        return similarity.masked_fill_(absent, -torch.inf)


def limits(
    similarity: torch.Tensor, negatives: torch.Tensor, first: int, rule: GuideRule
) -> torch.Tensor:
    """Return the similarity above which the rule drops a row's negatives.

    Args:
        similarity: (b, B), the guide's.
        negatives: (b, B) bool, which pairs are negatives.
        first: Column of row 0's own pair.
        rule: Which negatives are dropped.

    Returns:
        (b,).
    """
    limit = diagonal(similarity, first) - rule.margin + TOLERANCE
    most = (rule.max_share * negatives.sum(1) + 1e-4).long()
    over = (negatives & (similarity > limit[:, None])).sum(1) > most
    if over.any():
        most = most[over, None]
        candidates = similarity[over].masked_fill(~negatives[over], -torch.inf)
        largest = candidates.topk(int(most.max()) + 1).values
        limit[over] = largest.gather(1, most)[:, 0] + TOLERANCE
    return limit
