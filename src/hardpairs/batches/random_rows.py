"""``random``: plain batches, every row once per epoch."""

from __future__ import annotations

import numpy as np

from hardpairs.batches.info import TARGET
from hardpairs.batches.sampler import BatchSampler, targets_of_step


class RandomBatchSampler(BatchSampler):
    """Every row once per epoch, in a random order."""

    def global_batch(
        self, step: int, epoch: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = targets_of_step(self.rows, step, self.global_batch_size, self.seed, epoch)
        return rows, np.full(len(rows), TARGET, np.uint8)
