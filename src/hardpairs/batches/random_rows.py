"""``random``: every row once per epoch, in a random order."""

from __future__ import annotations

import numpy as np

from hardpairs.batches.base import BatchSampler, targets_of_step
from hardpairs.batches.info import TARGET
from hardpairs.core.components import register


@register("random")
class RandomBatchSampler(BatchSampler):
    """Every row once per epoch, in a random order."""

    def global_batch(
        self, step: int, epoch: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the next rows of the epoch's shuffle; each is a target."""
        rows = targets_of_step(self.rows, step, self.global_batch_size, self.seed, epoch)
        return rows, np.full(len(rows), TARGET, np.uint8)
