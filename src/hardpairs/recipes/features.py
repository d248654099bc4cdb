"""Stored embeddings of a data set as tensors by row number, and their splits by group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hardpairs.core.errors import bad_input
from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.remote_rows import Rows
from hardpairs.data.samples import Samples
from hardpairs.data.splits import TRAIN_SHARE, VAL_SHARE


@dataclass(frozen=True)
class Features:
    """Stored embeddings of a data set, in memory.

    Attributes:
        samples: The data set of N rows.
        image: (N, D_image) float32 unit rows; zero for a row without an embedding.
        text: (N, D_text) float32, likewise.
        rows: (M,) int64, the rows that have an embedding and are not rejected, ascending.
        families: (M,) int64; rows of one family share a group, an image or a caption, directly or
            through others.
    """

    samples: Samples
    image: torch.Tensor
    text: torch.Tensor
    rows: np.ndarray
    families: np.ndarray


@dataclass(frozen=True)
class Fold:
    """A split of the rows; no family is in two parts.

    Attributes:
        train: Row numbers, ascending int64.
        val: Likewise.
        test: Likewise.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, features: Features, seed: int) -> Fold:
        """Return the split of a seed: about 70, 15 and 15 % of the rows.

        Raises:
            UserError: Exit 3 when a part would be empty.
        """
        parts = part_of_families(features.families, seed)
        train, val, test = (features.rows[parts == part] for part in range(3))
        if not all(map(len, (train, val, test))):
            raise bad_input(
                f"{len(features.rows)} rows are too few for training, validation and test",
                where=features.samples.source,
                why="rows that share a group, an image or a caption stay together",
                fix="at least 7 pairs without anything in common",
            )
        return cls(train, val, test)


def part_of_families(families: np.ndarray, seed: int) -> np.ndarray:
    """Return the part of each row: 0 train, 1 val, 2 test.

    The families are laid end to end in a random order, and each goes to the part in which it
    begins: sizes of families do not change the shares.

    Args:
        families: (M,) int64, numbered from 0.
        seed: Seed of the order.

    Returns:
        (M,) int64.

    Example:
        >>> np.bincount(part_of_families(np.arange(100) // 2, seed=0)).tolist()
        [70, 16, 14]
    """
    sizes = np.bincount(families)
    order = np.random.default_rng(seed).permutation(len(sizes))
    begins = np.cumsum(sizes[order]) - sizes[order]
    shares = np.cumsum([TRAIN_SHARE, VAL_SHARE])
    parts = np.empty(len(sizes), np.int64)
    parts[order] = np.searchsorted(shares * len(families), begins, side="right")
    of_rows: np.ndarray = parts[families]
    return of_rows


def load_features(
    samples: Samples, embeddings: Embeddings, things: np.ndarray | None = None
) -> Features:
    """Load stored embeddings of a data set.

    Args:
        samples: The data set.
        embeddings: Its embeddings.
        things: (N,) int64 ids; rows of one thing are of one family. Unlike rows of one group, they
            may be each other's negatives.
    """
    rejected = np.array(sorted(samples.rejected), np.int64)
    rows = np.setdiff1d(embeddings.rows, rejected)
    shared = [samples.positives] if things is None else [samples.positives, things[:, None]]
    return Features(
        samples,
        _by_row(embeddings.image, embeddings),
        _by_row(embeddings.text, embeddings),
        rows,
        families(np.concatenate(shared, axis=1)[rows]),
    )


def _by_row(stored: Rows, embeddings: Embeddings) -> torch.Tensor:
    """Return (N, D) float32 unit rows; zero where the data set's row has no embedding."""
    everything = np.zeros((embeddings.num_samples, stored.shape[1]), np.float32)
    everything[embeddings.rows] = unit_rows(np.asarray(stored[:]))
    return torch.from_numpy(everything)


def families(positives: np.ndarray) -> np.ndarray:
    """Return the family of each row: rows that share an id, directly or through others, are one.

    Args:
        positives: (M, C) int64 ids; two rows share something where a column has equal ids.

    Returns:
        (M,) int64, numbered from 0.

    Example:
        >>> families(np.array([[0, 5], [0, 6], [1, 6], [2, 7]])).tolist()
        [0, 0, 0, 1]
    """
    count, offset, columns = len(positives), len(positives), []
    for ids in positives.T:
        columns.append(offset + np.unique(ids, return_inverse=True)[1])
        offset = columns[-1].max(initial=offset) + 1
    ends = np.concatenate(columns)
    starts = np.tile(np.arange(count), len(columns))
    graph = coo_array((np.ones(len(ends), np.int8), (starts, ends)), shape=(offset, offset))
    return np.unique(connected_components(graph)[1][:count], return_inverse=True)[1]
