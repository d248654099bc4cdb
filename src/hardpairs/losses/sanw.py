"""Similarity-aware negative weighting (SANW): weights of negatives follow from similarity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hardpairs.core.components import option
from hardpairs.losses.base import LossContext
from hardpairs.losses.gather import World
from hardpairs.losses.pairs import ContrastiveLoss, PairOptions, pair_loss
from hardpairs.losses.weights import SimilarityWeights


@dataclass(frozen=True)
class SANWOptions(PairOptions):
    """Options of both ways to weight negatives by similarity."""

    sanw_alpha: float = option(0.5, "share of text similarity", minimum=0, maximum=1)
    sanw_beta: float = option(
        1.0,
        "strength; 0 is CLIP",
        needs={"sanw_variant": (None, "seed-v3")},
        minimum=0,
        maximum=1,
    )
    sanw_warmup_epochs: float = option(
        0.0,
        "epochs in which it grows from 0",
        needs={"sanw_variant": (None, "seed-v3")},
        minimum=0,
    )
    sanw_normalize: bool | None = option(
        None,
        "scale each row of weights to mean 1 (default: on, except for sanw_debias exp)",
        needs={"sanw_variant": (None,)},
    )
    sanw_max_weight: float = option(
        10.0, "largest weight", needs={"sanw_variant": (None,)}, above=0
    )
    sanw_exempt_hard_pairs: bool = option(
        False,
        "a target and its hard pairs keep weight 1",
        flag="--sanw-exempt-partners",
        needs={"sanw_variant": (None,)},
    )
    sanw_source: str = option(
        "live",
        "whose similarities: the model's, the start model's, or stored",
        choices=("live", "initial", "embeddings"),
    )
    sanw_embeddings: str | None = option(None, "for --sanw-source embeddings", metavar="FOLDER")
    sanw_variant: str | None = option(
        None,
        "a formula that CLIPSE published, for its numbers: one process, no false-negative mask",
        choices=("seed-v1", "seed-v2", "seed-v3"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.sanw_source == "embeddings") != bool(self.sanw_embeddings):
            raise ValueError("`sanw_source` embeddings and `sanw_embeddings` go together")
        if self.sanw_variant and self.loss_block_rows is not None:
            raise ValueError("`sanw_variant` does not work with `loss_block_rows`")
        others = ("multi_positive", "guided_mask", "hardness_weight", "blend_targets", "loss_ring")
        if self.memory_every:
            raise ValueError("`memory_every` has no weights by similarity; take `memory_batches`")
        for name in (*others, "memory_batches"):
            if self.sanw_variant and getattr(self, name):
                raise ValueError(f"`sanw_variant` does not work with `{name}`")

    @property
    def masks_by_default(self) -> bool:
        """Return whether the loss is ours: CLIPSE's code knows no positives but the own pair."""
        return self.sanw_variant is None


class SANWLoss(ContrastiveLoss):
    r"""CLIP's loss with weighted negatives.

    Row i is the cross entropy of :math:`l_{ij} + \log w_{ij}` with :math:`w_{ii} = 1`.
    :math:`A_{ij}` = alpha * text similarity + (1 - alpha) * image similarity, without gradient;
    ``hardpairs.losses.weights`` has w(A). Known positives get weight 0.

    Source: CLIPSE (github.com/skcpda/CLIPSE), which published three formulas under this name
    (``hardpairs.losses.sanw_variants`` has them). We deviate from it: the positive stays in the
    denominator, so the loss is at least 0 and w = 1 is CLIP exactly; and both directions use the
    same W (A is symmetric), where CLIPSE transposes a row-normalized one.

    Args:
        weighting: ``exp``, ``sigmoid`` or ``bandpass``.
        local_loss: As in ``World``.
        gather_with_grad: As in ``World``.
        rank: As in ``World``.
        world_size: As in ``World``.
        ring: As in ``World``.
        block_rows: As in ``ContrastiveLoss``.
        **values: The other attributes of ``SimilarityWeights``.

    Raises:
        ValueError: For values outside their ranges.
    """

    def __init__(
        self,
        weighting: str = "exp",
        *,
        local_loss: bool = True,
        gather_with_grad: bool = True,
        rank: int = 0,
        world_size: int = 1,
        ring: bool = False,
        block_rows: int | None = None,
        **values: Any,
    ) -> None:
        super().__init__(
            weights=SimilarityWeights(weighting, **values),
            world=World(rank, world_size, local_loss, gather_with_grad, ring),
            block_rows=block_rows,
        )


def weighted_loss(
    config: SANWOptions, context: LossContext, weighting: str, **values: float
) -> ContrastiveLoss:
    """Build the loss with the weights that the options name, or one of the published formulas.

    Args:
        config: The loss's options.
        context: What the loss needs to know of the run.
        weighting: ``exp``, ``sigmoid`` or ``bandpass``.
        **values: The weighting's own attributes of ``SimilarityWeights``.
    """
    weights = SimilarityWeights(
        weighting,
        alpha=config.sanw_alpha,
        beta=config.sanw_beta,
        warmup_epochs=config.sanw_warmup_epochs,
        normalize=config.sanw_normalize,
        max_weight=config.sanw_max_weight,
        **values,
    )
    common: dict[str, Any] = {"exempt_hard_pairs": config.sanw_exempt_hard_pairs}
    if config.sanw_variant is None:
        return pair_loss(config, context, weights=weights, **common)
    from hardpairs.losses.sanw_variants import SANWVariantLoss

    weights = replace(weights, normalize=False, max_weight=None)
    if config.sanw_variant == "seed-v2":
        weighting = weighting if weighting == "bandpass" else "sigmoid"
        weights = replace(weights, weighting=weighting, floor=1e-30)
    return pair_loss(
        config, context, SANWVariantLoss, variant=config.sanw_variant, weights=weights, **common
    )
