"""Similarity-aware negative weighting (CLIPSE): negatives that look or read alike weigh less (debias), or a band of them more."""

from __future__ import annotations

from hardpairs.losses.clip import ContrastiveLoss
from hardpairs.losses.gather import World
from hardpairs.losses.weights import SimilarityWeights


class SANWLoss(ContrastiveLoss):
    r"""CLIP's loss with weighted negatives: row i is the cross entropy of :math:`l_{ij} + \log w_{ij}`, :math:`w_{ii} = 1`.

    :math:`A_{ij}` = alpha * text similarity + (1 - alpha) * image similarity, without gradient; ``hardpairs.losses.weights`` has w(A).
    Known positives get 0. Source: CLIPSE (github.com/skcpda/CLIPSE), which published three formulas under this name
    (``hardpairs.losses.clipse`` has them). We deviate: the positive stays in the denominator, so the loss is bounded below by 0 and
    w = 1 is CLIP exactly; and both directions use the same W (A is symmetric), where CLIPSE takes the transpose of a row-normalised one.

    Args:
        weighting, alpha, delta, lam, m1, m2, gamma, floor, beta, normalize, max_weight: as in ``SimilarityWeights``.
        block_rows: as in ``ContrastiveLoss``.

    Raises:
        ValueError: for values that make no sense.
    """

    def __init__(
        self,
        weighting: str = "exp",
        *,
        local_loss: bool = True,
        gather_with_grad: bool = True,
        rank: int = 0,
        world_size: int = 1,
        block_rows: int | None = None,
        **values: float | bool | None,
    ) -> None:
        weights = SimilarityWeights(weighting, **values)
        super().__init__(
            weights=weights,
            world=World(rank, world_size, local_loss, gather_with_grad),
            block_rows=block_rows,
        )
