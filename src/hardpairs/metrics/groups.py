"""The groups that images and captions are in: what is a right answer to what.

An image is in the group of its row. A caption is in the group of each row that has it, so that it
is right for all of their images. Mining and the losses mean the same by known positives. Groups are
not merged: of two images with one caption in common, the others stay apart.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array

Groups: TypeAlias = np.ndarray | csr_array
"""(N,) int64 group ids; or (N, C) of ones, where item i is in each group (a column) of its row."""


def groups_of_rows(group_ids: np.ndarray, text_ids: np.ndarray) -> tuple[np.ndarray, Groups]:
    """Return the groups of the images and of the captions of N rows.

    Args:
        group_ids: (N,) int64 ids of the rows' groups.
        text_ids: (N,) int64, equal for rows with the same caption.

    Returns:
        (N,) int64 groups of the images, numbered from 0; and groups of the captions, plain ids
        where no caption is in two groups.

    Example:
        >>> images, captions = groups_of_rows(np.array([7, 8, 9]), np.array([1, 2, 1]))
        >>> images, captions.toarray()
        (array([0, 1, 2]), array([[1, 0, 1],
               [0, 1, 0],
               [1, 0, 1]], dtype=int8))
    """
    groups = np.unique(group_ids, return_inverse=True)[1]
    texts = np.unique(text_ids, return_inverse=True)[1]
    pairs = np.unique(np.stack([texts, groups], axis=1), axis=0)
    if not len(pairs) or len(pairs) == pairs[-1, 0] + 1:
        return groups, groups
    shape = (pairs[-1, 0] + 1, groups.max() + 1)
    member = csr_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=shape)
    return groups, member[texts]


def belong(items: Groups, group_ids: np.ndarray) -> np.ndarray:
    """Return whether items are in groups.

    Args:
        items: The groups of N items.
        group_ids: (M,) int64.

    Returns:
        (N, M) bool.
    """
    if isinstance(items, np.ndarray):
        return np.asarray(items[:, None] == group_ids[None, :])
    return np.asarray(items[:, group_ids].toarray(), bool)


def shared_items(items: Groups) -> np.ndarray:
    """Return which items are in more than one group, (N,) bool."""
    if isinstance(items, np.ndarray):
        return np.zeros(len(items), bool)
    return np.asarray(np.diff(items.indptr) > 1)


def groups_text(images: int, texts: int, groups: int, shared: int) -> str:
    """Return a sentence on what counts as right.

    Args:
        images: Number of different images.
        texts: Number of different captions of each group, summed.
        groups: Number of groups.
        shared: Number of those captions that other groups have, too.
    """
    text = f"{images:,} images and {texts:,} captions in {groups:,} groups"
    shared_text = f"; {shared:,} captions are in several groups and right for each"
    return text + (shared_text if shared else "")


def first_of_each(*ids: np.ndarray) -> np.ndarray:
    """Return the indices, ascending, at which a combination of ids appears for the first time.

    Example:
        >>> first_of_each(np.array([7, 7, 7, 5]), np.array([1, 2, 1, 1])).tolist()
        [0, 1, 3]
    """
    return np.sort(np.unique(np.stack(ids, axis=1), axis=0, return_index=True)[1])
