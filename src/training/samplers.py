"""The makers of batches under one name; ``training.batching`` holds them, a file each."""

from __future__ import annotations

from training.batching.hard_pairs import HardPairBatchSampler
from training.batching.m_per_class import MPerClassBatchSampler
from training.batching.neighbourhood import NeighbourhoodBatchSampler
from training.batching.plan import ANCHOR, MINED, RANDOM, RESERVE, BatchPlan
from training.batching.random_rows import RandomBatchSampler
from training.batching.sampler import BatchSampler
from training.batching.topical import TopicalBatchSampler

__all__ = [
    "ANCHOR",
    "MINED",
    "RANDOM",
    "RESERVE",
    "BatchPlan",
    "BatchSampler",
    "HardPairBatchSampler",
    "MPerClassBatchSampler",
    "NeighbourhoodBatchSampler",
    "RandomBatchSampler",
    "TopicalBatchSampler",
]
