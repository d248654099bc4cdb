"""Batch makers: which rows of a data set train together, and in which role.

``BATCHES`` lists the batch makers by name without importing them; the public classes are imported
on first use. Start reading in ``base.py`` (what a batch maker is), then ``random_rows.py``, the
smallest one, and ``hard_pairs.py``. ``ordered.py`` is the base of makers that put a whole epoch in
order at once. ``info.py`` holds what a batch knows of its rows.
"""

from __future__ import annotations

from hardpairs.core.components import Registry, lazy_exports

BATCHES = Registry("batch maker", "hardpairs.batches", "hardpairs.batches")
"""The batch makers that ``--batching`` chooses from."""

_PUBLIC = {
    "HARD_PAIR": "info",
    "RANDOM": "info",
    "SPARE": "info",
    "TARGET": "info",
    "BatchContext": "base",
    "BatchInfo": "info",
    "BatchSampler": "base",
    "ClassNeighborBatchSampler": "class_neighbors",
    "HardPairBatchSampler": "hard_pairs",
    "MPerClassBatchSampler": "m_per_class",
    "NeighborhoodBatchSampler": "neighborhood",
    "OrderedBatchSampler": "ordered",
    "RandomBatchSampler": "random_rows",
    "TopicalBatchSampler": "topical",
    "open_stored_embeddings": "sources",
    "open_table": "sources",
}
"""Public name: module that holds it."""

__all__ = ["BATCHES", *_PUBLIC]
__getattr__ = lazy_exports(__name__, _PUBLIC)
