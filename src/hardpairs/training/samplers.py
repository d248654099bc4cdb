"""The makers of batches under one name; ``hardpairs.batches`` holds them, a file each."""

from __future__ import annotations

from hardpairs.batches.hard_pairs import HardPairBatchSampler
from hardpairs.batches.m_per_class import MPerClassBatchSampler
from hardpairs.batches.neighbourhood import NeighbourhoodBatchSampler
from hardpairs.batches.plan import ANCHOR, MINED, RANDOM, RESERVE, BatchPlan
from hardpairs.batches.random_rows import RandomBatchSampler
from hardpairs.batches.sampler import BatchSampler
from hardpairs.batches.topical import TopicalBatchSampler

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
