"""``hard-pairs``: targets, each followed by some of its hard pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hardpairs.batches.base import BatchContext, BatchSampler, targets_of_step
from hardpairs.batches.draws import (
    CycleDraw,
    Draw,
    UniformDraw,
    WeightedDraw,
    choose_hard_pairs,
    list_weights,
)
from hardpairs.batches.info import HARD_PAIR, RANDOM, TARGET
from hardpairs.batches.rows import RowSet
from hardpairs.batches.sources import RankSource
from hardpairs.core.components import option, register
from hardpairs.core.errors import usage
from hardpairs.data.hard_pairs import HardPairTable

ROWS_AT_ONCE = 1 << 20
"""Rows of the table that are looked at together."""


@register("hard-pairs")
class HardPairBatchSampler(BatchSampler):
    """Targets, each followed by hard pairs drawn from its list.

    Source: HELIP, arXiv 2305.05208, section 3.3; ``hard_skip``: B3, arXiv 2505.11293.

    Args:
        num_samples: N, rows of the data set.
        table: Hard pairs of the N rows.
        batch_size: Rows per rank and micro-batch; ``batch_size / (1 + hard_per_target)`` of them
            are targets.
        hard_per_target: Hard pairs of each target in a batch.
        hard_topk: Ranks of a target's list that its hard pairs are drawn from.
        hard_skip: First ranks of each list that are left out as likely false negatives.
        hard_score_margin: Ranks are drawn only while their score is at most this much below that of
            the row's first rank after the skipped ones; ``None``: all ranks.
        hard_choice: ``uniform``; ``rank`` or ``score`` (the chance is proportional to 1 / rank or
            to the score); ``cycle`` (each list in an order of its own, without repetition over
            epochs).
        hard_schedule: Epochs over which the ranks move from the end of each list to its start; 0:
            the start from the first epoch on.
        empty_rows: What becomes of a target without hard pairs: ``random`` gives it a random row,
            ``skip`` leaves it out (the paper's noise rule).
        exclude: Rows that are in no batch.
        **sizes: ``seed``, ``rank``, ``world_size``, ``accumulate``, as in ``BatchSampler``.

    Raises:
        UserError: exit 2 when the sizes do not fit together.
        ValueError: For an option out of its range.
    """

    @dataclass(frozen=True)
    class Config(RankSource):
        """Options of hard-pair batches."""

        hard_per_target: int = option(1, "hard pairs per target in a batch", minimum=1)
        hard_score_margin: float | None = option(
            None,
            "score below the first that ends a list",
            above=0,
        )
        hard_choice: str = option(
            "uniform",
            "draw evenly, by 1 / rank, by score, or in turn over epochs",
            choices=("uniform", "rank", "score", "cycle"),
        )
        hard_schedule: int = option(
            0,
            "epochs over which the ranks move from the end of each list to its start",
            minimum=0,
        )
        empty_rows: str = option(
            "random",
            "targets without hard pairs: a random row, or left out",
            choices=("random", "skip"),
        )

    table: HardPairTable

    def __init__(
        self,
        num_samples: int,
        table: HardPairTable,
        *,
        batch_size: int,
        hard_per_target: int = 1,
        hard_topk: int = 50,
        hard_skip: int = 0,
        hard_score_margin: float | None = None,
        hard_choice: str = "uniform",
        hard_schedule: int = 0,
        empty_rows: str = "random",
        exclude: np.ndarray | None = None,
        **sizes: Any,
    ) -> None:
        if len(table.lengths) != num_samples:
            raise ValueError(f"the table has {len(table.lengths)} rows, the data {num_samples}")
        self.table = table
        self.options = self.Config(
            hard_per_target=hard_per_target,
            hard_topk=hard_topk,
            hard_skip=hard_skip,
            hard_score_margin=hard_score_margin,
            hard_choice=hard_choice,
            hard_schedule=hard_schedule,
            empty_rows=empty_rows,
        )
        _check_depth(self.options, table.indices.shape[1])
        self.targets = RowSet(num_samples, exclude)
        if empty_rows == "skip":
            empty = np.flatnonzero(table.lengths <= hard_skip)
            self.targets = RowSet(num_samples, np.union1d(self.targets.excluded, empty))
        super().__init__(num_samples, batch_size=batch_size, exclude=exclude, **sizes)

    @classmethod
    def from_config(cls, config: Config, context: BatchContext) -> HardPairBatchSampler:
        """Open the hard pairs and build the batch maker."""
        table = config.open(context)
        by_score = config.hard_choice == "score"
        if (by_score or config.hard_score_margin is not None) and not table.has_scores:
            raise usage(
                f"{'`hard_choice` score' if by_score else '`hard_score_margin`'} needs scores, "
                "which HELIP's files do not have",
                where=str(config.hard_pairs),
                fix="`hard_choice` rank" if by_score else "`hard_topk`",
            )
        options = {**vars(config)}
        del options["hard_pairs"], options["url_index"]
        sizes = context.sizes(exclude=table.rejected)
        if not count_with_hard_pairs(table, RowSet(len(table.lengths), sizes["exclude"]), config):
            raise usage(
                f"no usable row has a hard pair after its first {config.hard_skip}",
                where=str(config.hard_pairs),
                fix="a smaller `hard_skip`, or longer lists",
            )
        return cls(len(context.samples), table, **options, **sizes)

    @property
    def group_size(self) -> int:
        """Return the number of rows of a target with its hard pairs."""
        return 1 + self.options.hard_per_target

    @property
    def group_text(self) -> str:
        """Return what a group is, for messages."""
        return f"a target and {self.options.hard_per_target} hard pairs"

    @property
    def num_targets(self) -> int:
        """Return the number of usable rows; with ``empty_rows="skip"`` of those with hard pairs."""
        return len(self.targets)

    @property
    def with_hard_pairs(self) -> int:
        """Return the number of usable rows that have hard pairs."""
        return count_with_hard_pairs(self.table, self.rows, self.options)

    @property
    def targets_per_batch(self) -> int:
        """Return the number of targets of a global batch: one of each group."""
        return self.global_batch_size // self.group_size

    def window(self, targets: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the ranks that the hard pairs of each target are drawn from.

        Args:
            targets: (T,) row numbers.
            epoch: From 0.

        Returns:
            First rank (from 0) and number of ranks, (T,) int64 each.
        """
        skip, schedule = self.options.hard_skip, self.options.hard_schedule
        left = np.maximum(np.asarray(self.table.lengths[targets], np.int64) - skip, 0)
        if self.options.hard_score_margin is not None:
            left = np.minimum(left, self._near_first(targets, self.options.hard_score_margin))
        still = max(1 - epoch / schedule, 0.0) if schedule else 0.0
        topk = self.options.hard_topk
        first = np.rint(np.maximum(left - topk, 0) * still).astype(np.int64)
        return skip + first, np.minimum(left, topk)

    def _near_first(self, targets: np.ndarray, margin: float) -> np.ndarray:
        """Return the number of ranks, of (T,) targets, within a margin of the first not skipped."""
        scores = np.asarray(self.table.scores[targets, self.options.hard_skip :], np.float64)
        near: np.ndarray = np.count_nonzero(scores >= scores[:, :1] - margin, axis=1)
        return near

    def global_batch(
        self, step: int, epoch: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the next targets of the epoch's shuffle, each followed by its hard pairs."""
        targets = targets_of_step(self.targets, step, self.targets_per_batch, self.seed, epoch)
        first, count = self.window(targets, epoch)
        hard_pairs = choose_hard_pairs(
            targets,
            self._draw(targets, first, count, epoch, rng),
            lambda some, ranks: self._listed(targets[some], first[some] + ranks),
            self.rows.has,
            self.options.hard_per_target,
        )
        gaps = hard_pairs < 0
        used = np.concatenate([targets, hard_pairs[~gaps]])
        hard_pairs[gaps] = self.rows.draw_outside(used, int(gaps.sum()), rng)
        rows = np.concatenate([targets[:, None], hard_pairs], axis=1)
        roles = np.concatenate(
            [np.full((len(targets), 1), TARGET), np.where(gaps, RANDOM, HARD_PAIR)], axis=1
        )
        return rows.ravel(), roles.ravel().astype(np.uint8)

    def _listed(self, targets: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        """Return the rows at some ranks of targets' lists.

        NumPy takes less time for one index into all entries than for two.
        """
        indices = self.table.indices
        return np.asarray(indices.reshape(-1)[targets * indices.shape[1] + ranks])

    def _draw(
        self,
        targets: np.ndarray,
        first: np.ndarray,
        count: np.ndarray,
        epoch: int,
        rng: np.random.Generator,
    ) -> Draw:
        options, width = self.options, self.table.indices.shape[1]
        depth = min(options.hard_topk, width)
        if options.hard_choice == "cycle":
            return CycleDraw(targets, count, depth, epoch * options.hard_per_target, self.seed)
        if options.hard_choice == "uniform":
            return UniformDraw(count, rng)
        offsets = np.arange(depth)
        ranks = first[:, None] + offsets

        def scores() -> np.ndarray:
            found = self.table.scores[targets[:, None], np.minimum(ranks, width - 1)]
            return np.asarray(found, np.float64)

        exists = offsets < count[:, None]
        return WeightedDraw(list_weights(options.hard_choice, exists, ranks, scores), rng)


def count_with_hard_pairs(
    table: HardPairTable, rows: RowSet, options: HardPairBatchSampler.Config
) -> int:
    """Return the number of some rows whose lists go beyond the ranks that are left out.

    Args:
        table: Hard pairs.
        rows: The rows.
        options: Their ``hard_skip`` counts.
    """
    first = options.hard_skip
    blocks = range(0, len(table.lengths), ROWS_AT_ONCE)  # a mask of all rows would be large
    longer = (
        start + np.flatnonzero(table.lengths[start : start + ROWS_AT_ONCE] > first)
        for start in blocks
    )
    return sum(int(rows.has(block).sum()) for block in longer)


def _check_depth(options: HardPairBatchSampler.Config, width: int) -> None:
    """Raise UserError (exit 2) when lists of ``width`` ranks are too short for the options."""
    first = options.hard_skip + options.hard_topk
    if options.hard_skip and options.hard_skip >= width:
        raise usage(
            f"`hard_skip` {options.hard_skip} leaves nothing of lists of {width}",
            fix="a smaller one, or mine longer lists",
        )
    if options.hard_schedule and options.hard_choice == "cycle":
        raise usage(
            "`hard_choice` cycle needs the same ranks in all epochs, and `hard_schedule` changes "
            "them",
            fix="give one of the two",
        )
    if options.hard_schedule and first >= width:
        raise usage(
            f"`hard_schedule` starts with the ranks below the first {first}, and the lists have "
            f"{width}",
            fix=f"`hard_topk` below {width - options.hard_skip}, or mine longer lists",
        )
