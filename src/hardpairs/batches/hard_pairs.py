"""``hard-pairs``: targets, each followed by partners drawn from its hard pairs (HELIP)."""

from __future__ import annotations

import numpy as np

from hardpairs.batches.info import HARD_PAIR, RANDOM, TARGET
from hardpairs.batches.partners import (
    WEIGHTS,
    CycleDraw,
    Draw,
    UniformDraw,
    WeightedDraw,
    choose_partners,
    list_weights,
)
from hardpairs.batches.rows import RowSet
from hardpairs.batches.sampler import BatchSampler, targets_of_step
from hardpairs.core.errors import usage
from hardpairs.data.hard_pairs import HardPairTable

CHOICES = (*WEIGHTS, "cycle")


class HardPairBatchSampler(BatchSampler):
    """Targets, each followed by partners drawn from its hard pairs (HELIP, arXiv 2305.05208, section 3.3).

    Args:
        table: hard pairs of the N rows.
        hard_per_target: p, partners of a target; a batch holds ``batch_size / (1 + p)`` targets.
        hard_topk: K, how many ranks of a target's list partners are drawn from.
        hard_skip: first ranks of each list that are left out as likely false negatives (B3, arXiv 2505.11293).
        hard_choice: ``uniform`` (HELIP), ``rank`` or ``score`` (the chance is proportional to 1 / rank or to the score), or ``cycle``
            (each list in an order of its own, without repetition over epochs).
        hard_schedule: epochs over which the K ranks move from the end of each list to its start; 0 is the start from the first epoch on.
        empty_rows: what a target without hard pairs gets: a ``random`` partner, or it is left out (``skip``, the paper's noise rule).
    """

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
        hard_choice: str = "uniform",
        hard_schedule: int = 0,
        empty_rows: str = "random",
        exclude: np.ndarray | None = None,
        **base,
    ) -> None:
        if len(table.lengths) != num_samples:
            raise ValueError(f"the table has {len(table.lengths)} rows, the data {num_samples}")
        self.table, self.hard_per_target, self.empty_rows = table, hard_per_target, empty_rows
        self.hard_topk, self.hard_skip = hard_topk, hard_skip
        self.hard_choice, self.hard_schedule = hard_choice, hard_schedule
        self._check(batch_size)
        self.targets = RowSet(num_samples, exclude)
        if empty_rows == "skip":
            self.targets = RowSet(
                num_samples,
                np.union1d(self.targets.excluded, np.flatnonzero(table.lengths <= hard_skip)),
            )
        super().__init__(num_samples, batch_size=batch_size, exclude=exclude, **base)

    def _check(self, batch_size: int) -> None:
        if self.hard_per_target < 1 or self.hard_topk < 1:
            raise usage(
                f"--hard-per-target and --hard-topk must be at least 1, not {self.hard_per_target} and {self.hard_topk}"
            )
        if self.hard_skip < 0 or self.hard_schedule < 0:
            raise usage(
                f"--hard-skip and --hard-schedule must not be negative, not {self.hard_skip} and {self.hard_schedule}"
            )
        if batch_size % self.group_size:
            lower = batch_size // self.group_size * self.group_size
            raise usage(
                f"--batch-size {batch_size} does not hold whole groups of a target and {self.hard_per_target} partners",
                fix=f"--batch-size {lower or self.group_size} or {lower + self.group_size}",
            )
        deepest = self.table.indices.shape[1]
        if self.hard_skip and self.hard_skip >= deepest:
            raise usage(
                f"--hard-skip {self.hard_skip} leaves nothing of lists of {deepest}",
                fix="a smaller one, or mine with a larger --topk",
            )
        if self.hard_schedule and self.hard_choice == "cycle":
            raise usage(
                "--hard-choice cycle goes through one set of ranks, which --hard-schedule would change",
                fix="one of the two",
            )
        if self.hard_schedule and self.hard_skip + self.hard_topk >= deepest:
            raise usage(
                f"--hard-schedule starts with the ranks below the first {self.hard_skip + self.hard_topk}, and the lists have {deepest}",
                fix=f"--hard-topk below {deepest - self.hard_skip}, or mine with a larger --topk",
            )

    @property
    def group_size(self) -> int:
        return 1 + self.hard_per_target

    @property
    def num_targets(self) -> int:
        return len(self.targets)

    @property
    def targets_per_batch(self) -> int:
        return self.global_batch_size // self.group_size

    def window(self, targets: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """(first, count) of the ranks that each target's partners are drawn from: two (T,) int64, ranks from 0."""
        left = np.maximum(np.asarray(self.table.lengths[targets], np.int64) - self.hard_skip, 0)
        still = max(1 - epoch / self.hard_schedule, 0.0) if self.hard_schedule else 0.0
        first = np.rint(np.maximum(left - self.hard_topk, 0) * still).astype(np.int64)
        return self.hard_skip + first, np.minimum(left, self.hard_topk)

    def global_batch(
        self, step: int, epoch: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        targets = targets_of_step(self.targets, step, self.targets_per_batch, self.seed, epoch)
        first, count = self.window(targets, epoch)
        partners = choose_partners(
            targets,
            self._draw(targets, first, count, epoch, rng),
            lambda positions, places: self.table.indices[
                targets[positions], first[positions] + places
            ],
            self.rows.has,
            self.hard_per_target,
        )
        gaps = partners < 0
        partners[gaps] = self.rows.draw_outside(
            np.concatenate([targets, partners[~gaps]]), int(gaps.sum()), rng
        )
        rows = np.concatenate([targets[:, None], partners], axis=1)
        roles = np.concatenate(
            [np.full((len(targets), 1), TARGET), np.where(gaps, RANDOM, HARD_PAIR)], axis=1
        )
        return rows.ravel(), roles.ravel().astype(np.uint8)

    def _draw(
        self,
        targets: np.ndarray,
        first: np.ndarray,
        count: np.ndarray,
        epoch: int,
        rng: np.random.Generator,
    ) -> Draw:
        depth = min(self.hard_topk, self.table.indices.shape[1])
        if self.hard_choice == "cycle":
            return CycleDraw(targets, count, depth, epoch * self.hard_per_target, self.seed)
        if self.hard_choice == "uniform":
            return UniformDraw(count, rng)
        places = np.arange(depth)
        ranks = first[:, None] + places
        deepest = self.table.indices.shape[1] - 1
        return WeightedDraw(
            list_weights(
                self.hard_choice,
                places < count[:, None],
                ranks,
                lambda: np.asarray(
                    self.table.scores[targets[:, None], np.minimum(ranks, deepest)], np.float64
                ),
            ),
            rng,
        )
