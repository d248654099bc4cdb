"""CLIP's loss with weighted or masked negatives, and the options of all pair losses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from hardpairs.batches.info import BatchInfo
from hardpairs.core.components import Options, option
from hardpairs.losses.base import LossContext, PairLoss, Pairs
from hardpairs.losses.block_sums import LogSums, blocks_of
from hardpairs.losses.gather import World
from hardpairs.losses.guide import GuidedMask, GuideRule
from hardpairs.losses.log_sums import log_sums, past_log_sums
from hardpairs.losses.memory import Memory, MemoryBatch
from hardpairs.losses.negatives import Negatives, PastNegatives, similarity_source
from hardpairs.losses.ring import normalize_in_ring
from hardpairs.losses.statistics import guided_share, logit_statistics, weight_statistics
from hardpairs.losses.targets import Blend, SoftTargets
from hardpairs.losses.weights import SimilarityWeights

NOT_IN_A_RING = (
    *("multi_positive", "guided_mask", "blend_targets"),
    *("memory_batches", "memory_every"),
)
"""Options of losses that need the columns of all ranks at once."""


@dataclass(frozen=True)
class PairOptions(Options):
    """Options of all losses for image-text pairs, and of the terms that can be added to them."""

    false_negative_mask: bool | None = option(
        None,
        "equal groups, images, captions are no negatives (default: on without --sanw-variant)",
    )
    false_negative_embeddings: str | None = option(
        None,
        "near duplicates in them are no negatives",
        metavar="FOLDER",
    )
    false_negative_threshold: float = option(
        0.98,
        "cosine of images or texts above which they are near duplicates",
        needs={"false_negative_embeddings": ()},
        above=0,
        maximum=1,
    )
    multi_positive: bool = option(False, "known positives share the target")
    guided_mask: str | None = option(
        None,
        "a better CLIP's embeddings, or initial: its better matches are no negatives",
        metavar="FOLDER",
    )
    guided_margin: float = option(
        0.0,
        "margin of such matches",
        needs={"guided_mask": ()},
        minimum=0,
        maximum=2,
    )
    guided_max_share: float = option(
        0.2,
        "largest such share of a row",
        needs={"guided_mask": ()},
        above=0,
        maximum=1,
    )
    hardness_weight: float = option(0.0, "negatives weigh exp(X * cosine)", minimum=0)
    blend_targets: str | None = option(
        None,
        "the start model's similarities are part of the targets: its stored embeddings, or initial",
        metavar="FOLDER",
    )
    blend_share: float = option(0.5, "that part", needs={"blend_targets": ()}, minimum=0, maximum=1)
    blend_scale: float = option(
        100.0,
        "the start model's logit scale",
        needs={"blend_targets": ()},
        above=0,
    )
    margin_weight: float = option(0.0, "margin's weight", minimum=0)
    margin_similarity: str = option(
        "logits",
        "what the margin compares",
        needs={"margin_weight": ()},
        choices=("logits", "cosine"),
    )
    margin_direction: str = option(
        "i2t",
        "one way, or the mean of both",
        needs={"margin_weight": ()},
        choices=("i2t", "both"),
    )
    margin_detach: bool = option(
        False,
        "no gradient that pulls hard pairs near",
        needs={"margin_weight": ()},
    )
    geometry_weight: float = option(0.0, "weight of the geometry loss", minimum=0)
    freeze_logit_scale_epochs: float = option(0.0, "epochs with a fixed scale", minimum=0)
    memory_batches: int = option(0, "past batches as more negatives", minimum=0)
    memory_match: bool = option(
        False,
        "past batches get the present one's moments",
        needs={"memory_batches": ()},
    )
    memory_every: int | None = option(
        None, "all rows as negatives, embedded each N epochs", minimum=1
    )
    loss_block_rows: int | None = option(
        None, "rows of logits held at once, to save memory", minimum=1
    )
    loss_ring: bool = option(False, "pass columns on: no process holds all features")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.false_negative_mask is None:
            object.__setattr__(self, "false_negative_mask", self.masks_by_default)
        if self.false_negative_embeddings and not self.false_negative_mask:
            raise ValueError("`false_negative_embeddings` needs `false_negative_mask`")
        if self.multi_positive and not self.false_negative_mask:
            raise ValueError(
                "`multi_positive` needs `false_negative_mask`, which looks for known positives"
            )
        for name in ("memory_batches", "memory_every"):
            if self.guided_mask and getattr(self, name):
                raise ValueError(
                    f"`guided_mask` does not work with `{name}`: it would see the batch alone"
                )
        for name in ("memory_batches", "false_negative_embeddings"):
            if self.memory_every and getattr(self, name):
                raise ValueError(f"`memory_every` does not work with `{name}`")
        for name in NOT_IN_A_RING:
            if self.loss_ring and getattr(self, name):
                raise ValueError(
                    f"`loss_ring` does not work with `{name}`, which looks at all columns at once"
                )

    @property
    def masks_by_default(self) -> bool:
        """Return whether known positives are masked where ``false_negative_mask`` is not given."""
        return True


class LastCall(NamedTuple):
    """A call of a loss, without gradients: what the step log describes.

    Attributes:
        image: (b, D), this rank's rows.
        all_text: (B, D), all ranks' rows; in a ring (b, D), this rank's.
        scale: (), exponentiated logit scale.
        negatives: Weights and masks.
    """

    image: torch.Tensor
    all_text: torch.Tensor
    scale: torch.Tensor
    negatives: Negatives


class ContrastiveLoss(PairLoss):
    """CLIP's symmetric cross entropy, with optional weights on negatives.

    Source: Radford et al., arXiv 2103.00020, Fig. 3. Called like OpenCLIP's ClipLoss, and equal to
    it to rounding when nothing is weighted or masked.

    Args:
        weights: Weights of negatives by similarity. ``None``: all weigh 1.
        world: How ranks are joined. With both its flags on, as is the default, one product of
            logits serves both directions. In a ring, statistics are of this rank's rows with its
            own columns.
        block_rows: Rows of logits held at once; the backward pass computes them again. ``None``:
            all are kept.
        duplicate_threshold: Rows whose duplicate features are more similar are known positives.
        exempt_hard_pairs: Whether a target and its hard pairs keep weight 1.
        multi_positive: Whether known positives share the target, instead of being masked.
        guide: Which negatives a guide takes out; needs ``guide_features`` of the batch.
        hardness: a. The logit of a negative grows by a times its cosine, without gradient (LLaVE,
            arXiv 2503.04812, Eq. 5).
        blend: The start model's part of the targets; needs ``start_features`` of the batch.
        memory_batches: Past global batches whose features are further negatives; needs the row
            numbers of each batch.
        matches_memory: Whether past batches have the mean and spread of the present one.
        holds_all: Whether features of all rows, which ``hold`` takes, are further negatives
            instead.

    Raises:
        ValueError: For one of the last six on several ranks without both flags of ``world``, and
            for one of them but ``hardness`` in a ring.
    """

    def __init__(
        self,
        *,
        weights: SimilarityWeights | None = None,
        world: World | None = None,
        block_rows: int | None = None,
        duplicate_threshold: float = 1.0,
        exempt_hard_pairs: bool = False,
        multi_positive: bool = False,
        guide: GuideRule | None = None,
        hardness: float = 0.0,
        blend: Blend | None = None,
        memory_batches: int = 0,
        matches_memory: bool = False,
        holds_all: bool = False,
    ) -> None:
        super().__init__()
        self.weights, self.world, self.block_rows = weights, world or World(), block_rows
        self.duplicate_threshold = duplicate_threshold
        self.exempt_hard_pairs = exempt_hard_pairs
        self.multi_positive, self.guide = multi_positive, guide
        self.hardness, self.blend = hardness, blend
        self.last: LastCall | None = None
        self.matches_memory, self.holds_all = matches_memory, holds_all
        keeps = memory_batches or holds_all
        self.memory = Memory(None if holds_all else memory_batches) if keeps else None
        needs_all = multi_positive or guide or hardness or blend or keeps
        if needs_all and not self.world.is_joined:
            raise ValueError(
                "`multi_positive`, `guide`, `hardness`, `blend`, `memory_batches` and `holds_all` "
                "need `local_loss` and `gather_with_grad` on several ranks"
            )
        if self.world.ring and (multi_positive or guide or blend or keeps):
            raise ValueError(
                "`multi_positive`, `guide`, `blend`, `memory_batches` and `holds_all` need the "
                "columns of all ranks at once: not in a `ring`"
            )

    @classmethod
    def from_config(cls, config: PairOptions, context: LossContext) -> ContrastiveLoss:
        """Build the softmax form or, where the run asks for it, the sigmoid form."""
        return pair_loss(config, context)

    def of_pairs(self, pairs: Pairs, info: BatchInfo) -> torch.Tensor:
        """Return the loss of this rank.

        Args:
            pairs: This rank's pairs; a bias cancels in a softmax.
            info: What is known of the rows. Pairs that share a group id, or are near duplicates,
                leave the denominator. ``similarity_features`` weight the negatives; without them
                the features do, without gradient. A memory needs row numbers.

        Raises:
            ValueError: For a global batch of one pair, which has no negative, or without row
                numbers for a memory.
        """
        if len(pairs.image) * self.world.world_size < 2:
            raise ValueError("a contrastive loss needs at least two pairs in the global batch")
        device = pairs.image.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            pairs = pairs._replace(image=pairs.image.to(dtype), text=pairs.text.to(dtype))
        with torch.autocast(device, enabled=False):
            with torch.no_grad():
                negatives = self.negatives(pairs.image, pairs.text, info)
                all_text = self.world.here.gather(pairs.text.detach())
            scale = pairs.scale.detach()
            self.last = LastCall(pairs.image.detach(), all_text, scale, negatives)
            loss = self.contrast(pairs, negatives, info)
        if pairs.bias is not None:
            loss = loss + 0 * pairs.bias.sum()  # DDP waits for a gradient of every parameter
        return loss

    def negatives(
        self, image: torch.Tensor, text: torch.Tensor, info: BatchInfo | None = None
    ) -> Negatives:
        """Return weights and masks of this rank's rows against the global batch.

        In a ring they are those against this rank's columns, which the others meet in turn.
        """
        world, info = self.world.here, BatchInfo() if info is None else info
        weights = None if self.weights is None else self.weights.at(info.epochs_done)
        columns, source = info.only(*self.fields(info)).each(world.gather), None
        if weights is not None:
            features = info.similarity_features or (image.detach(), text.detach())
            first, second = (torch.as_tensor(side) for side in features)
            source = world.gather(similarity_source(first, second, weights.alpha))
        negatives = Negatives(
            columns.each(world.rows_of),
            columns,
            None if source is None else (world.rows_of(source), source),
            world.first_row(len(image)),
            weights,
            self.duplicate_threshold,
            multi_positive=self.multi_positive,
            hardness=self.hardness,
        )
        if self.memory is not None:
            self.memory.to(image.dtype)
            own = None if source is None else negatives.row_source
            known = (own, weights, self.duplicate_threshold, self.hardness)
            batches = list(self.memory)
            if self.matches_memory:
                batches = self.memory.matched(*world.gather_pairs(image.detach(), text.detach()))
            negatives.past = [PastNegatives(negatives.rows, past, *known) for past in batches]
        count = len(image) if world.local_loss else len(image) * world.world_size
        blocks = blocks_of(count, self.block_rows, image.device)
        if weights is not None and weights.normalize:
            if self.world.ring:
                normalize_in_ring(negatives, self.world, blocks)
            else:
                negatives.normalize(world, blocks, keep=self.block_rows is None)
        if self.guide is not None:
            negatives.guided = GuidedMask(negatives, self.guide, world, blocks)
        return negatives

    def fields(self, info: BatchInfo) -> list[str]:
        """Return the fields of a batch's info that the loss needs of all ranks' rows.

        Raises:
            ValueError: For a memory without row numbers.
        """
        if self.memory is not None and info.rows is None:
            raise ValueError("a memory needs the row numbers of each batch, `info.rows`")
        names = [] if self.memory is None else ["rows"]
        names += [] if info.group_ids is None else ["group_ids", "duplicate_features"]
        names += ["targets"] if self.weights is not None and self.exempt_hard_pairs else []
        names += ["guide_features"] if self.guide is not None else []
        return names + (["start_features"] if self.blend is not None else [])

    def contrast(self, pairs: Pairs, negatives: Negatives, info: BatchInfo) -> torch.Tensor:
        """Return the softmax form.

        Args:
            pairs: This rank's pairs.
            negatives: Weights and masks.
            info: What is known of the rows.
        """
        sums, past = self.log_sums(pairs, negatives), negatives.past
        if past:
            sums = sums.with_past(*past_log_sums(*pairs[:3], past, block_rows=self.block_rows))
        if not self.multi_positive and self.blend is None:
            return sums.cross_entropy()
        blocks = blocks_of(len(pairs.image), self.block_rows, pairs.image.device)
        targets = SoftTargets(negatives, self.blend, self.world, blocks)
        mean_logit = targets.mean_logit(*pairs[:3], recompute=self.block_rows is not None)
        return (sums.image.mean() + sums.text.mean() - mean_logit) / 2

    def log_sums(self, pairs: Pairs, negatives: Negatives, *, with_own: bool = True) -> LogSums:
        """Return the log sums of the pairs, in one product or blocks of it where that is possible.

        Args:
            pairs: This rank's pairs.
            negatives: Weights and masks.
            with_own: Whether a pair's own logit is in its sums.
        """
        return log_sums(
            *pairs[:3],
            negatives,
            self.world,
            all_text=None if self.last is None else self.last.all_text,
            block_rows=self.block_rows,
            with_own=with_own,
        )

    def end_step(self) -> None:
        """Put the last call's global batch into the memory."""
        if self.memory is None or self.holds_all or self.last is None:
            return
        image, negatives = self.world.gather(self.last.image), self.last.negatives
        source = None if negatives.sources is None else negatives.sources[1]
        known = negatives.columns.only("rows", "group_ids", "duplicate_features", "targets")
        batch = MemoryBatch(image, self.last.all_text, known, source)
        self.memory.push(batch.each(torch.clone))

    def forget(self) -> None:
        """Empty the memory of past batches."""
        if self.memory is not None and not self.holds_all:
            self.memory.clear()

    def hold(self, batches: Iterable[MemoryBatch]) -> None:
        """Keep features of all rows until they are made anew."""
        if self.memory is not None and self.holds_all:
            self.memory.hold(batches)

    def state(self) -> dict[str, Any]:
        """Return the memory of past batches."""
        if self.memory is None or self.holds_all:
            return {}
        return {"memory": self.memory.state()}

    def load_state(self, state: dict[str, Any], device: torch.device | str) -> None:
        """Take over a memory."""
        if self.memory is not None and "memory" in state:
            self.memory.load_state(state["memory"], device)

    def statistics(self) -> tuple[dict[str, float], torch.Tensor | None]:
        """Return numbers of the logits, masks, memory and weights, and the weights' histogram."""
        if self.last is None:
            return {}, None
        negatives = self.last.negatives
        numbers = logit_statistics(*self.last)
        numbers |= {} if self.memory is None else self.memory.statistics()
        if negatives.guided is not None:
            numbers["guided_pct"] = guided_share(negatives.guided, len(self.last.image))
        if negatives.weights is None:
            return numbers, None
        weights, histogram = weight_statistics(negatives)
        return {**numbers, **weights, "sanw_beta": negatives.weights.beta}, histogram


def pair_loss(
    config: PairOptions,
    context: LossContext,
    form: type[ContrastiveLoss] | None = None,
    **more: Any,
) -> ContrastiveLoss:
    """Build a pair loss by its common options.

    Args:
        config: The loss's options.
        context: What the loss needs to know of the run.
        form: The class to build. ``None``: softmax or sigmoid, as the run asks.
        **more: Arguments of the class beside the common ones.
    """
    if form is None and context.sigmoid:
        from hardpairs.losses.siglip import SigmoidLoss

        form = SigmoidLoss
    return (form or ContrastiveLoss)(
        world=replace(context.world, ring=config.loss_ring),
        block_rows=config.loss_block_rows,
        duplicate_threshold=config.false_negative_threshold,
        **_negatives_and_targets(config),
        **more,
    )


def _negatives_and_targets(config: PairOptions) -> dict[str, Any]:
    """Return the arguments that change negatives and targets, those that are on."""
    values: dict[str, Any] = {}
    if config.multi_positive:
        values["multi_positive"] = True
    if config.guided_mask:
        values["guide"] = GuideRule(config.guided_margin, config.guided_max_share)
    if config.hardness_weight:
        values["hardness"] = config.hardness_weight
    if config.blend_targets:
        values["blend"] = Blend(config.blend_share, config.blend_scale)
    if config.memory_batches:
        values["memory_batches"] = config.memory_batches
        values["matches_memory"] = config.memory_match
    if config.memory_every:
        values["holds_all"] = True
    return values
